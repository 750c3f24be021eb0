//! Folders and sockets, served by an agent that is killed at any moment.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and says its seed")]
#![cfg(all(feature = "files", feature = "programs"))]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proto::{Body, Value};
use tributary_agent::buffer::Access;

/// How often the agent is killed.
const KILLS: u32 = 15;

/// A folder for everything, and an agent with these sources.
struct Rig {
    folder: tempfile::TempDir,
    random: u64,
}

impl Rig {
    fn new(sources: impl Fn(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let buffer = folder.path().join("buffer.db");
        let text = format!("[device]\nid = \"local-7\"\n[buffer]\npath = {buffer:?}\n{}", sources(folder.path()));
        std::fs::write(folder.path().join("agent.toml"), text).unwrap();
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let random = given.unwrap_or_else(|| u64::from(std::process::id()) * 7_919 + 1);
        println!("SEED={random} repeats this run");
        Self { folder, random }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Xorshift (Marsaglia, 2003): the moments only have to differ.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn start(&self) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(self.path("agent.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary-agent"));
        command.args(["run", "--config"]).arg(self.path("agent.toml")).stdin(Stdio::null()).stderr(log).spawn().unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("agent.log")).unwrap()
    }

    /// Everything that was accepted: how often each series has each value at each time.
    fn accepted(&self) -> BTreeMap<(String, i64, u64), u32> {
        let mut found = BTreeMap::new();
        let Ok(access) = Access::open(&self.path("buffer.db")) else { return found };
        for batch in access.list(100_000).unwrap() {
            for column in Body::decode(&access.body(batch.row).unwrap()).unwrap().columns {
                for reading in column.readings {
                    let Value::Number(number) = reading.value else { panic!("{:?}", column.series) };
                    let key = (column.series.name.to_string(), reading.time.0, number.to_bits());
                    *found.entry(key).or_default() += 1;
                }
            }
        }
        found
    }
}

fn rows(values: std::ops::Range<u32>) -> String {
    values.map(|value| format!("{value},{value}\n")).collect()
}

/// A Clarity export of the readings of those numbers, five minutes apart, its rows numbered from 1.
fn export(values: std::ops::Range<u32>) -> String {
    let header = "Index,Timestamp (YYYY-MM-DDThh:mm:ss),Event Type,Event Subtype,Patient Info,Device Info,Source Device ID,\
                  Glucose Value (mg/dL),Insulin Value (u),Carb Value (grams),Duration (hh:mm:ss),Glucose Rate of Change \
                  (mg/dL/min),Transmitter Time (Long Integer),Transmitter ID";
    let row = |(index, value): (usize, u32)| {
        let (day, minute) = (value / 288, value % 288 * 5);
        let at = format!("2026-{:02}-{:02}T{:02}:{:02}:07", day / 28 + 1, day % 28 + 1, minute / 60, minute % 60);
        format!("{},{at},EGV,,,,phone,{},,,,,{value},8SAMPLE\n", index + 1, 40 + value % 360)
    };
    format!("{header}\n{}", values.enumerate().map(row).collect::<String>())
}

