//! Two live connections of one device: its certificate is in use twice, or it moved from one link to another.
//!
//! The rule: the newer one wins, once a minute. For that long nobody else gets the place while it stands, so that two copies
//! of a device do not cut each other off without end; who tries all the same is told that the server is busy, and the first
//! such try is an alarm.
//!
//! A connection lives if it was heard a moment ago. One that was quiet may live too: then somebody hears that it lost its
//! place, and closes its side. A device that comes again because its link is dead, or that moved, does not come to that:
//! nobody is left at the other end of the old one, or was seen to leave before. But a balancer in between answers for its
//! device, so it takes three such answers within ten minutes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use proto::DeviceId;

/// For how long a place is kept that was taken from a live connection.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Quiet connections of one device that answer when they lose their place, within [`QUIET_WITHIN`], until that is no chance.
const QUIET_MAX: u32 = 3;
const QUIET_WITHIN: Duration = Duration::from_secs(600);
/// Devices of which such takeovers are remembered at once.
const DEVICES_MAX: usize = 4_096;

/// Takeovers of live connections, within the last [`KEPT_FOR`], and of quiet ones that answered. Time is passed in.
#[derive(Debug, Default)]
pub(super) struct Contests {
    live: HashMap<DeviceId, Contest>,
    /// Since when, and how many.
    quiet: HashMap<DeviceId, (Instant, u32)>,
}

/// Devices that are connected at other gateways, with the certificates of these serial numbers, as far as they took a place
/// from a connection here.
#[derive(Debug, Default)]
pub(super) struct Elsewhere(HashMap<DeviceId, (String, Instant)>);

impl Elsewhere {
    /// `device` took its place from a connection here.
    pub(super) fn came(&mut self, device: &DeviceId, serial: String, now: Instant) {
        self.0.retain(|_, (_, since)| now.duration_since(*since) < KEPT_FOR);
        if self.0.len() < DEVICES_MAX {
            self.0.insert(device.clone(), (serial, now));
        }
    }

    /// It has left there.
    pub(super) fn left(&mut self, device: &DeviceId) {
        self.0.remove(device);
    }

    /// Whether it is there with the certificate of `serial`.
    pub(super) fn has(&self, device: &DeviceId, serial: Option<&String>) -> bool {
        self.0.get(device).zip(serial).is_some_and(|((there, _), serial)| there == serial)
    }
}

#[derive(Debug)]
struct Contest {
    since: Instant,
    is_told: bool,
}

/// Somebody wants a place that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It is given.
    Given,
    /// It is kept; whether that is to be an alarm.
    Kept { is_first: bool },
}

impl Contests {
    /// A live connection of `device` has lost its place to a newer one.
    pub(super) fn lost(&mut self, device: &DeviceId, now: Instant) {
        self.live.retain(|_, contest| now.duration_since(contest.since) < KEPT_FOR);
        if self.live.len() < DEVICES_MAX {
            self.live.entry(device.clone()).or_insert(Contest { since: now, is_told: false });
        }
    }

    /// A quiet connection of `device` has lost its place to a newer one, and somebody was there to hear it.
    pub(super) fn answered(&mut self, device: &DeviceId, now: Instant) {
        self.quiet.retain(|_, (since, _)| now.duration_since(*since) < QUIET_WITHIN);
        if self.quiet.len() >= DEVICES_MAX && !self.quiet.contains_key(device) {
            return;
        }
        let (_, count) = self.quiet.entry(device.clone()).or_insert((now, 0));
        *count += 1;
        if *count >= QUIET_MAX {
            self.quiet.remove(device);
            self.lost(device, now);
        }
    }

    /// A newer connection of `device` wants the place of one that stands.
    pub(super) fn claim(&mut self, device: &DeviceId, now: Instant) -> Claim {
        match self.live.get_mut(device).filter(|contest| now.duration_since(contest.since) < KEPT_FOR) {
            None => Claim::Given,
            Some(contest) => Claim::Kept { is_first: !std::mem::replace(&mut contest.is_told, true) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_was_taken_from_the_living_is_kept_for_a_minute_and_told_of_once() {
        let (mut contests, now) = (Contests::default(), Instant::now());
        let (device, other) = ("meter-7".parse().unwrap(), "meter-8".parse().unwrap());
        assert_eq!(contests.claim(&device, now), Claim::Given);
        contests.lost(&device, now);
        assert_eq!(contests.claim(&device, now + KEPT_FOR / 2), Claim::Kept { is_first: true });
        assert_eq!(contests.claim(&device, now + KEPT_FOR / 2), Claim::Kept { is_first: false });
        assert_eq!(contests.claim(&other, now), Claim::Given);
        assert_eq!(contests.claim(&device, now + KEPT_FOR), Claim::Given);
        contests.lost(&device, now + KEPT_FOR);
        assert_eq!(contests.claim(&device, now + KEPT_FOR), Claim::Kept { is_first: true }, "another minute");
    }

    #[test]
    fn three_quiet_ones_that_answer_within_ten_minutes_are_no_chance() {
        let (mut contests, now) = (Contests::default(), Instant::now());
        let (device, other) = ("meter-7".parse().unwrap(), "meter-8".parse().unwrap());
        contests.answered(&other, now);
        for place in 0..3 {
            assert_eq!(contests.claim(&device, now), Claim::Given, "after {place}");
            contests.answered(&device, now);
        }
        assert_eq!(contests.claim(&device, now), Claim::Kept { is_first: true });
        assert_eq!(contests.claim(&other, now), Claim::Given);
        // Rarer ones are chance, however many there are.
        for minutes in [60, 66, 72, 78] {
            let later = now + Duration::from_secs(minutes * 60);
            contests.answered(&device, later);
            assert_eq!(contests.claim(&device, later), Claim::Given);
        }
    }

    #[test]
    fn no_more_devices_are_remembered_than_stated() {
        let (mut contests, now) = (Contests::default(), Instant::now());
        (0..DEVICES_MAX + 10).for_each(|place| contests.lost(&format!("d-{place}").parse().unwrap(), now));
        assert_eq!(contests.live.len(), DEVICES_MAX);
        contests.lost(&"late".parse().unwrap(), now + KEPT_FOR);
        assert_eq!(contests.live.len(), 1);
        (0..DEVICES_MAX + 10).for_each(|place| contests.answered(&format!("d-{place}").parse().unwrap(), now));
        assert_eq!(contests.quiet.len(), DEVICES_MAX);
    }
}
