//! A meter with a memory, read by an agent that is killed at any moment.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and says its seed")]
#![cfg(feature = "glucose")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use emulators::lifescan::LifeScan;
use emulators::{Manners, Socket, Test};
use proto::{Body, Value};
use tributary_agent::buffer::Access;

/// How often the agent is killed.
const KILLS: u16 = 30;
/// Tests in the meter at first, and how many come with each kill.
const TESTS: u16 = 200;
const MORE: u16 = 2;

fn start(config: &Path, log: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary-agent"));
    command.args(["run", "--config"]).arg(config).stdin(Stdio::null()).stderr(log).spawn().unwrap()
}

/// Everything that was accepted: time and value.
fn accepted(buffer: &Path) -> Vec<(i64, f64)> {
    let Ok(access) = Access::open(buffer) else { return Vec::new() };
    let mut batches = access.list(10_000).unwrap();
    batches.sort_by_key(|batch| batch.row);
    let bodies = batches.iter().map(|batch| Body::decode(&access.body(batch.row).unwrap()).unwrap());
    let readings = bodies.flat_map(|body| body.columns.into_iter().flat_map(|column| column.readings));
    readings
        .map(|reading| match reading.value {
            Value::Number(number) => (reading.time.0, number),
            other => panic!("{other:?}"),
        })
        .collect()
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
    let folder = tempfile::tempdir().unwrap();
    let (config, buffer) = (folder.path().join("agent.toml"), folder.path().join("buffer.db"));
    let mut socket = Socket::new().unwrap();
    let text = format!(
        "[device]\nid = \"meter-7\"\n[buffer]\npath = {buffer:?}\n[[source]]\nname = \"meter\"\ntype = \"glucose_meter\"\n\
         model = \"onetouch_ultra_mini\"\ntime_zone = \"UTC\"\nport = {:?}\nevery_s = 10\n",
        socket.path
    );
    std::fs::write(&config, text).unwrap();
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let mut state: u64 = given.unwrap_or_else(|| u64::from(std::process::id()) * 7_919 + 1);
    println!("SEED={state} repeats this run");

    let log = folder.path().join("agent.log");
    let meter = |tests: u16| LifeScan::ultra_mini("C176SA5C9", (0..tests).map(Test::number).collect());
    let mut cut = 0;
    for kill in 0..KILLS {
        socket.plug_in(meter(TESTS + kill * MORE), Manners::good()).unwrap();
        let heard = socket.heard();
        let mut agent = start(&config, &log);
        // Before it has asked anything, in the middle of the memory, while that is stored, or when all is over.
        std::thread::sleep(Duration::from_millis(20 + random(&mut state) % 700));
        agent.kill().unwrap();
        agent.wait().unwrap();
        cut += u32::from(socket.heard() > heard);
    }
    let all = TESTS + KILLS * MORE;
    socket.plug_in(meter(all), Manners::good()).unwrap();
    let mut agent = start(&config, &log);
    let begun = Instant::now();
    while accepted(&buffer).len() < all.into() && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(50));
    }
    agent.kill().unwrap();
    agent.wait().unwrap();

    println!("{cut} of {KILLS} kills came while the meter was being read or later");
    let mut found = accepted(&buffer);
    found.sort_by(|one, other| one.partial_cmp(other).unwrap());
    let test = |number: u16| {
        let test = Test::number(number);
        (i64::from(test.seconds_since(1970)) * 1_000_000, f64::from(test.mg_dl))
    };
    let mut expected: Vec<(i64, f64)> = (0..all).map(test).collect();
    expected.sort_by(|one, other| one.partial_cmp(other).unwrap());
    assert_eq!(found, expected, "{}", std::fs::read_to_string(&log).unwrap());
}
