//! A real InfluxDB 1.6 as the time-series side.

use std::time::Duration;

use gateway::store::Outcome;
use gateway::store::influx::{Access, Influx as Sink, Settings};
use harness::offered::Key;
use harness::servers::{Influx, or_skip};
use harness::wait_for;

use super::sinks::{Cut, Cutting};
use super::{covered, days, keys, open, record, whole};

const SOON: Duration = Duration::from_secs(60);

fn settings(influx: &Influx) -> Settings {
    let access = Access::V1 { database: "tributary".to_owned(), user: None };
    Settings { url: influx.url(), access, authority_file: None, plain_http: false }
}

fn sink(influx: &Influx) -> Sink {
    Sink::new(&settings(influx)).unwrap()
}

/// All points of glucose.
fn found(influx: &Influx) -> Vec<Key> {
    let answer = influx.query("tributary", "select value from reading where quantity = 'glucose'").unwrap();
    let empty = Vec::new();
    let rows = answer["series"][0]["values"].as_array().unwrap_or(&empty);
    let key = |row: &serde_json::Value| {
        let (time_ns, value) = (row[0].as_i64().unwrap(), row[1].as_f64().unwrap());
        let (time_us, ordinal) = (time_ns.div_euclid(1_000), time_ns.rem_euclid(1_000));
        Key { series: "glucose".to_owned(), time_us, ordinal, bits: value.to_bits() }
    };
    let mut keys: Vec<Key> = rows.iter().map(key).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn all_glucose_readings_become_as_many_points_and_stay_so_when_they_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(influx) = or_skip(Influx::start(&folder.path().join("influx"))) else { return };
    influx.database("tributary").unwrap();
    let (days, keys) = (days(), keys());
    assert_eq!(keys.len(), 52_281);
    let mut store = open(folder.path(), Box::new(sink(&influx)));
    for some in days.chunks(20) {
        assert!(record(&mut store, some).iter().all(|outcome| *outcome == Outcome::Recorded));
    }
    assert_eq!(covered(&mut store), whole(&days));
    assert!(found(&influx) == keys, "{} points", found(&influx).len());
    assert!(record(&mut store, &days).iter().all(|outcome| *outcome == Outcome::Known));
    drop(store);
    let mut store = open(folder.path(), Box::new(sink(&influx)));
    assert!(record(&mut store, &days).iter().all(|outcome| *outcome == Outcome::Known));
    assert!(found(&influx) == keys, "{} points", found(&influx).len());
}

#[test]
fn what_is_cut_off_between_claim_and_receipt_is_covered_by_none_and_written_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let Some(influx) = or_skip(Influx::start(&folder.path().join("influx"))) else { return };
    influx.database("tributary").unwrap();
    let (days, keys) = (days(), keys());
    for (turn, some) in days.chunks(10).enumerate() {
        let cut = [Cut::Before, Cut::Halfway, Cut::After][turn % 3];
        let (cutting, switch) = Cutting::new(sink(&influx));
        let mut store = open(folder.path(), Box::new(cutting));
        let before = if turn == 0 { vec![] } else { whole(&days[..turn * 10]) };
        // First what the last turn left.
        wait_for("what was cut off", SOON, || (covered(&mut store) == before).then_some(()));
        *switch.lock().unwrap() = Some(cut);
        assert!(record(&mut store, some).iter().all(|outcome| *outcome == Outcome::Recorded));
        assert_eq!(covered(&mut store), before, "{cut:?}: committed, but not covered");
        // The same batches again, as from a device that waits for its receipt.
        assert!(record(&mut store, some).iter().all(|outcome| *outcome == Outcome::Known));
        assert_eq!(covered(&mut store), before, "{cut:?}: still not covered");
    }
    let mut store = open(folder.path(), Box::new(sink(&influx)));
    wait_for("what was cut off", SOON, || (covered(&mut store) == whole(&days)).then_some(()));
    assert!(found(&influx) == keys, "{} points", found(&influx).len());
}
