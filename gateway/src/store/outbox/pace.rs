//! How long to wait before the sink is tried again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The first wait after a failure is at most this.
const FIRST: Duration = Duration::from_millis(250);
/// No wait after a failure is longer.
const LONGEST: Duration = Duration::from_secs(10);
/// Between two looks at an outbox in which there was nothing: another gateway may have left something.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Doubles with each failure, with full jitter.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
    rests: bool,
}

impl Pace {
    pub(super) fn failed(&mut self) {
        (self.failures, self.rests) = (self.failures.saturating_add(1), false);
    }

    pub(super) fn went_well(&mut self) {
        *self = Self::default();
    }

    pub(super) fn rest(&mut self) {
        self.rests = true;
    }

    /// The wait before the next attempt.
    pub(super) fn delay(&self) -> Duration {
        match self.failures.checked_sub(1) {
            Some(doublings) => jittered(FIRST.saturating_mul(1 << doublings.min(16)).min(LONGEST)),
            None if self.rests => LOOK_EVERY,
            None => Duration::ZERO,
        }
    }
}

/// Some part of `whole`, so that those who failed together do not come back together.
pub(in crate::store) fn jittered(whole: Duration) -> Duration {
    let drawn = RandomState::new().build_hasher().finish() % 1_000;
    whole.saturating_mul(u32::try_from(drawn).unwrap_or(0) + 1) / 1_000
}
