//! A Nightscout site, read by an agent that is killed at any moment.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and says its seed")]
#![cfg(feature = "nightscout")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use emulators::nightscout::{Collection, Fault, Site, cgm};
use proto::{Body, Value};
use serde_json::json;
use tributary_agent::buffer::Access;

/// How often the agent is killed.
const KILLS: usize = 20;
/// Readings at the site at first, and how many come with each kill.
const READINGS: usize = 1_500;
const MORE: usize = 20;
const TOKEN: &str = "reader-0123456789abcdef";

fn start(config: &Path, log: &Path) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary-agent"));
    command.args(["run", "--config"]).arg(config).stdin(Stdio::null()).stderr(log).spawn().unwrap()
}

/// Glucose that was accepted, by the site's name for it: how often it is there, and its value.
fn accepted(buffer: &Path) -> BTreeMap<String, Vec<(i64, f64)>> {
    let mut accepted: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
    let Ok(access) = Access::open(buffer) else { return accepted };
    let batches = access.list(10_000).unwrap();
    let bodies = batches.iter().map(|batch| Body::decode(&access.body(batch.row).unwrap()).unwrap());
    let columns = bodies.flat_map(|body| body.columns);
    for column in columns.filter(|column| column.series.name.as_str() == "glucose") {
        for reading in column.readings {
            let Value::Number(value) = reading.value else { panic!("{:?}", reading.value) };
            accepted.entry(reading.origin.unwrap().id).or_default().push((reading.time.0, value));
        }
    }
    accepted
}

/// Xorshift (Marsaglia, 2003): the moments only have to differ.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn an_agent_that_is_killed_at_random_while_it_reads_a_site_accepts_each_record_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (config, buffer, log, token) = (path("agent.toml"), path("buffer.db"), path("agent.log"), path("token"));
    certs::key_file::create_private(&token, TOKEN.as_bytes()).unwrap();
    let site = Site::start(None).unwrap();
    let text = format!(
        "[device]\nid = \"meter-7\"\n[buffer]\npath = {buffer:?}\n[[source]]\nname = \"site\"\ntype = \"nightscout\"\n\
         url = \"http://127.0.0.1:{}\"\ntoken_file = {token:?}\nallow_http = true\nallow_private_addresses = true\n\
         every_s = 10\nhistory_days = 30\n",
        site.port
    );
    std::fs::write(&config, text).unwrap();
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let mut state: u64 = given.unwrap_or_else(|| u64::from(std::process::id()) * 7_919 + 1);
    println!("SEED={state} repeats this run");

    // Real readings of five days, moved so that the last of them is now; half of them as older apps write them.
    #[expect(clippy::disallowed_methods, reason = "the agent that is tested goes by this clock")]
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let all = READINGS + KILLS * MORE;
    let data = &cgm()[..all];
    let shift = now - data[all - 1].0;
    let mut expected = BTreeMap::new();
    site.store().token = Some(TOKEN.into());
    let mut write = |numbers: std::ops::Range<usize>| {
        let mut store = site.store();
        store.now_ms = now;
        for (place, (at, mg_dl)) in data[numbers].iter().enumerate() {
            let record = json!({"type": "sgv", "sgv": mg_dl, "direction": "Flat"});
            let id = match place % 2 {
                0 => store.write_v3(Collection::Entries, at + shift, record),
                _ => store.write_v1(Collection::Entries, at + shift, record),
            };
            expected.insert(id, vec![((at + shift) * 1_000, f64::from(*mg_dl))]);
        }
    };
    write(0..READINGS);

    let mut cut = 0;
    for kill in 0..KILLS {
        let mut agent = start(&config, &log);
        if kill % 5 == 4 {
            site.spoil([Fault::None, Fault::None, Fault::Cut(5_000)]);
        }
        // Before it has asked anything, in the middle, while it is stored, or when all is over.
        std::thread::sleep(Duration::from_millis(20 + random(&mut state) % 400));
        agent.kill().unwrap();
        agent.wait().unwrap();
        cut += u32::from(!site.asked().is_empty());
        write(READINGS + kill * MORE..READINGS + (kill + 1) * MORE);
    }
    site.behave();
    let mut agent = start(&config, &log);
    let begun = Instant::now();
    while accepted(&buffer).len() < all && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(50));
    }
    agent.kill().unwrap();
    agent.wait().unwrap();

    println!("{cut} of {KILLS} kills came while the site was being read or later");
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(accepted(&buffer), expected, "{log}");
    assert!(cut > 0);
    for hidden in ["127.0.0.1", &site.port.to_string(), TOKEN] {
        assert!(!log.contains(hidden), "{hidden} in {log}");
    }
}
