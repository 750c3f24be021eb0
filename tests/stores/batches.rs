//! What devices would send.

use gateway::store::{Batch, Item, Quarantine};
use proto::message::{Gap, GapReason, Held};
use proto::{
    Basis, Body, BodyHash, BootId, Channel, Clock, Column, DeviceId, Epoch, Instant, Kind, Lane, Quality, Range,
    Reading, Series, Value,
};

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

/// A batch with one reading of each of the series with these numbers; 1024 fit.
pub(crate) fn batch_of_series(number: u64, series: std::ops::Range<usize>) -> Batch {
    let named = |name: usize| Column {
        series: Series { name: format!("s{name}").parse().unwrap(), ..glucose() },
        ..column(Basis::Source, [(NOW, Value::Number(1.0))])
    };
    batch_of(number, series.map(named).collect())
}

/// As many series as a device may have, in batches 1 to 4.
pub(crate) fn all_series() -> impl Iterator<Item = Item> {
    (0..4).map(|part| Item::Batch(batch_of_series(part as u64 + 1, part * 1_024..(part + 1) * 1_024)))
}

pub(crate) fn range(first: u64, last: u64) -> Range {
    Range::new(first, last).unwrap()
}

/// Five readings that were evicted.
pub(crate) fn gap(range: Option<Range>, from: Option<i64>, until: Option<i64>) -> Gap {
    Gap {
        epoch: range.map(|_| EPOCH),
        range,
        source: None,
        from: from.map(Instant),
        until: until.map(Instant),
        boot: None,
        count: Some(5),
        reason: GapReason::Evicted,
    }
}

pub(crate) fn gaps(gaps: impl IntoIterator<Item = Gap>) -> Item {
    Item::Gaps { device: meter(), gaps: gaps.into_iter().collect() }
}

pub(crate) fn held(epoch: Epoch, ranges: &[(u64, u64)], next: u64) -> Held {
    Held { epoch, ranges: ranges.iter().map(|&(first, last)| range(first, last)).collect(), next }
}

/// All that the device holds.
pub(crate) fn hello<const N: usize>(held: [Held; N]) -> Item {
    Item::Held { device: meter(), held: held.into() }
}

/// Some of what the device holds.
pub(crate) fn part<const N: usize>(held: [Held; N]) -> Item {
    Item::HeldPart { device: meter(), held: held.into() }
}

/// Batches of an epoch, each with a reading of its own.
pub(crate) fn of(epoch: Epoch, numbers: impl IntoIterator<Item = u64>) -> Vec<Item> {
    let numbered = |number| {
        let value = f64::from(u32::try_from(number).unwrap()) + f64::from(epoch.0[0]);
        Item::Batch(Batch { epoch, ..batch(number, &[(NOW, value)]) })
    };
    numbers.into_iter().map(numbered).collect()
}

/// Numbers that will never come, and seven readings with them.
pub(crate) fn gone(epoch: Epoch, (first, last): (u64, u64), reason: GapReason) -> Item {
    let of = gap(Some(range(first, last)), None, None);
    gaps([Gap { epoch: Some(epoch), count: Some(7), reason, ..of }])
}

/// An alarm, as a [`Bed`](crate::bed::Bed) shows it.
pub(crate) fn alarm(kind: &str, count: i64) -> (String, i64) {
    (kind.to_owned(), count)
}

/// A gap that nobody explained, as a [`Bed`](crate::bed::Bed) shows it.
pub(crate) fn unexplained(first: u64, last: u64) -> (String, u64, u64) {
    ("unexplained".to_owned(), first, last)
}

/// A batch that cannot be read.
pub(crate) fn unreadable(number: u64, bytes: &[u8]) -> Quarantine {
    Quarantine {
        device: meter(),
        channel: Channel::Batch,
        identity: Some((EPOCH, number, BodyHash::of(bytes))),
        arrived: Instant(NOW),
        reason: "malformed series head".into(),
        bytes: bytes.to_vec().into(),
    }
}
