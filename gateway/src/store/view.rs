//! What readers of a store are shown. Named and shaped as the HTTP API names them, instants in `*_us` as everywhere.

use std::collections::BTreeMap;

use proto::Value;
use serde::Serialize;

mod chart;
mod ledger;

pub use chart::{Chart, ChartLevel, ChartPoints, Span};
pub use ledger::{Gap, Ledger, LedgerCounts, LedgerEpoch, LedgerRange, Lost, Raised};

/// A device and how it is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub display_name: String,
    /// Whether it has a connection now.
    pub connected: bool,
    /// Arrival of its first message.
    pub first_seen_us: Option<i64>,
    /// Arrival of its last message.
    pub last_seen_us: Option<i64>,
    /// Event time of its newest reading.
    pub last_reading_us: Option<i64>,
    /// How long after it was taken the newest live reading arrived.
    pub lag_us: Option<i64>,
    /// Readings that count.
    pub readings: i64,
    /// Batches stored.
    pub batches: i64,
    /// Entries in quarantine.
    pub quarantined: i64,
    /// Gaps.
    pub gaps: i64,
    /// Kinds of alarms that it has raised.
    pub alarms: Vec<String>,
}

/// All devices together, for those who watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Devices known.
    pub devices: i64,
    /// Of these, those that are connected.
    pub connected: i64,
    /// Of these, those that left more than a day ago and were not revoked.
    pub silent: i64,
    /// Readings kept that count.
    pub readings: i64,
    /// Entries in quarantine.
    pub quarantined: i64,
    /// Gaps in the ledger.
    pub gaps: i64,
    /// How often each kind of alarm was raised: names of [`AlarmKind`](crate::store::AlarmKind)s.
    pub alarms: BTreeMap<String, i64>,
}

/// A series with its newest reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its key.
    pub id: i64,
    /// Whose.
    pub device: String,
    /// `glucose`
    pub name: String,
    /// `mg/dL`
    pub unit: String,
    /// `gauge`, `counter`, `delta`, `state`, `text` or `event`.
    pub kind: String,
    /// What people call it.
    pub display_name: String,
    /// Readings that count.
    pub readings: i64,
    /// Event time of the oldest reading.
    pub first_us: Option<i64>,
    /// The newest reading that is not flagged as future; if all are, the newest of those.
    pub latest: Option<Reading>,
}

/// A reading as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Its place in the feed.
    pub id: i64,
    /// Of which series.
    pub series: i64,
    /// When it was taken.
    pub time_us: i64,
    /// Its rank among readings of this series and instant.
    pub ordinal: i64,
    /// What it says.
    pub value: Value,
    /// How its time is known.
    pub quality: TimeQuality,
    /// Minutes east of UTC at its origin.
    pub utc_offset_minutes: Option<i16>,
    /// Whether it was taken much later than it arrived.
    pub is_future: bool,
}

/// How the time of a reading is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeQuality {
    /// Not at all.
    Unset,
    /// From a clock that was not compared lately.
    Held,
    /// From a disciplined clock.
    Synced,
    /// Its origin said so.
    Source,
}

/// Readings of a span of time, thinned out where they are many.
#[derive(Clone, Debug, PartialEq)]
pub struct Excerpt {
    /// Whether some were left out: then each bucket's lowest and highest are there.
    pub is_thinned: bool,
    /// How many there are.
    pub readings_in_range: i64,
    /// In the order of time.
    pub readings: Vec<Reading>,
}

/// A day that holds readings, in some zone: 23, 24 or 25 hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Day {
    /// `2010-03-24`
    pub date: String,
    /// Its first instant.
    pub from_us: i64,
    /// The first instant of the next day.
    pub to_us: i64,
    /// Readings that count.
    pub readings: i64,
}

/// Whom readings are about.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// The name in addresses.
    pub id: String,
    /// What people call them.
    pub display_name: String,
    /// IANA name of the zone they are in.
    pub zone: String,
    /// Target range of glucose in mg/dL.
    pub glucose_band: GlucoseBand,
    /// What is measured of them.
    pub series: Vec<Series>,
}

/// A target range of glucose, mg/dL.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GlucoseBand {
    /// Below is too low.
    pub low: f64,
    /// Above is too high.
    pub high: f64,
}

/// Something in quarantine, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// Its key.
    pub id: i64,
    /// Whose.
    pub device: String,
    /// When it came.
    pub arrived_us: i64,
    /// On which topic.
    pub topic: String,
    /// Why it is here.
    pub reason: String,
    /// How many it has.
    pub bytes: i64,
    /// Its epoch, if it could be read.
    pub epoch: Option<String>,
    /// Its number, if it could be read.
    pub number: Option<u64>,
}
