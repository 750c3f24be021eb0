//! How much one device may send, in packets and in bytes: token buckets, kept over its connections.
//!
//! What an MQTT 5 device publishes at QoS 1 beyond its quota is refused with a reason, at most as fast as it might have been
//! taken; beyond that too, and for everything that cannot be refused, the device is not read from for a while, and TCP
//! slows it down. Time is passed in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use proto::DeviceId;
use tokio::time::Instant;

/// What a device that was quiet may send at once, in seconds of its allowance.
const BURST_S: f64 = 10.0;
/// The same of what is refused.
const REFUSALS_BURST_S: f64 = 1.0;
/// No pause is shorter, so that it is worth its timer.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Devices whose quotas are remembered while they are not connected. After a burst's time a quota is full again, and
/// nothing is lost by forgetting it.
const REMEMBERED_MAX: usize = 4_096;

/// What a device may send a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    pub(super) packets_per_s: u32,
    pub(super) bytes_per_s: u32,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is within the quota.
    Within,
    /// It is to be refused with a reason.
    Refused,
    /// It has to wait, and so has everything behind it.
    Until(Instant),
}

/// One device's quota.
#[derive(Clone, Debug)]
pub(super) struct Quota {
    granted: Pair,
    refused: Pair,
}

impl Quota {
    pub(super) fn new(allowance: Allowance, now: Instant) -> Self {
        Self { granted: Pair::new(allowance, BURST_S, now), refused: Pair::new(allowance, REFUSALS_BURST_S, now) }
    }

    /// A whole packet of `bytes` has come, which can be refused with a reason or not.
    pub(super) fn take(&mut self, bytes: usize, is_refusable: bool, now: Instant) -> Taken {
        if self.granted.take(bytes, now) {
            Taken::Within
        } else if is_refusable && self.refused.take(bytes, now) {
            Taken::Refused
        } else {
            Taken::Until(now + self.granted.wait(now).max(PAUSE_MIN))
        }
    }

    fn is_full(&self, now: Instant) -> bool {
        self.granted.is_full(now)
    }
}

/// Packets and bytes.
#[derive(Clone, Debug)]
struct Pair {
    packets: Bucket,
    bytes: Bucket,
}

impl Pair {
    fn new(allowance: Allowance, burst_s: f64, now: Instant) -> Self {
        let bucket = |per_s| Bucket::new(f64::from(per_s), burst_s, now);
        Self { packets: bucket(allowance.packets_per_s), bytes: bucket(allowance.bytes_per_s) }
    }

    /// Takes what a packet needs, if there is anything left of either: it may overdraw, since otherwise one that is larger
    /// than what a bucket holds would never pass.
    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let has_both = self.packets.level(now) > 0.0 && self.bytes.level(now) > 0.0;
        if has_both {
            self.packets.take(1.0, now);
            self.bytes.take(f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)), now);
        }
        has_both
    }

    fn wait(&self, now: Instant) -> Duration {
        self.packets.wait(now).max(self.bytes.wait(now))
    }

    fn is_full(&self, now: Instant) -> bool {
        self.packets.is_full(now) && self.bytes.is_full(now)
    }
}

/// One allowance.
#[derive(Clone, Debug)]
struct Bucket {
    per_s: f64,
    burst: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    fn new(per_s: f64, burst_s: f64, now: Instant) -> Self {
        let burst = per_s * burst_s;
        Self { per_s, burst, level: burst, at: now }
    }

    fn level(&self, now: Instant) -> f64 {
        (self.level + self.per_s * now.saturating_duration_since(self.at).as_secs_f64()).min(self.burst)
    }

    fn take(&mut self, amount: f64, now: Instant) {
        self.level = self.level(now) - amount;
        self.at = self.at.max(now);
    }

    /// How long until something is left again.
    fn wait(&self, now: Instant) -> Duration {
        // An allowance is at least one a second and a packet is bounded, so this is no long time.
        Duration::try_from_secs_f64(-self.level(now) / self.per_s).unwrap_or_default()
    }

    fn is_full(&self, now: Instant) -> bool {
        self.level(now) >= self.burst
    }
}

/// The quotas of devices that were connected a moment ago: who comes again does not begin anew.
#[derive(Debug)]
pub(super) struct Quotas {
    allowance: Allowance,
    left: Mutex<HashMap<DeviceId, Quota>>,
}

