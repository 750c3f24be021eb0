//! The ledger of a device as it is shown.

use serde::Serialize;

/// What the ledger says of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Whose.
    pub device: String,
    /// Whether it has a connection now.
    pub connected: bool,
    /// Of all its epochs together.
    pub totals: LedgerCounts,
    /// What is lost, by reason.
    pub lost: Vec<Lost>,
    /// What somebody should look at, latest first.
    pub alarms: Vec<Raised>,
    /// Newest first.
    pub epochs: Vec<LedgerEpoch>,
    /// Newest first.
    pub gaps: Vec<Gap>,
}

/// What became of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LedgerCounts {
    /// Batches whose readings are committed.
    pub stored: u64,
    /// Batches that could not be read, whose bytes are committed.
    pub quarantined: u64,
    /// Batches that the device holds and that have not come yet.
    pub waiting: u64,
    /// Numbers that came although a gap named them.
    pub repaired: u64,
    /// Numbers that will never come.
    pub lost: u64,
}

/// What is lost for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// As in [`Gap::reason`].
    pub reason: String,
    /// In how many gaps.
    pub gaps: i64,
    /// Numbers that they name.
    pub numbers: i64,
    /// Readings that were lost, as far as it is known.
    pub readings: i64,
    /// Gaps of which it is not known how many readings were lost.
    pub uncounted: i64,
}

/// An alarm of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Raised {
    /// The name of an [`AlarmKind`](crate::store::AlarmKind).
    pub kind: String,
    /// When for the first time.
    pub first_us: i64,
    /// When for the last time.
    pub last_us: i64,
    /// How often.
    pub count: i64,
}

/// One epoch in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerEpoch {
    /// 16 hexadecimal digits.
    pub epoch: String,
    /// Arrival of the first thing of this epoch.
    pub first_arrival_us: Option<i64>,
    /// Arrival of the last thing of this epoch.
    pub last_arrival_us: Option<i64>,
    /// The number that the device will give next, as it said last.
    pub next: Option<u64>,
    /// What became of its numbers.
    pub counts: LedgerCounts,
    /// Whether its device speaks as if it had never been: its buffer was copied.
    pub is_astray: bool,
    /// What is settled, ascending.
    pub ranges: Vec<LedgerRange>,
}

/// Numbers that ended alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LedgerRange {
    /// The lowest.
    pub first: u64,
    /// The highest.
    pub last: u64,
    /// `stored`, `quarantined` or `gap`.
    pub state: &'static str,
}

/// What will never come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// 16 hexadecimal digits, where numbers are gone.
    pub epoch: Option<String>,
    /// The lowest.
    pub first: Option<u64>,
    /// The highest.
    pub last: Option<u64>,
    /// Which source lost it.
    pub source: Option<String>,
    /// From when; unknown while the clock of its boot is.
    pub from_us: Option<i64>,
    /// Until when.
    pub to_us: Option<i64>,
    /// How many readings.
    pub count: Option<i64>,
    /// How many numbers, where that is not all from the lowest to the highest: many gaps that became one.
    pub numbers: Option<i64>,
    /// `evicted`, `disk_full`, `damaged`, `overrun`, `dropped`, `unexplained`, or `several`.
    pub reason: String,
}
