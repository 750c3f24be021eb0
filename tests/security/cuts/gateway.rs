//! The gateway dies at each call that the issuing of a certificate makes, and is started again: the device asks again and
//! gets one certificate, which the registry, the audit trail and the authority's index know.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use harness::issuing::{Issuing, PATIENCE};
use harness::process::Process;
use harness::{Agent, wait_for};

use crate::part::{Found, Plan};
use crate::rotations::knock;

const DAY: i64 = 86_400;
/// The thread that issues.
const THREAD: &str = "enrolment";
/// What of it is counted: everything that reads or changes a file or a database, and the word to the one who answers.
const CALLS: &str = "openat,read,pread64,write,pwrite64,fsync,fdatasync,rename,renameat2,unlink,ftruncate,fcntl";
/// More calls than issuing makes.
const CALLS_MAX: usize = 400;

/// Which of its certificates a device asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    First,
    Next,
}

/// Everything, for both.
pub(super) fn deaths(plan: &Plan, found: &mut Found) -> anyhow::Result<()> {
    for ask in [Ask::First, Ask::Next] {
        let mut stage = Issuing::start(&plan.folder.join(format!("deaths-{ask:?}")));
        let calls = calls(&mut stage, ask)?;
        let count = calls.len();
        anyhow::ensure!((10..CALLS_MAX).contains(&count), "{count} calls are not what issuing makes");
        found.count("gateway_cut_points", count);
        let some = super::spread(calls, plan.amount(3, 40));
        let mut deaths = 0;
        for (place, call) in some.iter().enumerate() {
            deaths += usize::from(die(&mut stage, ask, place, call, found)?);
        }
        // Which calls a database makes may differ by a few from one time to the next.
        let least = some.len() / 4 * 3;
        found.check(deaths >= least, || format!("{ask:?}: only {deaths} of {} times it died", some.len()));
        found.count("gateway_cuts", deaths);
    }
    Ok(())
}

/// A call by its name, and the how manieth of this name it is: that is how strace counts.
type Call = (String, usize);

/// The calls it makes, undisturbed.
fn calls(stage: &mut Issuing, ask: Ask) -> anyhow::Result<Vec<Call>> {
    let trace = stage.folder.join("calls");
    let tracer = attach(stage, &["-o", &trace.to_string_lossy(), "-e", &format!("trace={CALLS}")])?;
    let mut device = Device::new(stage, ask, "counted-1")?;
    wait_for("it to be issued", PATIENCE, || device.has_it().then_some(()));
    device.end();
    stage.gateway.restart();
    drop(tracer);
    let text = std::fs::read_to_string(&trace)?;
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    let names = text.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name);
    let call = |name| {
        let count = counts.entry(name).or_default();
        *count += 1;
        (name.to_owned(), *count)
    };
    Ok(names.map(call).collect())
}

