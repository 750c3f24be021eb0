//! What the pipeline has done since it started, for `/metrics`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::store::{Item, Outcome};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Total(AtomicU64);

impl Total {
    pub(crate) const fn zero() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that is so or not.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    pub(crate) const fn lowered() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(crate) fn set(&self, is_so: bool) {
        self.0.store(is_so, Ordering::Relaxed);
    }

    /// Whether it is so now.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counted once per item.
#[derive(Debug, Default)]
pub struct Totals {
    /// Transactions.
    pub commits: Total,
    /// Batches and packs recorded.
    pub batches: Total,
    /// Readings in them.
    pub readings: Total,
    /// Batches and packs that were there already.
    pub known: Total,
    /// Items put into quarantine.
    pub quarantined: Total,
    /// Items refused.
    pub refused: Total,
    /// Receipts handed to a connection.
    pub receipts_sent: Total,
    /// Receipts that found no room; the next one says the same.
    pub receipts_dropped: Total,
    /// Times the store took nothing.
    pub store_failures: Total,
    /// Whether it took nothing the last time.
    pub store_failing: Flag,
}

impl Totals {
    /// All at zero.
    #[must_use]
    pub const fn zero() -> Self {
        Self {
            commits: Total::zero(),
            batches: Total::zero(),
            readings: Total::zero(),
            known: Total::zero(),
            quarantined: Total::zero(),
            refused: Total::zero(),
            receipts_sent: Total::zero(),
            receipts_dropped: Total::zero(),
            store_failures: Total::zero(),
            store_failing: Flag::lowered(),
        }
    }

    pub(super) fn committed(&self, items: &[Item], outcomes: &[Outcome]) {
        if items.is_empty() {
            return;
        }
        self.commits.add(1);
        for (item, outcome) in items.iter().zip(outcomes) {
            let columns = match item {
                Item::Batch(batch) => &batch.columns,
                Item::Pack(pack) => &pack.columns,
                Item::Quarantine(_) => {
                    self.quarantined.add(1);
                    continue;
                }
                _ => continue,
            };
            match outcome {
                Outcome::Recorded => {
                    self.batches.add(1);
                    self.readings.add(columns.iter().map(|column| column.readings.len() as u64).sum());
                }
                Outcome::Known => self.known.add(1),
                Outcome::Refused(_) => self.refused.add(1),
            }
        }
    }
}
