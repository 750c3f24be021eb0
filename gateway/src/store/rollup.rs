//! Rollups: readings summed up by minute, 15 minutes and hour, the same to the bit in every database.
//!
//! A [`pass::Pass`] takes what was committed since the last one, in the feed's order, and the minutes that were marked
//! because readings in them were moved or hidden. It first reads, then writes in one short transaction: what is
//! committed meanwhile lies after its cursor or has marks of its own, so nothing is missed and nothing counted twice.

use super::error::StoreError;

pub(super) mod bucket;
pub(super) mod pass;
pub(super) mod remake;
pub(super) mod retain;
pub(super) mod rows;

pub use bucket::{Bucket, Numbers};

/// Microseconds of a minute.
pub(crate) const MINUTE_US: i64 = 60_000_000;

/// How long the spans are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Not a span of its own but the part of a minute whose readings have gone, while others are there.
    Gone,
    /// 1 minute.
    Minute,
    /// 15 minutes.
    Quarter,
    /// 1 hour.
    Hour,
}

impl Level {
    /// Its column.
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Gone => 0,
            Self::Minute => 1,
            Self::Quarter => 15,
            Self::Hour => 60,
        }
    }

    /// The reverse.
    pub(crate) fn of_code(code: i64) -> Option<Self> {
        [Self::Gone, Self::Minute, Self::Quarter, Self::Hour].into_iter().find(|level| level.code() == code)
    }

    /// Its length in microseconds.
    #[must_use]
    pub fn length_us(self) -> i64 {
        self.code().max(1) * MINUTE_US
    }

    /// The first instant of the span that holds `time_us`.
    #[must_use]
    pub fn start_us(self, time_us: i64) -> i64 {
        // At the beginning of time there is no whole span.
        time_us.div_euclid(self.length_us()).saturating_mul(self.length_us())
    }

    /// The last instant of the span that begins at `start_us`.
    #[must_use]
    pub fn last_us(self, start_us: i64) -> i64 {
        start_us.saturating_add(self.length_us() - 1)
    }
}

/// What a step of [`Roll`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rolled {
    /// Readings taken from the feed.
    pub readings: usize,
    /// Marked minutes made anew.
    pub marks: usize,
    /// Rows written, of all levels.
    pub rows: usize,
    /// Readings removed because they were old.
    pub removed: usize,
    /// There may be more to do at once.
    pub is_behind: bool,
}

/// Who keeps the rollups of a store. There is one at a time for each database.
pub trait Roll: Send {
    /// Sums up some of what was committed since the last step: bounded work, one durable transaction.
    ///
    /// # Errors
    /// Nothing was changed; the next step tries again.
    fn step(&mut self) -> Result<Rolled, StoreError>;

    /// Removes some readings of before `before_us`; what they sum up to stays. Bounded work, one durable transaction.
    ///
    /// # Errors
    /// Nothing was changed; the next step tries again.
    fn remove(&mut self, before_us: i64) -> Result<Rolled, StoreError>;
}
