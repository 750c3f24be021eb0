//! Denials are made by devices, as often as they like: the first of a kind is an entry at once, its repeats are counted,
//! and become one entry when their time is over. A device that goes on is heard of less and less often.

use std::collections::HashMap;
use std::time::{Duration, Instant as Moment};

use proto::{DeviceId, Instant};

use super::entry::{Detail, Entry};

/// For how long repeats are gathered at first. Each time that something came meanwhile, it is twice as long …
const SPAN: Duration = Duration::from_secs(60);
/// … up to this: so one device makes some 300 entries a day at most, or 200 KiB.
const SPAN_MAX: Duration = Duration::from_secs(3_600);
/// Kinds that a device has to itself within a span, such as topics; others are counted together.
const KINDS_MAX: usize = 4;
/// Devices whose denials are gathered at once.
const PEERS_MAX: usize = 4_096;

/// What is gathered now.
#[derive(Debug, Default)]
pub(super) struct Denials(HashMap<Option<DeviceId>, Peer>);

/// One device; or all those who did not say who they are.
#[derive(Debug)]
struct Peer {
    since: Moment,
    span: Duration,
    kinds: Vec<Kind>,
}

/// Denials that differ in nothing but their time.
#[derive(Debug)]
struct Kind {
    like: Entry,
    /// Whether one entry has told of it within this span.
    is_new: bool,
    /// Those that no entry has told of.
    untold: u64,
    first: Instant,
    last: Instant,
}

/// What becomes of a denial.
#[derive(Debug, PartialEq)]
pub(super) enum Denial {
    /// It is an entry.
    First(Entry),
    /// It is counted.
    Repeat,
    /// Too many devices are at it: it is lost.
    Lost,
}

impl Denials {
    /// Takes a denial in. Where there is no room for an entry now, a first one is counted like a repeat.
    pub(super) fn take(&mut self, entry: Entry, has_room: bool, now: Moment) -> Denial {
        if self.0.len() >= PEERS_MAX && !self.0.contains_key(&entry.subject) {
            return Denial::Lost;
        }
        let new = || Peer { since: now, span: SPAN, kinds: Vec::new() };
        let kinds = &mut self.0.entry(entry.subject.clone()).or_insert_with(new).kinds;
        let is_like = |kind: &Kind, entry: &Entry| kind.like.event == entry.event && kind.like.detail == entry.detail;
        if let Some(known) = kinds.iter_mut().find(|kind| is_like(kind, &entry)) {
            known.count(entry.time);
            return Denial::Repeat;
        }
        if kinds.len() < KINDS_MAX {
            let mut kind = Kind::new(entry.clone());
            if has_room {
                kinds.push(kind);
                return Denial::First(entry);
            }
            kind.count(entry.time);
            kinds.push(kind);
            return Denial::Repeat;
        }
        let time = entry.time;
        let other = Entry { detail: Detail::none().text("what", "others"), ..entry };
        match kinds.iter_mut().find(|kind| is_like(kind, &other)) {
            Some(others) => others.count(time),
            None => {
                let mut others = Kind::new(other);
                others.count(time);
                kinds.push(others);
            }
        }
        Denial::Repeat
    }

    /// Entries about repeats whose time is over, or all; at most `entries_max`, the others come later.
    pub(super) fn over(&mut self, entries_max: usize, is_end: bool, now: Moment) -> Vec<Entry> {
        let mut entries = Vec::new();
        self.0.retain(|_, peer| {
            let is_over = is_end || now.saturating_duration_since(peer.since) >= peer.span;
            if !is_over || entries.len() + peer.kinds.len() > entries_max {
                return true;
            }
            let was_quiet = peer.kinds.iter().all(|kind| kind.untold == 0 && !kind.is_new);
            peer.kinds.retain_mut(|kind| {
                let told = kind.tell();
                // What goes on needs no other first entry.
                let goes_on = told.is_some();
                entries.extend(told);
                goes_on
            });
            peer.since = now;
            peer.span = (peer.span * 2).min(SPAN_MAX);
            !was_quiet && !is_end
        });
        entries
    }
}

impl Kind {
    fn new(like: Entry) -> Self {
        let time = like.time;
        Self { like, is_new: true, untold: 0, first: time, last: time }
    }

    fn count(&mut self, time: Instant) {
        if self.untold == 0 {
            self.first = time;
        }
        self.untold = self.untold.saturating_add(1);
        self.last = time;
    }

