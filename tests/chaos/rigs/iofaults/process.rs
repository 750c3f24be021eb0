//! The agent's own program under libfiu, which fails the system calls of a whole process: it reads a file on a disk that
//! fails now and then, and once the disk is well every reading is stored once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::process::Process;
use proto::{Body, Value};
use rusqlite::{Connection, OpenFlags};

use crate::rig::{Fault, Found, Plan};
use crate::rigs::offers::scratch;

/// Where Debian's `fiu-utils` puts them.
const LIBRARIES: [&str; 2] = ["/usr/lib/fiu/fiu_run_preload.so", "/usr/lib/fiu/fiu_posix_preload.so"];
/// What fails, in libfiu's words: EIO (5) and ENOSPC (28) when pages are written, writes that stop half-way, syncs.
const FAULTS: [&str; 4] = [
    "enable_random name=posix/io/rw/pwrite,probability=0.1,failinfo=5",
    "enable_random name=posix/io/rw/pwrite,probability=0.1,failinfo=28",
    "enable_random name=posix/io/rw/pwrite/reduce,probability=0.1",
    "enable_random name=posix/io/sync/fsync,probability=0.3,failinfo=5",
];
const READINGS: u32 = 120;
/// How long the disk fails. The agent waits a second after each failure.
const FAILING: Duration = Duration::from_secs(5);
/// How long it may take then.
const PATIENCE: Duration = Duration::from_secs(30);

/// Each fault in a process of its own, all at once.
pub(super) fn run(plan: &Plan, found: &mut Found) -> anyhow::Result<()> {
    if let Some(missing) = LIBRARIES.iter().find(|library| !Path::new(library).exists()) {
        found.skip("the agent's program under libfiu", &format!("{missing} is not there; apt-get install fiu-utils"));
        return Ok(());
    }
    let outcomes: Vec<anyhow::Result<(Found, usize)>> = std::thread::scope(|scope| {
        let threads: Vec<_> = FAULTS.iter().map(|fault| scope.spawn(|| one(plan, fault))).collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|outcome| outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("the rig panicked")))).collect()
    });
    let mut met = 0;
    for outcome in outcomes {
        let (part, failures) = outcome?;
        found.add(part);
        met += failures;
    }
    if met == 0 {
        found.skip("the agent's program under libfiu", "libfiu made nothing fail");
    }
    Ok(())
}

/// Answers how many failures the agent spoke of too.
fn one(plan: &Plan, fault: &str) -> anyhow::Result<(Found, usize)> {
    let folder = scratch(&plan.folder)?;
    let (mut found, folder) = (Found::default(), folder.path());
    let offered = offer(folder)?;
    // A process that ends is started again, as systemd does.
    let until = Instant::now() + FAILING;
    let (mut agent, mut restarts) = (start(folder, Some(fault))?, 0);
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
        if agent.ended().is_some() {
            (agent, restarts) = (start(folder, Some(fault))?, restarts + 1);
        }
    }
    let failures = agent.log_text().lines().filter(|line| line.contains("nothing can be stored")).count() + restarts;
    drop(agent); // SIGKILL
    let mut agent = start(folder, None)?;
    let until = Instant::now() + PATIENCE;
    let mut stored = BTreeMap::new();
    while Instant::now() < until && agent.ended().is_none() && total(&stored) < READINGS {
        std::thread::sleep(Duration::from_millis(50));
        stored = read(folder).unwrap_or(stored);
    }
    stored = read(folder).unwrap_or(stored);
    let log = agent.log_text();
    drop(agent);
    let said = |what: &str| {
        let last = log.lines().last().unwrap_or_default();
        format!("{what}; the agent under `{fault}`, {failures} failures before; its last words: {last}")
    };
    let times = |place: &(i64, u64)| stored.get(place).copied().unwrap_or(0);
    let lost = offered.iter().filter(|place| times(place) == 0).count() as u64;
    let doubled = offered.iter().filter(|place| times(place) > 1).count() as u64;
    let phantom = stored.keys().filter(|place| !offered.contains(place)).count() as u64;
    for (fault, count) in [(Fault::Lost, lost), (Fault::Doubled, doubled), (Fault::Phantom, phantom)] {
        found.fault(fault, count, || said(&format!("{count} of {READINGS} readings")));
    }
    Ok((found, failures))
}

/// Writes the file to be read and the agent's configuration. Answers times and the bits of values.
fn offer(folder: &Path) -> anyhow::Result<Vec<(i64, u64)>> {
    let (mut text, mut offered) = ("time,power\n".to_owned(), Vec::new());
    for place in 0..READINGS {
        let second = 1_772_366_400 + i64::from(place);
        let value = f64::from(place) + 0.5;
        writeln!(text, "{second},{value}")?;
        offered.push((second * 1_000_000, value.to_bits()));
    }
    std::fs::write(folder.join("power.csv"), text)?;
    let configuration = format!(
        "[device]\nid = \"meter-7\"\n[buffer]\npath = {:?}\n[sealer]\nreadings_max = 4\n[[source]]\nname = \"meter\"\n\
         type = \"file\"\npath = {:?}\ntime = {{ column = \"time\", unit = \"s\" }}\n\
         series = [{{ column = \"power\", name = \"power.active\", unit = \"W\" }}]\n",
        folder.join("buffer.db"),
        folder.join("power.csv")
    );
    std::fs::write(folder.join("agent.toml"), configuration)?;
    Ok(offered)
}

/// Starts the agent, on a disk with `fault` if there is one.
fn start(folder: &Path, fault: Option<&str>) -> std::io::Result<Process> {
    let mut command = Command::new(harness::binary("tributary-agent"));
    command.args(["run", "--config"]).arg(folder.join("agent.toml")).env("TRIBUTARY_LOG", "info");
    if let Some(fault) = fault {
        command.env("LD_PRELOAD", LIBRARIES.join(" ")).env("FIU_ENABLE", fault).env("FIU_CTRL_FIFO", "");
    }
    Process::start(command, &folder.join("agent.log"))
}

/// How often each reading is in the buffer's sealed bodies.
fn read(folder: &Path) -> anyhow::Result<BTreeMap<(i64, u64), u32>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let file = Connection::open_with_flags(folder.join("buffer.db"), flags)?;
    let mut query = file.prepare("select body from batch")?;
    let mut stored = BTreeMap::new();
    for body in query.query_map([], |row| row.get::<_, Vec<u8>>(0))? {
        for reading in Body::decode(&body?)?.columns.into_iter().flat_map(|column| column.readings) {
            if let Value::Number(number) = reading.value {
                *stored.entry((reading.time.0, number.to_bits())).or_insert(0) += 1;
            }
        }
    }
    Ok(stored)
}

fn total(stored: &BTreeMap<(i64, u64), u32>) -> u32 {
    stored.values().sum()
}
