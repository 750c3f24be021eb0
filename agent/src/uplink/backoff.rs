//! How long to wait before the next connection: full jitter, doubling, forgotten only after a stable minute.

use std::time::{Duration, Instant};

use crate::random::Random;

/// A connection that lasted this long was a good one.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// Waits between connections. The random part keeps a fleet from coming back all at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    connected_at: Option<Instant>,
    random: Random,
}

impl Backoff {
    /// Waits from `min`, doubling to `max`, with jitter from `seed`.
    #[must_use]
    pub fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self { min, max, failures: 0, connected_at: None, random: Random::new(seed) }
    }

    /// A connection stands.
    pub fn connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// A connection failed or ended; how long to wait now.
    pub fn failed(&mut self, now: Instant) -> Duration {
        let lasted = self.connected_at.take().map(|since| now.saturating_duration_since(since));
        if lasted.is_some_and(|lasted| lasted >= STABLE_AFTER) {
            self.failures = 0;
        }
        let ceiling = self.min.saturating_mul(1 << self.failures.min(20)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(self.random.share())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_ceiling_are_spread_below_it_and_are_forgotten_only_after_a_stable_minute() {
        let start = Instant::now();
        let waits = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300), seed);
            (0..40).map(|_| backoff.failed(start)).collect::<Vec<_>>()
        };
        let many: Vec<Vec<Duration>> = (0..200).map(waits).collect();
        let mean = |at: usize| many.iter().map(|waits| waits[at].as_secs_f64()).sum::<f64>() / 200.0;
        for (at, ceiling) in [(0, 1.0), (3, 8.0), (39, 300.0)] {
            assert!((mean(at) / ceiling - 0.5).abs() < 0.1, "wait {at}: mean {} of {ceiling}", mean(at));
            assert!(many.iter().all(|waits| waits[at].as_secs_f64() <= ceiling));
        }

        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300), 7);
        for _ in 0..20 {
            backoff.failed(start);
        }
        backoff.connected(start);
        let short = (0..50).map(|_| backoff.clone().failed(start + Duration::from_secs(59)));
        assert!(short.max().is_some_and(|wait| wait > Duration::from_secs(1)), "a short success is no success");
        assert!(backoff.failed(start + Duration::from_secs(60)) <= Duration::from_secs(1));
    }
}
