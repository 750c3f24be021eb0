//! What went to the time-series store since the start, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    const fn zero() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a process's outbox has done.
#[derive(Debug, Default)]
pub struct Totals {
    /// Readings that the sink has not got, and that no receipt covers.
    pub waiting: Count,
    /// Records written, those written again included.
    pub written: Count,
    /// Records that it never takes.
    pub refused: Count,
    /// Records that needed another rank, because another reading had theirs.
    pub collisions: Count,
    /// Times it could not be written.
    pub failures: Count,
}

/// Those of this process.
pub static TOTALS: Totals = Totals {
    waiting: Count::zero(),
    written: Count::zero(),
    refused: Count::zero(),
    collisions: Count::zero(),
    failures: Count::zero(),
};
