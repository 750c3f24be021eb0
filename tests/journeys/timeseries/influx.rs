//! A real InfluxDB 1.6 as the time-series side.

use std::time::Duration;

use gateway::store::influx::{Access, Influx as Sink, Settings};
use gateway::store::sink::Sink as _;
use gateway::store::{Batch, Item, Outcome};
use harness::offered::Key;
use harness::servers::{Influx, or_skip};
use harness::wait_for;

use super::sinks::{Cut, Cutting};
use super::{count, covered, days, example, keys, open, record, whole};
use crate::http::{Dice, Reply, Server};

const SOON: Duration = Duration::from_secs(60);

fn settings(influx: &Influx) -> Settings {
    let access = Access::V1 { database: "tributary".to_owned(), user: None };
    Settings { url: influx.url(), access, authority_file: None, plain_http: false }
}

pub(super) fn sink(influx: &Influx) -> Sink {
    Sink::new(&settings(influx)).unwrap()
}

/// All points of glucose.
pub(super) fn found(influx: &Influx) -> Vec<Key> {
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

#[test]
fn an_influxdb_that_fails_and_falls_silent_at_random_gets_all_of_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let Some(influx) = or_skip(Influx::start(&folder.path().join("influx"))) else { return };
    influx.database("tributary").unwrap();
    let (dice, upstream) = (Dice::new(), influx.url());
    let server = Server::start(move |request| {
        let pass = || ureq::post(format!("{upstream}{}", request.target)).send(&request.body[..]).unwrap();
        match dice.below(6) {
            0 => Reply::Answer(500, r#"{"error":"timeout"}"#.to_owned()),
            1 => Reply::Cut,
            2 => {
                pass();
                Reply::Answer(503, String::new())
            }
            3 => {
                pass();
                Reply::Cut
            }
            _ => Reply::Answer(pass().status().as_u16(), String::new()),
        }
    });
    let (days, keys) = (days(), keys());
    let sink = Sink::new(&Settings { url: server.url(), ..settings(&influx) }).unwrap();
    let mut store = open(folder.path(), Box::new(sink));
    for some in days.chunks(5) {
        // It may be so far behind that no more is taken for a while.
        wait_for("room", SOON, || store.ledger.record(some).ok());
    }
    wait_for("all of it", SOON, || (covered(&mut store) == whole(&days)).then_some(()));
    assert!(found(&influx) == keys, "{} points", found(&influx).len());
}

#[test]
fn points_that_a_real_influxdb_refuses_are_set_aside_with_its_reason_and_cost_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let Some(influx) = or_skip(Influx::start(&folder.path().join("influx"))) else { return };
    influx.database("tributary").unwrap();
    let (days, keys) = (days(), keys());
    // In this week, the field is of another type already.
    let week = format!("reading,device=else value=\"text\" {}", keys[20_000].time_us * 1_000);
    ureq::post(format!("{}/write?db=tributary", influx.url())).send(week.as_bytes()).unwrap();
    let mut store = open(folder.path(), Box::new(sink(&influx)));
    record(&mut store, &days);
    assert_eq!(covered(&mut store), whole(&days), "what is refused is settled too");
    let taken = found(&influx);
    let db = rusqlite::Connection::open(folder.path().join("gateway.db")).unwrap();
    let sql = "select r.time_us, r.ordinal, s.reason from sink_refused s join reading r on r.id = s.reading";
    let mut statement = db.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let refused: Vec<(i64, i64, String)> = rows.collect::<Result<_, _>>().unwrap();
    assert!((1..=2_100).contains(&refused.len()), "{} of a week", refused.len());
    assert!(refused.iter().all(|(.., reason)| reason.contains("field type conflict")), "{:?}", refused[0]);
    let aside: std::collections::HashSet<_> = refused.iter().map(|(time, rank, _)| (*time, *rank)).collect();
    let rest: Vec<_> = keys.into_iter().filter(|key| !aside.contains(&(key.time_us, key.ordinal))).collect();
    assert!(taken == rest, "{} taken, {} expected", taken.len(), rest.len());
    assert_eq!(count(&db, "select count from alarm where kind = 'sink_refused'"), refused.len());
}