/// Has the gateway die at that call. Answers whether it did.
fn die(stage: &mut Issuing, ask: Ask, place: usize, call: &Call, found: &mut Found) -> anyhow::Result<bool> {
    let (call, nth) = call;
    let (name, what) = (format!("device-{place}"), format!("{ask:?} certificate, dead at {call} {nth}"));
    let kill = format!("inject={call}:signal=SIGKILL:when={nth}");
    let tracer = attach(stage, &["-o", "/dev/null", "-e", &format!("trace={CALLS}"), "-e", &kill])?;
    let mut device = Device::new(stage, ask, &name)?;
    let began = Instant::now();
    let mut died = false;
    while !device.has_it() && began.elapsed() < PATIENCE {
        if !died && stage.gateway.process.as_mut().is_some_and(|gateway| gateway.ended().is_some()) {
            died = true;
            stage.gateway.restart();
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let has_it = device.has_it();
    found.check(has_it, || format!("{what}: no certificate:\n{}", device.log()));
    device.end();
    drop(tracer);
    if !died {
        stage.gateway.restart(); // without the tracer's last orders
    }
    if has_it {
        let places = stage.places(&name);
        let answer = knock(stage.gateway.mqtt_port, &places, &name);
        found.check(matches!(answer, Ok(0)), || format!("{what}: it does not connect: {answer:?}"));
        agree(stage, ask, &name, &what, found)?;
    }
    Ok(died)
}

/// The registry has one certificate of the device, which is the one it has; the audit trail says so once; and the authority's
/// index has it too. What else is there was signed and never given away: one at most, for the gateway died once.
fn agree(stage: &Issuing, ask: Ask, name: &str, what: &str, found: &mut Found) -> anyhow::Result<()> {
    let db = rusqlite::Connection::open(stage.gateway.database())?;
    let mut select = db.prepare("select serial from certificate where device = ?1 and revoked_us is null")?;
    let known: Vec<String> = select.query_map([name], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let chain = certs::read_certificates(&stage.places(name).certificate)?;
    let has = certs::identity::serial(chain.first().context("a certificate")?)?;
    found.check(known == [has.clone()], || format!("{what}: it has {has}, the registry {known:?}"));
    let sql = "select detail from audit where subject = ?1 and event in ('issued', 'renewed')";
    let told: Vec<String> = db.prepare(sql)?.query_map([name], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let is_told = matches!(told.as_slice(), [entry] if entry.contains(&has));
    found.check(is_told, || format!("{what}: it has {has}, the audit trail {told:?}"));
    let index = certs::Authority::open(&stage.authority())?.list()?;
    let listed: Vec<String> =
        index.iter().filter(|row| row.subject == name).map(|row| row.serial.to_string()).collect();
    let most = if ask == Ask::First { 2 } else { 3 };
    found
        .check(listed.contains(&has) && listed.len() <= most, || format!("{what}: it has {has}, the index {listed:?}"));
    Ok(())
}

/// strace on the thread that issues, which it leaves alone when dropped.
fn attach(stage: &Issuing, arguments: &[&str]) -> anyhow::Result<Process> {
    let gateway = stage.gateway.process.as_ref().context("the gateway runs")?.id();
    let thread = wait_for("the thread that issues", PATIENCE, || thread_of(gateway));
    let log = stage.folder.join("strace.log");
    let _ = std::fs::remove_file(&log);
    let mut command = Command::new("strace");
    command.args(arguments).args(["-p", &thread.to_string()]);
    let tracer = Process::start(command, &log)?;
    wait_for("strace to be there", PATIENCE, || tracer.log_text().contains("attached").then_some(()));
    Ok(tracer)
}

fn thread_of(process: u32) -> Option<u32> {
    let tasks = std::fs::read_dir(Path::new("/proc").join(process.to_string()).join("task")).ok()?;
    tasks.flatten().find_map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        (name.trim() == THREAD).then(|| task.file_name().to_string_lossy().parse().ok())?
    })
}

/// A device that asks for a certificate until it has one.
struct Device {
    agent: Agent,
    certificate: std::path::PathBuf,
    before: Vec<u8>,
    enrolment: Option<Process>,
}

impl Device {
    fn new(stage: &Issuing, ask: Ask, name: &str) -> anyhow::Result<Self> {
        let places = stage.places(name);
        let certificate = places.certificate;
        if ask == Ask::Next {
            let mut agent = stage.member(name, &stage.pki.device_at(name, -25 * DAY));
            let before = std::fs::read(&certificate)?;
            agent.start();
            return Ok(Self { agent, certificate, before, enrolment: None });
        }
        let (agent, claim) = (stage.newcomer(name, name), stage.claim(name, name));
        let mut command = Command::new(&agent.program);
        command.args(["enrol", "--claim"]).arg(claim).arg("--config").arg(agent.config());
        let enrolment = Process::start(command, &agent.folder.join("enrol.log"))?;
        Ok(Self { agent, certificate, before: Vec::new(), enrolment: Some(enrolment) })
    }

    /// Whether it has a new one that has connected.
    fn has_it(&mut self) -> bool {
        let is_over = self.enrolment.as_mut().is_none_or(|run| run.ended().is_some());
        is_over && std::fs::read(&self.certificate).is_ok_and(|now| now != self.before)
    }

    fn log(&self) -> String {
        ["agent.log", "enrol.log"]
            .map(|log| std::fs::read_to_string(self.agent.folder.join(log)).unwrap_or_default())
            .concat()
    }

    fn end(&mut self) {
        self.enrolment = None;
        self.agent.stop();
    }
}
