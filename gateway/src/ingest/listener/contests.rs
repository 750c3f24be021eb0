//! Two live connections of one device: its certificate is in use twice, or it moved from one link to another.
//!
//! The rule: the newer one wins, once a minute. For that long nobody else gets the place while it stands, so that two copies
//! of a device do not cut each other off without end; who tries all the same is told that the server is busy, and the first
//! such try is an alarm.
//!
//! A connection lives if it was heard a moment ago, or, however quiet it was, if its client hears that it lost its place and
//! closes its side. A device that comes again because its link is dead, or that moved, does not come to that: nobody is left
//! at the other end of the old one to answer, or the end that was there has been seen to leave before.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use proto::DeviceId;

/// For how long a place is kept that was taken from a live connection.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Devices of which such takeovers are remembered at once.
const DEVICES_MAX: usize = 4_096;

/// Takeovers of live connections, within the last [`KEPT_FOR`]. Time is passed in.
#[derive(Debug, Default)]
pub(super) struct Contests(HashMap<DeviceId, Contest>);

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
        self.0.retain(|_, contest| now.duration_since(contest.since) < KEPT_FOR);
        if self.0.len() < DEVICES_MAX {
            self.0.entry(device.clone()).or_insert(Contest { since: now, is_told: false });
        }
    }

    /// A newer connection of `device` wants the place of one that stands.
    pub(super) fn claim(&mut self, device: &DeviceId, now: Instant) -> Claim {
        match self.0.get_mut(device).filter(|contest| now.duration_since(contest.since) < KEPT_FOR) {
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
    fn no_more_devices_are_remembered_than_stated() {
        let (mut contests, now) = (Contests::default(), Instant::now());
        (0..DEVICES_MAX + 10).for_each(|place| contests.lost(&format!("d-{place}").parse().unwrap(), now));
        assert_eq!(contests.0.len(), DEVICES_MAX);
        contests.lost(&"late".parse().unwrap(), now + KEPT_FOR);
        assert_eq!(contests.0.len(), 1);
    }
}