#[test]
fn an_agent_that_is_killed_at_random_while_it_reads_folders_accepts_each_record_once() {
    let mut rig = Rig::new(|folder| {
        let source = |name: &str, format: &str, more: &str| {
            let path = folder.join(name);
            std::fs::create_dir(&path).unwrap();
            format!(
                "[[source]]\nname = \"{name}\"\ntype = \"folder\"\nformat = \"{format}\"\npath = {path:?}\nevery_s = 1\n\
                 settle_s = 0\n{more}\n"
            )
        };
        let rows = "time = { column = \"t\", unit = \"s\" }\nseries = [{ column = \"v\", name = ";
        source("kept", "csv", &format!("{rows}\"kept\" }}]"))
            + &source("removed", "csv", &format!("after = \"remove\"\n{rows}\"removed\" }}]"))
            + &source("clarity", "clarity", "time_zone = \"UTC\"")
    });
    let renamed = |rig: &Rig, name: &str, text: &str| {
        std::fs::write(rig.path("part"), text).unwrap();
        std::fs::rename(rig.path("part"), rig.path(name)).unwrap();
    };
    std::fs::write(rig.path("kept/a.csv"), format!("t,v\n{}", rows(0..3_000))).unwrap();
    let (mut kept, mut removed) = (3_000, 0);
    for kill in 0..KILLS {
        let mut agent = rig.start();
        let grown = std::fs::File::options().append(true).open(rig.path("kept/a.csv"));
        grown.unwrap().write_all(rows(kept..kept + 50).as_bytes()).unwrap();
        kept += 50;
        renamed(&rig, &format!("removed/{}.csv", kill % 2), &format!("t,v\n{}", rows(removed..removed + 700)));
        removed += 700;
        renamed(&rig, &format!("clarity/{kill:02}.csv"), &export(kill * 100..2_000 + kill * 100));
        std::thread::sleep(Duration::from_millis(20 + rig.random() % 500));
        agent.kill().unwrap();
        agent.wait().unwrap();
        // A name is given to the next file only once the one before has gone: to write over it would be the test's own loss.
        let (next, begun) = (rig.path(&format!("removed/{}.csv", (kill + 1) % 2)), Instant::now());
        if next.exists() {
            let mut agent = rig.start();
            while next.exists() && begun.elapsed() < Duration::from_secs(30) {
                std::thread::sleep(Duration::from_millis(10));
            }
            agent.kill().unwrap();
            agent.wait().unwrap();
        }
    }
    let exported = 2_000 + (KILLS - 1) * 100;
    let all = kept + removed + exported;
    let mut agent = rig.start();
    let begun = Instant::now();
    while rig.accepted().len() < all as usize && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_millis(1_500)); // one look more: nothing comes twice
    agent.kill().unwrap();
    agent.wait().unwrap();
    let found = rig.accepted();
    for (series, count) in [("kept", kept), ("removed", removed), ("glucose", exported)] {
        let of: Vec<u32> = found.iter().filter(|((name, ..), _)| name == series).map(|(_, often)| *often).collect();
        let doubled = of.iter().filter(|often| **often > 1).count();
        assert_eq!((of.len(), doubled), (count as usize, 0), "{series}: {}", rig.log());
    }
}

#[test]
fn what_a_socket_answered_is_in_the_buffer_however_the_agent_is_killed() {
    let mut rig = Rig::new(|folder| {
        let path = folder.join("readings.sock");
        format!(
            "[[source]]\nname = \"apps\"\ntype = \"socket\"\npath = {path:?}\n\
             series = [{{ column = \"v\", name = \"v\", urgent = true }}]\n"
        )
    });
    let (mut sent, mut answered) = (0_u32, BTreeSet::new());
    for _ in 0..KILLS {
        let mut agent = rig.start();
        let begun = Instant::now();
        let client = loop {
            match UnixStream::connect(rig.path("readings.sock")) {
                Ok(client) => break client,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}: {}", rig.log()),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let until = Instant::now() + Duration::from_millis(10 + rig.random() % 300);
        let speaking = std::thread::spawn(move || {
            let (mut said, mut good) = (Vec::new(), Vec::new());
            let mut answers = BufReader::new(client.try_clone().unwrap()).lines();
            for number in sent.. {
                said.push(number);
                if (&client).write_all(format!("{{\"v\":{number}}}\n").as_bytes()).is_err() {
                    break;
                }
                match answers.next() {
                    Some(Ok(answer)) if answer.contains("\"ok\":true") => good.push(number),
                    _ => break,
                }
            }
            (said, good)
        });
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        agent.kill().unwrap();
        agent.wait().unwrap();
        let (said, good) = speaking.join().unwrap();
        sent += u32::try_from(said.len()).unwrap();
        answered.extend(good);
    }
    println!("{} of {sent} records were answered", answered.len());
    assert!(!answered.is_empty());
    let mut found: BTreeMap<u64, u32> = BTreeMap::new();
    for ((_, _, bits), often) in rig.accepted() {
        *found.entry(bits).or_default() += often;
    }
    let lost: Vec<&u32> =
        answered.iter().filter(|number| !found.contains_key(&f64::from(**number).to_bits())).collect();
    assert!(lost.is_empty(), "answered and not there: {lost:?}");
    assert!(found.values().all(|often| *often == 1), "each was sent once");
}
