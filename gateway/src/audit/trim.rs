//! How the trail's growth ends: the oldest entries go, and one at the end says in their stead how many there were, of which
//! time, and the hash of the last of them. So what is left is proven still: it begins behind that very hash.
//!
//! Before anything goes, that hash is written into the checkpoints too: whoever can write only the store cannot pretend
//! that it was this rule that removed something.

use proto::Instant;

use super::chain::{Hash, Head, Link};
use super::entry::{Actor, Detail, Entry, Event};

/// Entries that are removed at once: some milliseconds of work.
pub(crate) const ENTRIES_AT_ONCE: u32 = 10_000;
/// Entries that are worth an entry that says that they have gone.
const WORTH: usize = 1_000;
/// Fewer go when they are so much older than they need be.
const OVERDUE_US: i64 = 31 * DAY_US;
/// The store lets nothing younger go, whoever says so.
const YOUNGEST_US: i64 = 2 * DAY_US;
const DAY_US: i64 = 24 * 3_600 * 1_000_000;

/// Which entries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Days that an entry is kept.
    pub days: u32,
    /// Entries that are kept at most, but for those of the last two days.
    pub entries_max: u32,
}

impl Default for Keep {
    /// Three years, and some 600 MiB.
    fn default() -> Self {
        Self { days: 1_096, entries_max: 1_000_000 }
    }
}

/// The oldest entries, which are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The last of them: the first that stays comes behind its hash.
    pub last: Head,
    /// How many.
    pub entries: i64,
    /// The times of the first and the last, in microseconds since 1970.
    pub span_us: (i64, i64),
}

impl Cut {
    /// Whether anything is to go from a trail that begins with `first` and ends at `head`: where not, no more need be read.
    #[must_use]
    pub(crate) fn may_begin_with(first: &Link, head: Head, keep: Keep, now: Instant) -> bool {
        let kept = head.sequence.saturating_sub(first.sequence).saturating_add(1);
        let age = now.0.saturating_sub(first.time_us);
        age > i64::from(keep.days).saturating_mul(DAY_US) || kept > i64::from(keep.entries_max)
    }

    /// Which of the `oldest` entries of a trail that ends at `head` are to go now, if any.
    #[must_use]
    pub(crate) fn of(oldest: &[Link], head: Head, keep: Keep, now: Instant) -> Option<Self> {
        let first = oldest.first()?;
        let kept = head.sequence.saturating_sub(first.sequence).saturating_add(1);
        let surplus = kept.saturating_sub(i64::from(keep.entries_max));
        let age = |link: &Link| now.0.saturating_sub(link.time_us);
        let keep_us = i64::from(keep.days).saturating_mul(DAY_US);
        // Clocks step back: nothing goes that lies behind one that stays.
        let goes = |(place, link): &(i64, &Link)| {
            let is_old = age(link) > keep_us || (*place < surplus && age(link) > YOUNGEST_US);
            is_old && link.sequence < head.sequence
        };
        let going: Vec<_> = (0..).zip(oldest).take_while(goes).map(|(_, link)| link).collect();
        let last = going.last()?;
        let is_due = going.len() >= WORTH || surplus > 0 || age(first) > keep_us.saturating_add(OVERDUE_US);
        let entries = i64::try_from(going.len()).unwrap_or(i64::MAX);
        is_due.then_some(Self { last: last.head(), entries, span_us: (first.time_us, last.time_us) })
    }

    /// The entry that says that they have gone.
    #[must_use]
    pub(crate) fn entry(&self, now: Instant) -> Entry {
        let detail = Detail::none()
            .number("through", self.last.sequence)
            .text("hash", &self.last.hash.to_string())
            .number("entries", self.entries)
            .number("from_us", self.span_us.0)
            .number("to_us", self.span_us.1);
        Entry { time: now, actor: Actor::Gateway, event: Event::Trimmed, subject: None, detail }
    }

    /// The end of what went, as such an entry says it.
    #[must_use]
    pub(crate) fn told(link: &Link) -> Option<Head> {
        if link.event != Event::Trimmed.name() {
            return None;
        }
        let detail: serde_json::Value = serde_json::from_str(&link.detail).ok()?;
        let hash: Hash = detail["hash"].as_str()?.parse().ok()?;
        Some(Head { sequence: detail["through"].as_i64()?, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_790_000_000_000_000);

    /// Entries of which the last is so many days old, a day apart.
    fn trail(entries: i64, youngest: i64) -> Vec<Link> {
        let mut head = Head::default();
        let of = |place: i64| {
            let time = Instant(NOW.0 - (youngest + entries - place) * DAY_US);
            let (actor, event, detail) = (Actor::Gateway, Event::Issued, Detail::none());
            let link = Link::after(head, 1, &Entry { time, actor, event, subject: None, detail });
            head = link.head();
            link
        };
        (1..=entries).map(of).collect()
    }

    fn through(trail: &[Link], days: u32, entries_max: u32) -> Option<i64> {
        let head = trail.last().map_or_else(Head::default, Link::head);
        Cut::of(trail, head, Keep { days, entries_max }, NOW).map(|cut| cut.last.sequence)
    }

    #[test]
    fn what_is_older_than_it_need_be_goes_in_lots_that_are_worth_it() {
        assert_eq!(through(&[], 30, 10_000), None);
        assert_eq!(through(&trail(100, 0), 200, 10_000), None, "nothing is old");
        assert_eq!(through(&trail(100, 0), 80, 10_000), None, "twenty are, by less than a month");
        assert_eq!(through(&trail(100, 0), 60, 10_000), Some(39), "forty are, the first by more than a month");
        assert_eq!(through(&trail(3_000, 0), 1_990, 10_000), Some(1_009), "a thousand are");
        assert_eq!(through(&trail(100, 500), 60, 10_000), Some(99), "the last entry stays");
    }

    #[test]
    fn what_is_too_many_goes_but_nothing_of_the_last_two_days() {
        assert_eq!(through(&trail(100, 0), 200, 70), Some(30));
        assert_eq!(through(&trail(100, 0), 200, 1), Some(97));
    }

    #[test]
    fn behind_an_entry_that_stays_nothing_goes_whatever_its_clock_said() {
        let mut stepped = trail(100, 0);
        stepped[9].time_us = NOW.0;
        assert_eq!(through(&stepped, 50, 10_000), Some(9));
    }

    #[test]
    fn the_entry_about_a_cut_says_where_it_was() {
        let trail = trail(100, 0);
        let cut = Cut::of(&trail, trail[99].head(), Keep { days: 60, entries_max: 10_000 }, NOW).unwrap();
        let link = Link::after(trail[99].head(), 1, &cut.entry(NOW));
        assert_eq!((Cut::told(&link), cut.entries), (Some(trail[38].head()), 39));
        assert_eq!(Cut::told(&trail[0]), None);
    }
}