    /// The entry about those that none has told of, if there are any.
    fn tell(&mut self) -> Option<Entry> {
        self.is_new = false;
        if self.untold == 0 {
            return None;
        }
        let Self { like, untold, first, last, .. } = self;
        let detail = like.detail.clone().number("count", *untold).number("from_us", first.0).number("to_us", last.0);
        *untold = 0;
        Some(Entry { time: *last, detail, ..like.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Actor, Event};
    use super::*;

    fn denied(device: u64, topic: &str, time: i64) -> Entry {
        let device: DeviceId = format!("meter-{device}").parse().unwrap();
        let detail = Detail::none().text("topic", topic);
        let (actor, subject) = (Actor::Device(device.clone()), Some(device));
        Entry { time: Instant(time), actor, event: Event::DeniedPublish, subject, detail }
    }

    /// What a device leaves in the trail that is denied every second, for so many hours, on one of so many topics.
    fn entries_of(hours: u64, topics: u64) -> Vec<Entry> {
        let (start, mut denials, mut entries) = (Moment::now(), Denials::default(), Vec::new());
        for second in 0..hours * 3_600 {
            let now = start + Duration::from_secs(second);
            let time = i64::try_from(second).unwrap();
            if let Denial::First(entry) = denials.take(denied(1, &(second % topics).to_string(), time), true, now) {
                entries.push(entry);
            }
            entries.extend(denials.over(1_000, false, now));
        }
        entries.extend(denials.over(1_000, true, start));
        entries
    }

    /// How many denials entries tell of.
    fn told(entries: &[Entry]) -> u64 {
        let count = |entry: &Entry| {
            let detail: serde_json::Value = serde_json::from_str(&entry.detail.to_json()).unwrap();
            detail.get("count").map_or(1, |count| count.as_u64().unwrap())
        };
        entries.iter().map(count).sum()
    }

    #[test]
    fn the_first_denial_is_an_entry_at_once_and_the_others_of_a_minute_are_one() {
        let (start, mut denials) = (Moment::now(), Denials::default());
        let first = denied(1, "a", 5);
        assert_eq!(denials.take(first.clone(), true, start), Denial::First(first));
        for time in 6..20 {
            assert_eq!(denials.take(denied(1, "a", time), true, start), Denial::Repeat);
        }
        assert_eq!(denials.over(9, false, start + Duration::from_secs(59)), []);
        let repeats = denials.over(9, false, start + Duration::from_secs(60));
        assert_eq!(repeats.len(), 1);
        assert_eq!(repeats[0].detail.to_json(), r#"{"topic":"a","count":14,"from_us":6,"to_us":19}"#);
        assert_eq!(denials.over(9, true, start), []);
    }

    #[test]
    fn every_denial_is_counted_once_and_no_device_can_fill_a_disk() {
        for topics in [1, 3, 5, 86_400] {
            let entries = entries_of(24, topics);
            assert_eq!(told(&entries), 86_400, "{topics} topics");
            assert!(entries.len() <= 300, "{} entries with {topics} topics", entries.len());
        }
    }

    #[test]
    fn a_device_that_was_quiet_is_heard_of_at_once_again() {
        let (start, mut denials) = (Moment::now(), Denials::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(matches!(denials.take(denied(1, "a", 0), true, at(0)), Denial::First(_)));
        assert_eq!(denials.over(9, false, at(60)), []);
        assert_eq!(denials.over(9, false, at(180)), []);
        assert!(denials.0.is_empty());
        assert!(matches!(denials.take(denied(1, "a", 0), true, at(181)), Denial::First(_)));
    }

    #[test]
    fn without_room_a_first_denial_is_counted_and_beyond_the_bound_of_devices_it_is_lost() {
        let (now, mut denials) = (Moment::now(), Denials::default());
        for device in 0..4_096 {
            assert_eq!(denials.take(denied(device, "a", 0), false, now), Denial::Repeat);
        }
        assert_eq!(denials.take(denied(4_096, "a", 0), false, now), Denial::Lost);
        assert_eq!(denials.take(denied(4_095, "a", 0), false, now), Denial::Repeat);
        let some = denials.over(1_000, true, now);
        assert_eq!(some.len(), 1_000);
        assert_eq!(told(&some) + told(&denials.over(4_096, true, now)), 4_097);
    }
}
