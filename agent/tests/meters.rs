//! Devices with a memory, read by an agent that is killed at any moment; and an agent whose devices are not there.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and says its seed")]
#![cfg(all(feature = "energy", feature = "glucose", feature = "vitals"))]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use emulators::dexcom::{Generation, Receiver};
use emulators::dsmr::Dsmr;
use emulators::lifescan::LifeScan;
use emulators::{Device, Manners, Socket, Test};
use proto::{Body, Value};
use tributary_agent::buffer::Access;

/// How often the agent is killed.
const KILLS: u16 = 24;
/// Records in the device at first, and how many come with each kill.
const RECORDS: u16 = 200;
const MORE: u16 = 2;

/// What was accepted: series, time, value.
type Line = (String, i64, String);

/// An agent with one device, which is started and killed.
struct Rig {
    folder: tempfile::TempDir,
    socket: Socket,
}

impl Rig {
    /// `source` is what is configured, but for name and port.
    fn new(source: &str) -> Self {
        let (folder, socket) = (tempfile::tempdir().unwrap(), Socket::new().unwrap());
        let rig = Self { folder, socket };
        let (buffer, port) = (rig.path("buffer.db"), &rig.socket.path);
        let text = format!(
            "[device]\nid = \"meter-7\"\n[buffer]\npath = {buffer:?}\n[[source]]\nname = \"it\"\nport = {port:?}\n{source}"
        );
        std::fs::write(rig.path("agent.toml"), text).unwrap();
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self) -> Child {
        start(&self.path("agent.toml"), &self.path("agent.log"))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("agent.log")).unwrap()
    }

    /// Kills the agent again and again while it reads a device that holds more each time, then lets it read on until
    /// `count` of `counted` readings were accepted. Answers with all that were.
    fn kill<D: Device + 'static>(&mut self, device: impl Fn(u16) -> D, counted: &str, count: usize) -> Vec<Line> {
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let mut state: u64 = given.unwrap_or_else(|| u64::from(std::process::id()) * 7_919 + 1);
        println!("SEED={state} repeats this run");
        let mut cut = 0;
        for kill in 0..KILLS {
            self.socket.plug_in(device(RECORDS + kill * MORE), Manners::good()).unwrap();
            let heard = self.socket.heard();
            let agent = self.start();
            // Before it has asked anything, in the middle of the memory, while that is stored, or when all is over.
            std::thread::sleep(Duration::from_millis(20 + random(&mut state) % 700));
            end(agent);
            cut += u32::from(self.socket.heard() > heard);
        }
        println!("{cut} of {KILLS} kills came while the device was being read or later");
        self.socket.plug_in(device(RECORDS + KILLS * MORE), Manners::good()).unwrap();
        let (agent, begun) = (self.start(), Instant::now());
        let is_all = |lines: &[Line]| lines.iter().filter(|line| line.0 == counted).count() >= count;
        while !is_all(&accepted(&self.path("buffer.db"))) && begun.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(50));
        }
        end(agent);
        accepted(&self.path("buffer.db"))
    }
}

fn start(config: &Path, log: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary-agent"));
    command.args(["run", "--config"]).arg(config).stdin(Stdio::null()).stderr(log).spawn().unwrap()
}

fn end(mut agent: Child) {
    agent.kill().unwrap();
    agent.wait().unwrap();
}

/// Everything that was accepted.
fn accepted(buffer: &Path) -> Vec<Line> {
    let Ok(access) = Access::open(buffer) else { return Vec::new() };
    let mut batches = access.list(10_000).unwrap();
    batches.sort_by_key(|batch| batch.row);
    let bodies = batches.iter().map(|batch| Body::decode(&access.body(batch.row).unwrap()).unwrap());
    let mut lines = Vec::new();
    for column in bodies.flat_map(|body| body.columns) {
        for reading in column.readings {
            let value = match reading.value {
                Value::Number(number) => number.to_string(),
                Value::Text(text) => text,
                other => panic!("{other:?}"),
            };
            lines.push((column.series.name.to_string(), reading.time.0, value));
        }
    }
    lines
}

/// Those of one series, in order.
fn of(lines: &[Line], series: &str) -> Vec<(i64, String)> {
    let mut values: Vec<(i64, String)> =
        lines.iter().filter(|line| line.0 == series).map(|line| (line.1, line.2.clone())).collect();
    values.sort();
    values
}

/// Xorshift (Marsaglia, 2003): the moments only have to differ.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn an_agent_that_is_killed_at_random_while_it_reads_a_meter_accepts_each_record_once() {
    let mut rig =
        Rig::new("type = \"glucose_meter\"\nmodel = \"onetouch_ultra_mini\"\ntime_zone = \"UTC\"\nevery_s = 10\n");
    let all = RECORDS + KILLS * MORE;
    let meter = |tests: u16| LifeScan::ultra_mini("C176SA5C9", (0..tests).map(Test::number).collect());
    let lines = rig.kill(meter, "glucose", all.into());
    let test = |number: u16| {
        let test = Test::number(number);
        (i64::from(test.seconds_since(1970)) * 1_000_000, test.mg_dl.to_string())
    };
    let mut expected: Vec<(i64, String)> = (0..all).map(test).collect();
    expected.sort();
    assert_eq!(of(&lines, "glucose"), expected, "{}", rig.log());
    assert_eq!(lines.len(), expected.len());
}

