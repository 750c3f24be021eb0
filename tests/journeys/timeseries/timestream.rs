//! Amazon Timestream as the time-series side: moto's server, and by contract where that is laxer than the service.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::store::Outcome;
use gateway::store::sink::Sink as _;
use gateway::store::timestream::{Settings, Timestream};
use harness::offered::Key;
use harness::servers::{Moto, or_skip};
use harness::wait_for;
use serde_json::{Value, json};

use super::sinks::{Cut, Cutting};
use super::{count, covered, days, example, keys, open, record, whole};
use crate::http::{Dice, Reply, Request, Server};

const SOON: Duration = Duration::from_secs(60);

fn sink(url: &str, folder: &Path) -> Timestream {
    let file = folder.join("credentials");
    std::fs::write(&file, "[default]\naws_access_key_id = any\naws_secret_access_key = any\n").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (database, table) = ("tributary".to_owned(), "reading".to_owned());
    let (region, endpoint_url) = ("us-east-1".to_owned(), Some(url.to_owned()));
    Timestream::new(&Settings { region, database, table, endpoint_url, credentials_file: Some(file) }).unwrap()
}

fn measure<'r>(record: &'r Value, name: &str) -> Option<&'r str> {
    let measures = record["MeasureValues"].as_array()?;
    measures.iter().find(|measure| measure["Name"] == name)?["Value"].as_str()
}

