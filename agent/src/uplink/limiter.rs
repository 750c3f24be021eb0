//! How fast a connection may publish: token buckets over the session's time.
//!
//! A broker that throttles says nothing. AWS IoT Core discards what exceeds 100 publishes a second (both ways
//! together) and delays what exceeds 512 KiB/s, so the device itself must stay below.

use std::time::{Duration, Instant};

use super::Pace;

/// Of a second's allowance, the part that may go at once; the rest comes in evenly. Together they never pass the
/// allowance in any one second.
const BURST_PART: f64 = 0.1;

/// One allowance. It may be overdrawn by what cannot wait, and by the last frame; what follows waits for it to fill.
#[derive(Clone, Debug)]
struct Bucket {
    fill_per_s: f64,
    burst: f64,
    /// What has to be there before the next frame.
    needed: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    fn new(per_s: u32, needed: f64, now: Instant) -> Option<Self> {
        let per_s = f64::from(per_s);
        let burst = (per_s * BURST_PART).max(needed);
        let fill_per_s = (per_s - burst).max(per_s / 2.0);
        (per_s > 0.0).then_some(Self { fill_per_s, burst, needed, level: burst, at: now })
    }

    fn level(&self, now: Instant) -> f64 {
        let more = self.fill_per_s * now.saturating_duration_since(self.at).as_secs_f64();
        (self.level + more).min(self.burst)
    }

    fn take(&mut self, amount: f64, now: Instant) {
        self.level = self.level(now) - amount;
        self.at = self.at.max(now);
    }

    /// How long until the next frame may go.
    fn wait(&self, now: Instant) -> Duration {
        let lacking = self.needed - self.level(now);
        if lacking <= 0.0 {
            return Duration::ZERO;
        }
        // A little more, so that rounding never leaves it just short.
        Duration::from_secs_f64(lacking / self.fill_per_s) + Duration::from_micros(10)
    }
}

/// The allowances of one connection. None at all unless they are set.
#[derive(Clone, Debug)]
pub(super) struct Limiter {
    publishes: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Limiter {
    pub(super) fn new(pace: &Pace, now: Instant) -> Self {
        Self {
            publishes: Bucket::new(pace.publishes_per_s_max, 1.0, now),
            bytes: Bucket::new(pace.bytes_per_s_max, 1.0, now),
        }
    }

    /// A message went out or came in, `bytes` long where that counts.
    pub(super) fn count(&mut self, bytes: usize, now: Instant) {
        if let Some(publishes) = &mut self.publishes {
            publishes.take(1.0, now);
        }
        if let Some(allowance) = &mut self.bytes {
            allowance.take(f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)), now);
        }
    }

    /// When the next frame may go: `now`, or later.
    pub(super) fn ready_at(&self, now: Instant) -> Instant {
        let wait = |bucket: &Option<Bucket>| bucket.as_ref().map_or(Duration::ZERO, |bucket| bucket.wait(now));
        now + wait(&self.publishes).max(wait(&self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_second_has_more_than_its_allowance_and_all_of_it_can_be_used(
            per_s in 1_u32..500,
            bytes_per_s in 10_000_u32..2_000_000,
            sizes in prop::collection::vec(1_usize..131_072, 50..400),
            pauses in prop::collection::vec(0_u64..3_000, 50),
        ) {
            let pace = Pace { publishes_per_s_max: per_s, bytes_per_s_max: bytes_per_s, ..Pace::default() };
            let start = Instant::now();
            let mut limiter = Limiter::new(&pace, start);
            let mut now = start;
            let mut sent: Vec<(Instant, usize)> = Vec::new();
            for (index, size) in sizes.iter().enumerate() {
                now += Duration::from_millis(if index % 7 == 0 { pauses[index % pauses.len()] } else { 0 });
                now = limiter.ready_at(now);
                prop_assert_eq!(limiter.ready_at(now), now, "it keeps its word");
                limiter.count(*size, now);
                sent.push((now, *size));
            }
            for (index, (from, _)) in sent.iter().enumerate() {
                let within = sent[index..].iter().take_while(|(at, _)| *at < *from + Duration::from_millis(999));
                let sizes: Vec<usize> = within.map(|(_, size)| *size).collect();
                prop_assert!(sizes.len() <= per_s as usize, "{} publishes a second of {per_s}", sizes.len());
                // The last frame may overdraw: its bytes are delayed, not discarded.
                let bytes: usize = sizes[..sizes.len() - 1].iter().sum();
                prop_assert!(bytes <= bytes_per_s as usize + 131_072, "{bytes} bytes a second of {bytes_per_s}");
            }
        }
    }

    #[test]
    fn a_steady_stream_gets_nine_tenths_of_the_allowance_and_without_limits_nothing_waits() {
        let start = Instant::now();
        let mut limiter = Limiter::new(&Pace { publishes_per_s_max: 100, ..Pace::default() }, start);
        let mut now = start;
        for _ in 0..1_000 {
            now = limiter.ready_at(now);
            limiter.count(10, now);
        }
        assert!(now - start < Duration::from_secs(12), "{:?}", now - start);
        let mut free = Limiter::new(&Pace::default(), start);
        (0..10_000).for_each(|_| free.count(1 << 20, start));
        assert_eq!(free.ready_at(start), start);
    }
}
