//! What the pipeline has done since it started, for `/metrics`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::store::{Item, Outcome};
use crate::trouble::Trouble;

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

/// Whether the store takes what recorders give it, said once for all of them.
#[derive(Debug)]
pub struct Health {
    /// Recorders whose last commit failed.
    failing: AtomicUsize,
    trouble: Mutex<Trouble>,
}

impl Health {
    pub(crate) const fn good() -> Self {
        Self { failing: AtomicUsize::new(0), trouble: Mutex::new(Trouble::none()) }
    }

    /// A recorder, whose store worked so far or not, could not commit. Answers whether that is to be said.
    pub(super) fn failed(&self, is_failing: &mut bool, why: &str, now: Instant) -> bool {
        if !std::mem::replace(is_failing, true) {
            self.failing.fetch_add(1, Ordering::Relaxed);
        }
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_news(why, now)
    }

    /// A recorder could commit. Answers how long the store had failed, if it had and does so for no other.
    pub(super) fn works(&self, is_failing: &mut bool, now: Instant) -> Option<Duration> {
        if !std::mem::replace(is_failing, false) || self.failing.fetch_sub(1, Ordering::Relaxed) > 1 {
            return None;
        }
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_over(now)
    }

    /// Whether it takes nothing of some recorder.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed) > 0
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::good()
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
    /// Messages of those who are cut off, which went no further.
    pub cut_off: Total,
    /// Receipts handed to a connection.
    pub receipts_sent: Total,
    /// Receipts that found no room; the next one says the same.
    pub receipts_dropped: Total,
    /// Times the store took nothing.
    pub store_failures: Total,
    /// Whether it takes what it is given.
    pub store: Health,
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
            cut_off: Total::zero(),
            receipts_sent: Total::zero(),
            receipts_dropped: Total::zero(),
            store_failures: Total::zero(),
            store: Health::good(),
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
                Outcome::Misnamed => self.quarantined.add(1),
                Outcome::Refused(_) => self.refused.add(1),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_fails_several_is_well_again_when_the_last_of_them_has_committed() {
        let (health, began) = (Health::good(), Instant::now());
        let (mut one, mut other) = (false, false);
        assert!(health.failed(&mut one, "full", began));
        assert!(!health.failed(&mut other, "full", began), "said once for both");
        assert!(!health.failed(&mut one, "full", began), "and once while it lasts");
        assert_eq!(health.works(&mut one, began + Duration::from_secs(1)), None);
        assert!(health.is_failing());
        assert_eq!(health.works(&mut other, began + Duration::from_secs(3)), Some(Duration::from_secs(3)));
        assert!(!health.is_failing());
        assert_eq!(health.works(&mut other, began + Duration::from_secs(4)), None);
    }
}