/// Records as keys of glucose.
fn as_keys<'r>(records: impl Iterator<Item = &'r Value>) -> Vec<Key> {
    let key = |record: &Value| {
        let time_ns: i64 = record["Time"].as_str().unwrap().parse().unwrap();
        let value: f64 = measure(record, "value").unwrap().parse().unwrap();
        let (time_us, ordinal) = (time_ns.div_euclid(1_000), time_ns.rem_euclid(1_000));
        Key { series: "glucose".to_owned(), time_us, ordinal, bits: value.to_bits() }
    };
    let mut keys: Vec<Key> = records.map(key).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn all_glucose_readings_become_as_many_records_and_a_repeat_is_the_very_same() {
    let folder = tempfile::tempdir().unwrap();
    let Some(moto) = or_skip(Moto::start(&folder.path().join("moto"))) else { return };
    moto.call("CreateDatabase", &json!({ "DatabaseName": "tributary" })).unwrap();
    moto.call("CreateTable", &json!({ "DatabaseName": "tributary", "TableName": "reading" })).unwrap();
    let days = days();
    for (turn, some) in days.chunks(61).enumerate() {
        let (cutting, switch) = Cutting::new(sink(&moto.url(), folder.path()));
        let mut store = open(folder.path(), Box::new(cutting));
        let before = if turn == 0 { vec![] } else { whole(&days[..turn * 61]) };
        wait_for("what was cut off", SOON, || (covered(&mut store) == before).then_some(()));
        *switch.lock().unwrap() = Some([Cut::Before, Cut::Halfway, Cut::After][turn % 3]);
        assert!(record(&mut store, some).iter().all(|outcome| *outcome == Outcome::Recorded));
        assert_eq!(covered(&mut store), before, "committed, but not covered");
    }
    let mut store = open(folder.path(), Box::new(sink(&moto.url(), folder.path())));
    wait_for("what was cut off", SOON, || (covered(&mut store) == whole(&days)).then_some(()));
    // moto keeps each copy: the service keeps one, because all are the same.
    let copies = moto.records("tributary", "reading").unwrap();
    let mut records: HashMap<String, &Value> = HashMap::new();
    for copy in &copies {
        let first = records.entry(copy["Time"].as_str().unwrap().to_owned()).or_insert(copy);
        assert_eq!(*first, copy, "each copy is the very same");
    }
    println!("{} copies of {} records", copies.len(), records.len());
    assert!(copies.len() > records.len(), "some were written again");
    assert!(as_keys(records.into_values()) == keys());
}

/// The service as its documentation describes WriteRecords (API reference and developer guide, "Quotas"): at most 100
/// records a call, else ValidationException; a record whose dimensions, measure name and time are there already is taken
/// when all of it is the same, and rejected with ExistingVersion when it is not and its version is no higher; what is
/// older than the memory store is rejected with a reason; what is not listed as rejected is stored.
#[derive(Clone, Default)]
struct Service {
    records: Arc<Mutex<HashMap<String, Value>>>,
    /// Nanoseconds before which the memory store takes nothing.
    oldest_ns: i64,
}

impl Service {
    fn answer(&self, request: &Request) -> Reply {
        assert_eq!(request.header("x-amz-target"), Some("Timestream_20181101.WriteRecords"));
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let (common, records) = (&body["CommonAttributes"], body["Records"].as_array().unwrap());
        if records.len() > 100 {
            return refusal(
                400,
                "ValidationException",
                "records must have length less than or equal to 100",
                json!([]),
            );
        }
        let (mut held, mut rejected) = (self.records.lock().unwrap(), Vec::new());
        for (index, record) in records.iter().enumerate() {
            let mut whole = common.clone();
            whole.as_object_mut().unwrap().extend(record.as_object().unwrap().clone());
            assert!(whole["Dimensions"].is_array() && whole["Version"] == 1 && whole["TimeUnit"] == "NANOSECONDS");
            let time: i64 = whole["Time"].as_str().unwrap().parse().unwrap();
            if time < self.oldest_ns {
                let reason = "The record timestamp is outside the time range of the data ingestion window.";
                rejected.push(json!({ "RecordIndex": index, "Reason": reason }));
                continue;
            }
            let place = format!("{} {} {time}", whole["Dimensions"], whole["MeasureName"]);
            if *held.entry(place).or_insert_with(|| whole.clone()) != whole {
                let reason =
                    "A record already exists with the same time, dimensions and measure name, but other values.";
                rejected.push(json!({ "RecordIndex": index, "Reason": reason, "ExistingVersion": 1 }));
            }
        }
        if !rejected.is_empty() {
            return refusal(
                419,
                "RejectedRecordsException",
                "One or more records have been rejected.",
                json!(rejected),
            );
        }
        Reply::Answer(200, json!({ "RecordsIngested": { "Total": records.len() } }).to_string())
    }

    fn keys(&self) -> Vec<Key> {
        as_keys(self.records.lock().unwrap().values())
    }
}

fn refusal(status: u16, kind: &str, message: &str, rejected: Value) -> Reply {
    let kind = format!("com.amazonaws.timestream.v20181101#{kind}");
    Reply::Answer(status, json!({ "__type": kind, "message": message, "RejectedRecords": rejected }).to_string())
}

#[test]
fn by_contract_a_service_that_throttles_and_fails_at_random_has_each_reading_once() {
    let folder = tempfile::tempdir().unwrap();
    let (service, dice) = (Service::default(), Dice::new());
    let served = service.clone();
    let server = Server::start(move |request| match dice.below(8) {
        0 => refusal(400, "ThrottlingException", "Request was throttled", json!([])),
        1 => refusal(500, "InternalServerException", "ill", json!([])),
        2 => {
            served.answer(&request);
            Reply::Cut
        }
        _ => served.answer(&request),
    });
    let mut store = open(folder.path(), Box::new(sink(&server.url(), folder.path())));
    let days = days();
    for some in days.chunks(20) {
        wait_for("room", SOON, || store.ledger.record(some).ok());
    }
    wait_for("all of it", SOON, || (covered(&mut store) == whole(&days)).then_some(()));
    assert!(service.keys() == keys(), "{} records", service.keys().len());
}

#[test]
fn by_contract_an_existing_version_is_a_collision_and_the_reading_gets_the_next_rank() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::default();
    let served = service.clone();
    let server = Server::start(move |request| served.answer(&request));
    // Of the very same value: but another reading.
    assert_eq!(sink(&server.url(), folder.path()).write(&[example()]).unwrap(), []);
    let days = days();
    for _ in 0..2 {
        let mut store = open(folder.path(), Box::new(sink(&server.url(), folder.path())));
        record(&mut store, &days[..1]);
        assert_eq!(covered(&mut store), whole(&days[..1]));
        let first = keys().remove(0);
        let ranks: Vec<i64> =
            service.keys().iter().filter(|key| key.time_us == first.time_us).map(|key| key.ordinal).collect();
        assert_eq!((ranks, service.keys().len()), (vec![0, 1], 289));
        drop(store);
        let db = rusqlite::Connection::open(folder.path().join("gateway.db")).unwrap();
        let sql = "select ordinal from reading where time_us = ?1";
        assert_eq!(db.query_row(sql, [first.time_us], |row| row.get(0)), Ok(1), "the rank is in its row");
    }
}

#[test]
fn by_contract_what_is_too_old_is_set_aside_with_the_reason_and_the_rest_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys();
    let oldest_us = keys[1_000].time_us;
    let service = Service { oldest_ns: oldest_us * 1_000, ..Service::default() };
    let served = service.clone();
    let server = Server::start(move |request| served.answer(&request));
    let mut store = open(folder.path(), Box::new(sink(&server.url(), folder.path())));
    let days = days();
    record(&mut store, &days[..10]);
    assert_eq!(covered(&mut store), whole(&days[..10]), "settled all the same");
    let taken: Vec<Key> = keys.into_iter().take(2_880).filter(|key| key.time_us >= oldest_us).collect();
    assert!(service.keys() == taken, "{} records", service.keys().len());
    let db = rusqlite::Connection::open(folder.path().join("gateway.db")).unwrap();
    let sql = "select count(*) from sink_refused where reason like '%ingestion window%'";
    let refused = count(&db, sql);
    assert_eq!(refused + taken.len(), 2_880);
}

#[test]
fn a_missing_table_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let Some(moto) = or_skip(Moto::start(&folder.path().join("moto"))) else { return };
    let missing = sink(&moto.url(), folder.path()).write(&[example()]).unwrap_err().to_string();
    assert!(missing.contains("create them"), "{missing}");
}