impl Quotas {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self { allowance, left: Mutex::default() }
    }

    /// The quota of `device`, which has connected.
    pub(super) fn of(&self, device: &DeviceId, now: Instant) -> Quota {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).remove(device);
        left.unwrap_or_else(|| Quota::new(self.allowance, now))
    }

    /// What `device` has left, whose connection has ended.
    pub(super) fn keep(&self, device: &DeviceId, quota: Quota, now: Instant) {
        if quota.is_full(now) {
            return;
        }
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() >= REMEMBERED_MAX {
            left.retain(|_, quota| !quota.is_full(now));
        }
        if left.len() < REMEMBERED_MAX {
            left.insert(device.clone(), quota);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance = Allowance { packets_per_s: 100, bytes_per_s: 10_000 };
    const SECOND: Duration = Duration::from_secs(1);

    /// How many of `tries` packets, one each `every`, were taken, refused, and had to wait.
    fn run(quota: &mut Quota, bytes: usize, is_refusable: bool, every: Duration, tries: u32) -> (u32, u32, u32) {
        let start = quota.granted.packets.at;
        let mut seen = (0, 0, 0);
        for place in 0..tries {
            match quota.take(bytes, is_refusable, start + every * place) {
                Taken::Within => seen.0 += 1,
                Taken::Refused => seen.1 += 1,
                Taken::Until(_) => seen.2 += 1,
            }
        }
        seen
    }

    #[test]
    fn who_stays_within_the_quota_never_notices_it() {
        let mut quota = Quota::new(ALLOWANCE, Instant::now());
        assert_eq!(run(&mut quota, 90, true, SECOND / 100, 100_000), (100_000, 0, 0));
    }

    #[test]
    fn a_burst_is_taken_and_then_what_the_allowance_says_in_packets_or_in_bytes() {
        for (bytes, most) in [(10, 1_000 + 100 * 100), (1_000, 100 + 10 * 100)] {
            let mut quota = Quota::new(ALLOWANCE, Instant::now());
            let (taken, refused, waited) = run(&mut quota, bytes, false, SECOND / 1_000, 100_000);
            assert!(taken <= most + 1 && taken + 10 >= most, "{taken} of {bytes} bytes where {most} are due");
            assert_eq!((refused, taken + waited), (0, 100_000));
        }
    }

    #[test]
    fn what_is_refused_is_bounded_too_and_takes_nothing_from_what_is_granted() {
        let mut quota = Quota::new(ALLOWANCE, Instant::now());
        let (taken, refused, waited) = run(&mut quota, 10, true, SECOND / 1_000, 100_000);
        assert!((10_990..=11_001).contains(&taken), "{taken}");
        assert!((8_900..=10_101).contains(&refused), "{refused}");
        assert!(waited > 70_000, "{waited}");
    }

    #[test]
    fn a_packet_larger_than_all_of_the_quota_passes_and_is_paid_off() {
        let now = Instant::now();
        let mut quota = Quota::new(ALLOWANCE, now);
        assert_eq!(quota.take(200_000, false, now), Taken::Within);
        let Taken::Until(then) = quota.take(1, false, now) else { panic!("it is overdrawn") };
        assert_eq!((then - now).as_secs(), 10, "100 000 bytes too many at 10 000 a second");
        assert_eq!(quota.take(1, false, then + SECOND / 100), Taken::Within);
    }

    #[test]
    fn who_comes_again_does_not_begin_anew_until_the_quota_is_full_anyway() {
        let now = Instant::now();
        let (quotas, device) = (Quotas::new(ALLOWANCE), "meter-7".parse().unwrap());
        let mut quota = quotas.of(&device, now);
        while quota.take(1, false, now) == Taken::Within {}
        quotas.keep(&device, quota, now);
        let mut again = quotas.of(&device, now);
        assert!(matches!(again.take(1, false, now), Taken::Until(_)));
        quotas.keep(&device, again, now + 11 * SECOND);
        assert!(quotas.left.lock().unwrap().is_empty(), "a full one is not remembered");
        assert_eq!(quotas.of(&device, now + 11 * SECOND).take(1, false, now + 11 * SECOND), Taken::Within);
    }

    #[test]
    fn no_more_quotas_are_remembered_than_stated() {
        let now = Instant::now();
        let quotas = Quotas::new(ALLOWANCE);
        for place in 0..REMEMBERED_MAX + 10 {
            let device: DeviceId = format!("d-{place}").parse().unwrap();
            let mut quota = quotas.of(&device, now);
            quota.take(1, false, now);
            quotas.keep(&device, quota, now);
        }
        assert_eq!(quotas.left.lock().unwrap().len(), REMEMBERED_MAX);
    }
}
