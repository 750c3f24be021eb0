//! A real gateway that dies again and again, between claim, write and receipt, wherever it happens to be.

use std::time::Duration;

use harness::servers::{Influx, or_skip};
use harness::{Agent, Gateway, Pki, data, wait_for};

use super::influx::found;
use super::keys;
use crate::http::Dice;

/// How often it dies.
const KILLS: u32 = 15;

#[test]
fn a_gateway_that_is_killed_over_and_over_gives_influxdb_each_reading_once() {
    let folder = tempfile::tempdir().unwrap();
    let Some(influx) = or_skip(Influx::start(&folder.path().join("influx"))) else { return };
    influx.database("tributary").unwrap();
    let (dice, pki) = (Dice::new(), Pki::create(&folder.path().join("pki")));
    let timeseries =
        format!("[timeseries]\ntype = \"influx-1\"\nurl = \"{}\"\ndatabase = \"tributary\"\n", influx.url());
    let mut gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), &timeseries);
    let csv = folder.path().join("cgm.csv");
    std::fs::write(&csv, data("cgm.csv.gz")).unwrap();
    let source = format!(
        "[[source]]\nname = \"history\"\ntype = \"file\"\npath = {csv:?}\ntime_zone = \"Etc/UTC\"\n\
         time = {{ column = \"datetime\", format = \"%Y-%m-%d %H:%M:%S\" }}\n\
         series = [{{ column = \"glucose\", name = \"glucose\", unit = \"mg/dL\", min = 20, max = 600 }}]\n"
    );
    let files = pki.device("cgm-1");
    let mut agent = Agent::new(&folder.path().join("agent"), "cgm-1", Some(gateway.mqtt_port), &files, &source);
    agent.start();
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(20 + dice.below(400)));
        gateway.kill();
        gateway.restart();
    }
    let keys = keys();
    wait_for("all readings", Duration::from_secs(90), || (found(&influx).len() >= keys.len()).then_some(()));
    let ranked = |keys: &[harness::offered::Key]| {
        let mut values: Vec<_> = keys.iter().map(|key| (key.time_us, key.bits)).collect();
        values.sort_unstable();
        values
    };
    // Of the three instants that are there twice, which comes first is for the agent to say.
    assert_eq!(ranked(&found(&influx)), ranked(&keys));
    agent.stop();
}
