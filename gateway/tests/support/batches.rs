//! Batches as devices would send them, for the tests of the store and of the API.

use proto::{
    Basis, Body, BodyHash, BootId, Clock, Column, DeviceId, Epoch, Instant, Kind, Lane, Quality, Reading, Series, Value,
};
use tributary_gateway::store::Ledger as _;
use tributary_gateway::store::sqlite::{Store, Writer};
use tributary_gateway::store::{Batch, Item, Outcome};

/// 2026-03-01T00:00:00Z in microseconds: now, in these tests.
pub(crate) const NOW: i64 = 1_772_323_200_000_000;
pub(crate) const MINUTE: i64 = 60_000_000;
pub(crate) const EPOCH: Epoch = Epoch([7; 8]);
pub(crate) const BOOT: BootId = BootId([3; 8]);

pub(crate) fn now() -> Instant {
    Instant(NOW)
}

pub(crate) fn meter() -> DeviceId {
    "meter-7".parse().unwrap()
}

pub(crate) fn open(folder: &tempfile::TempDir) -> Store {
    Store::open(&folder.path().join("gateway.db"), now).unwrap()
}

pub(crate) fn glucose() -> Series {
    Series { name: "glucose".parse().unwrap(), unit: "mg/dL".parse().unwrap(), kind: Kind::Gauge }
}

pub(crate) fn synced(offset_us: i64) -> Clock {
    Clock { boot: BOOT, offset_us, quality: Quality::Synced }
}

pub(crate) fn column(basis: Basis, readings: impl IntoIterator<Item = (i64, Value)>) -> Column {
    let readings = readings.into_iter().map(|(time, value)| Reading::new(Instant(time), value)).collect();
    Column { series: glucose(), basis, readings }
}

/// A batch with columns of any kind.
pub(crate) fn batch_of(number: u64, columns: Vec<Column>) -> Batch {
    let body = Body { boot: BOOT, columns }.encode().unwrap();
    Batch {
        device: meter(),
        epoch: EPOCH,
        number,
        hash: BodyHash::of(&body),
        lane: Lane::Live,
        clock: synced(0),
        arrived: Instant(NOW),
        columns: Body::decode(&body).unwrap().columns,
        body: body.into(),
    }
}

/// A batch of glucose readings at absolute times.
pub(crate) fn batch(number: u64, readings: &[(i64, f64)]) -> Batch {
    let readings = readings.iter().map(|(time, value)| (*time, Value::Number(*value)));
    batch_of(number, vec![column(Basis::Source, readings)])
}

pub(crate) fn record(writer: &mut Writer, items: impl IntoIterator<Item = Item>) -> Vec<Outcome> {
    writer.record(&items.into_iter().collect::<Vec<_>>()).unwrap()
}
