//! Readings reach the time-series store beside the relational one, each once, whatever dies on the way.

use std::path::Path;
use std::sync::Arc;

use gateway::store::outbox::Settings;
use gateway::store::sink::{Carrier, Named, Record, Sink};
use gateway::store::sqlite::Store as Sqlite;
use gateway::store::view::TimeQuality;
use gateway::store::{Batch, Item, Ledger as _, Outcome, SettledRanges, Store};
use harness::offered::{self, Key};
use proto::message::Settlement;
use proto::{
    Basis, Body, BodyHash, BootId, Clock, Column, DeviceId, Epoch, Instant, Kind, Lane, Range, Reading, Series, Value,
};

mod influx;
mod killed;
mod postgres;
mod sinks;
#[cfg(feature = "aws")]
mod timestream;

/// Readings of one batch: a day.
const DAY: usize = 288;
const EPOCH: Epoch = Epoch([5; 8]);

fn cgm() -> DeviceId {
    "cgm-1".parse().unwrap()
}

/// The real glucose readings, a day a batch.
fn days() -> Vec<Item> {
    let rows = offered::cgm_rows(&harness::data("cgm.csv.gz"));
    let series = Series { name: "glucose".parse().unwrap(), unit: "mg/dL".parse().unwrap(), kind: Kind::Gauge };
    let batch = |(number, rows): (u64, &[offered::Row])| {
        let readings = rows.iter().map(|row| Reading::new(Instant(row.time_us), Value::Number(row.value))).collect();
        let columns = vec![Column { series: series.clone(), basis: Basis::Source, readings }];
        let body = Body { boot: BootId([3; 8]), columns: columns.clone() }.encode().unwrap();
        let (hash, clock) = (BodyHash::of(&body), Clock::default());
        let (lane, arrived) = (Lane::Backfill, gateway::now());
        Item::Batch(Batch {
            device: cgm(),
            epoch: EPOCH,
            number,
            hash,
            lane,
            clock,
            arrived,
            columns,
            body: body.into(),
        })
    };
    (1..).zip(rows.chunks(DAY)).map(batch).collect()
}

/// What a store must have of them.
fn keys() -> Vec<Key> {
    let rows = offered::cgm_rows(&harness::data("cgm.csv.gz"));
    let mut keys = offered::keys("glucose", rows.iter().map(|row| (row.time_us, row.value)));
    keys.sort_unstable();
    keys
}

/// A store whose relational side lies in `folder`.
fn open(folder: &Path, sink: Box<dyn Sink>) -> Store {
    std::fs::create_dir_all(folder).unwrap();
    let relational = Sqlite::open(&folder.join("gateway.db"), gateway::now).unwrap();
    relational.beside(sink, Settings::default(), gateway::now).unwrap()
}

/// The numbers that a receipt would cover now.
fn covered(store: &mut Store) -> Vec<Range> {
    let SettledRanges(settled) = store.ledger.settled(&cgm(), EPOCH).unwrap();
    assert!(settled.iter().all(|(_, state)| *state == Settlement::Stored));
    settled.into_iter().map(|(range, _)| range).collect()
}

fn whole(items: &[Item]) -> Vec<Range> {
    vec![Range::new(1, items.len() as u64).unwrap()]
}

fn record(store: &mut Store, items: &[Item]) -> Vec<Outcome> {
    store.ledger.record(items).unwrap()
}

/// What a query counts.
fn count(db: &rusqlite::Connection, sql: &str) -> usize {
    db.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap() as usize
}

/// A record of the first of them, as another batch might have carried it.
fn example() -> Record {
    let key = keys().remove(0);
    let (device, name, unit, kind) = ("cgm-1".into(), "glucose".into(), "mg/dL".into(), "gauge".into());
    Record {
        reading: 1,
        series: Arc::new(Named { key: 1, device, name, unit, kind }),
        time_us: key.time_us,
        rank: 0,
        value: Value::Number(f64::from_bits(key.bits)),
        quality: TimeQuality::Source,
        utc_offset_minutes: None,
        carrier: Carrier::Batch(Epoch([9; 8]), 1),
        place: 0,
        origin: None,
        is_late: false,
    }
}