#[test]
fn an_agent_that_is_killed_at_random_while_it_reads_a_dexcom_receiver_accepts_each_record_once() {
    let mut rig = Rig::new("type = \"dexcom_receiver\"\nevery_s = 10\n");
    let all = u32::from(RECORDS + KILLS * MORE);
    let value = |number: u32| u16::try_from(40 + number % 361).unwrap();
    let receiver = |count: u16| {
        let mut receiver = Receiver::new("sm40000000", Generation::G6);
        for number in 0..u32::from(count) {
            receiver.glucose(number, value(number), 4);
            receiver.sensor(number, 100_000 + number, 90_000, -70);
        }
        (0..u32::from(count)).step_by(20).for_each(|number| receiver.meter(number, value(number)));
        receiver
    };
    // Raw values come last: with them, all is there.
    let lines = rig.kill(receiver, "sensor.rssi", usize::try_from(all).unwrap());
    let time = |number: u32| (1_230_768_000 + 400_000_000 + 300 * i64::from(number)) * 1_000_000;
    let each = |step: usize, value: &dyn Fn(u32) -> String| -> Vec<(i64, String)> {
        (0..all).step_by(step).map(|number| (time(number), value(number))).collect()
    };
    for (series, step, value) in [
        ("glucose", 1, &(|number| value(number).to_string()) as &dyn Fn(u32) -> String),
        ("glucose.direction", 1, &|_| "Flat".to_owned()),
        ("sensor.unfiltered", 1, &|number| (100_000 + number).to_string()),
        ("sensor.rssi", 1, &|_| "-70".to_owned()),
        ("glucose.meter", 20, &|number| value(number).to_string()),
    ] {
        assert_eq!(of(&lines, series), each(step, value), "{series}: {}", rig.log());
    }
    assert_eq!(of(&lines, "receiver.display_offset").len(), 1, "it did not change");
}

#[test]
fn an_agent_that_is_killed_at_random_while_an_energy_meter_pushes_takes_each_reading_of_gas_once() {
    // Each telegram repeats the hour's gas, and an hour has a hundred telegrams: most hours are told of in three runs.
    let mut rig = Rig::new("type = \"dsmr\"\nversion = 5\ntime_zone = \"Europe/Amsterdam\"\n");
    let begins = |records: u16| u32::from(records - RECORDS) * 18;
    let left = |records: u16| if records < RECORDS + KILLS * MORE { 18 * u32::from(MORE) } else { 1_000 };
    let meter = |records: u16| Dsmr { left: left(records), sent: begins(records) };
    let hours = usize::try_from(begins(RECORDS + KILLS * MORE) / 100).unwrap();
    let lines = rig.kill(meter, "gas.1", hours + 1);
    let gas = of(&lines, "gas.1");
    let mut once = gas.clone();
    once.dedup();
    assert_eq!(gas, once, "an hour was taken twice: {}", rig.log());
    assert!(gas.len() > hours, "{} of more than {hours} hours: {}", gas.len(), rig.log());
    let hour = 3_600_000_000;
    assert!(gas.iter().all(|(time, value)| time % hour == 0 && value == "0.107"), "{gas:?}");
}

/// Says nothing, whatever it is asked.
struct Mute;

impl Device for Mute {
    fn hear(&mut self, _bytes: &[u8]) -> Vec<u8> {
        Vec::new()
    }
}

/// Time that all threads of a process were on a processor; none where the system does not tell.
fn cpu(process: u32) -> Option<Duration> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let of = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse().ok()
    };
    let all: Vec<u64> = threads.map(|thread| of(thread.ok()?)).collect::<Option<_>>()?;
    Some(Duration::from_nanos(all.iter().sum())).filter(|taken| !taken.is_zero())
}

#[test]
fn an_agent_whose_devices_are_unplugged_or_mute_takes_no_processor() {
    let mut rig = Rig::new("type = \"dexcom_receiver\"\n");
    let mut more = String::new();
    for number in 0..5 {
        more.push_str(&format!(
            "[[source]]\nname = \"meter{number}\"\ntype = \"glucose_meter\"\nmodel = \"contour\"\ntime_zone = \"UTC\"\n\
             port = \"/dev/serial/by-id/none-{number}\"\n[[source]]\nname = \"oximeter{number}\"\ntype = \"contec_cms50\"\n\
             protocol = \"old\"\nport = \"/dev/serial/by-id/none-{number}\"\n"
        ));
    }
    let config = std::fs::read_to_string(rig.path("agent.toml")).unwrap();
    std::fs::write(rig.path("agent.toml"), config + &more).unwrap();
    rig.socket.plug_in(Mute, Manners::good()).unwrap();
    let agent = rig.start();
    let begun = Instant::now();
    while rig.socket.heard() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody asks: {}", rig.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let span = Duration::from_secs(4);
    let before = cpu(agent.id());
    std::thread::sleep(span);
    let after = cpu(agent.id());
    let log = rig.log();
    end(agent);
    let Some(taken) = after.zip(before).map(|(after, before)| after.saturating_sub(before)) else {
        println!("skipped: this system does not tell the time of threads in /proc/…/schedstat");
        return;
    };
    println!("{taken:?} in {span:?}, with 10 devices unplugged and 1 mute");
    assert!(taken < span / 50, "{taken:?} of {span:?}: {log}");
}
