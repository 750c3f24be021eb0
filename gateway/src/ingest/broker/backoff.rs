//! How long to wait before the next connection: full jitter, doubling, forgotten only after a stable minute.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

/// A connection that lasted this long was a good one.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// Waits between connections. The random part keeps gateways from coming back all at once.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    random: RandomState,
}

impl Backoff {
    /// Waits from `min`, doubling to `max`.
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0, random: RandomState::new() }
    }

    /// A connection ended that stood since `up`, or never stood; how long to wait now.
    pub(super) fn failed(&mut self, up: Option<Instant>, now: Instant) -> Duration {
        if up.is_some_and(|since| now.saturating_duration_since(since) >= STABLE_AFTER) {
            self.failures = 0;
        }
        let ceiling = self.min.saturating_mul(1 << self.failures.min(20)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(self.share())
    }

    /// At least 0, less than 1: the standard library seeds its hashes differently in each process.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double")]
    fn share(&self) -> f64 {
        let mut hasher = self.random.build_hasher();
        hasher.write_u32(self.failures);
        (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_ceiling_and_are_forgotten_only_after_a_stable_minute() {
        let now = Instant::now();
        let waits = || {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
            (0..12).map(|_| backoff.failed(None, now)).collect::<Vec<_>>()
        };
        let many: Vec<Vec<Duration>> = (0..300).map(|_| waits()).collect();
        for (at, ceiling) in [(0, 1.0), (3, 8.0), (11, 30.0)] {
            let mean = many.iter().map(|waits| waits[at].as_secs_f64()).sum::<f64>() / 300.0;
            assert!((mean / ceiling - 0.5).abs() < 0.12, "wait {at}: mean {mean} of {ceiling}");
            assert!(many.iter().all(|waits| waits[at].as_secs_f64() <= ceiling));
        }
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        for _ in 0..12 {
            backoff.failed(None, now);
        }
        backoff.failed(Some(now), now + Duration::from_secs(59));
        assert!(backoff.failures > 12, "a short success is no success");
        assert!(backoff.failed(Some(now), now + Duration::from_secs(60)) <= Duration::from_secs(1));
    }
}