#[test]
fn readings_older_than_the_raw_ones_kept_get_ranks_that_influxdb_has_free() {
    let folder = tempfile::tempdir().unwrap();
    let Some(influx) = or_skip(Influx::start(&folder.path().join("influx"))) else { return };
    influx.database("tributary").unwrap();
    let days = days();
    let mut store = open(&folder.path().join("first"), Box::new(sink(&influx)));
    record(&mut store, &days[..2]);
    let before = found(&influx);
    drop(store);
    // Another relational store that knows none of it, as if all raw readings had gone; and other batches of the same times.
    let second = folder.path().join("second");
    drop(open(&second, Box::new(sink(&influx))));
    let db = rusqlite::Connection::open(second.join("gateway.db")).unwrap();
    db.execute("update rollup_state set raw_from_us = 4000000000000000", []).unwrap();
    let mut store = open(&second, Box::new(sink(&influx)));
    let again = |item: &Item| match item {
        Item::Batch(batch) => Item::Batch(Batch { number: batch.number + 2, ..batch.clone() }),
        other => other.clone(),
    };
    let others: Vec<Item> = days[..2].iter().map(again).collect();
    record(&mut store, &others);
    let after = found(&influx);
    assert_eq!(after.len(), 2 * before.len(), "nothing was overwritten");
    let next = before.iter().map(|key| Key { ordinal: key.ordinal + 1, ..key.clone() });
    let mut both: Vec<Key> = before.iter().cloned().chain(next).collect();
    both.sort_unstable();
    assert!(after == both);
    // The ranks are in the relational store, so that a repeat is the same.
    let ranked = count(&db, "select count(*) from reading where ordinal = 1");
    assert_eq!(ranked, before.len());
}

/// InfluxDB 2 as its documentation describes `/api/v2/write`: 204 with no content; 401 `unauthorized`; 422 `unprocessable
/// entity` for points that conflict, while the others of the same request are written.
#[test]
fn by_contract_of_version_2_a_token_a_bucket_and_a_partial_write_are_told_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "secret-token\n").unwrap();
    let access =
        Access::V2 { org: "home & co".to_owned(), bucket: "tributary".to_owned(), token_file: token_file.clone() };
    // Points of this value are refused.
    let bad_value = f64::from_bits(keys()[0].bits);
    let lines = std::sync::Arc::<std::sync::Mutex<std::collections::BTreeSet<String>>>::default();
    let kept = lines.clone();
    let server = Server::start(move |request| {
        if request.header("authorization") != Some("Token secret-token") {
            return Reply::Answer(401, r#"{"code":"unauthorized","message":"unauthorized access"}"#.to_owned());
        }
        assert_eq!(request.target, "/api/v2/write?org=home+%26+co&bucket=tributary&precision=ns");
        let body = String::from_utf8(request.body).unwrap();
        let (bad, good): (Vec<&str>, Vec<&str>) =
            body.lines().partition(|line| line.contains(&format!(" value={bad_value:?},")));
        kept.lock().unwrap().extend(good.into_iter().map(str::to_owned));
        match bad.len() {
            0 => Reply::Answer(204, String::new()),
            dropped => Reply::Answer(
                422,
                format!(
                    r#"{{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict dropped={dropped}"}}"#
                ),
            ),
        }
    });
    let settings = Settings { url: server.url(), access, authority_file: None, plain_http: false };
    let open_to_all = Sink::new(&settings).err().unwrap().to_string();
    assert!(open_to_all.contains("chmod 600") && !open_to_all.contains("secret-token"), "{open_to_all}");
    std::fs::set_permissions(&token_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut store = open(folder.path(), Box::new(Sink::new(&settings).unwrap()));
    let days = days();
    record(&mut store, &days[..4]);
    assert_eq!(covered(&mut store), whole(&days[..4]));
    let db = rusqlite::Connection::open(folder.path().join("gateway.db")).unwrap();
    let bad = count(&db, &format!("select count(*) from reading where value = {bad_value:?}"));
    let refused = count(&db, "select count(*) from sink_refused");
    assert!(bad > 0 && bad == refused, "{bad} bad, {refused} refused");
    assert_eq!(lines.lock().unwrap().len(), 4 * 288 - bad);
}

#[test]
fn a_wrong_password_a_missing_database_and_a_plain_address_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let started = Influx::start_with_user(&folder.path().join("influx"), "tributary", "right");
    let Some(influx) = or_skip(started) else { return };
    let file = folder.path().join("password");
    let write = |password: &str| {
        std::fs::write(&file, password).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let access =
            Access::V1 { database: "tributary".to_owned(), user: Some(("tributary".to_owned(), file.clone())) };
        let mut sink = Sink::new(&Settings { access, ..settings(&influx) }).unwrap();
        sink.write(&[example()])
    };
    let wrong = write("wrong").unwrap_err().to_string();
    assert!(wrong.contains("password") && !wrong.contains("wrong"), "{wrong}");
    let missing = write("right").unwrap_err().to_string();
    assert!(missing.contains("database tributary") && missing.contains("create it"), "{missing}");
    influx.database("tributary").unwrap();
    assert_eq!(write("right").unwrap(), []);
    let plain = Sink::new(&Settings { url: "http://example.com:8086".to_owned(), ..settings(&influx) });
    assert!(plain.err().unwrap().to_string().contains("unencrypted"));
}
