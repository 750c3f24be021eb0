//! Frames that may be why connections die, or that the gateway cannot read: each goes alone, then behind all others, then
//! in halves, and what is left in the end is one batch that nobody can take.
//!
//! Links die for many reasons, and most are no fault of what was under way. So a frame is only blamed when it was alone
//! under way as the connection died, and when others have passed since it was blamed last. On a link that carries
//! nothing, nothing is ever blamed twice.

use proto::{Range, Ranges};

/// Frames under suspicion. More are not watched: they are sent as any other.
const SUSPECTS_MAX: usize = 64;
/// Blames, or misses, after which a frame goes in halves.
const SPLIT_AFTER: u32 = 3;
/// Blames after which a lone batch is set aside. Many, for what is set aside reaches nobody.
const ASIDE_AFTER: u32 = 10;
/// Misses after which a lone batch rests.
const REST_AFTER: u32 = 3;
/// Receipts that settle others before a blamed frame has another turn; at once where no other waits.
const OTHERS_FIRST: u32 = 8;

/// A frame under suspicion.
#[derive(Clone, Debug)]
struct Suspect {
    rows: Range,
    /// How often it was alone under way when the connection died.
    blames: u32,
    /// How often an answer lacked it that should have had it.
    misses: u32,
    /// Receipts that settled others since it was blamed last.
    passed: u32,
    /// It waits behind all others.
    waits: bool,
}

/// What is to be done about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is sent again.
    Again,
    /// It waits behind all others, see [`Suspects::release`].
    Behind,
    /// It rests until the next connection or the next regular hello.
    Rest,
    /// Nobody can take this batch.
    Aside,
}

/// All frames under suspicion.
#[derive(Clone, Debug, Default)]
pub(super) struct Suspects(Vec<Suspect>);

impl Suspects {
    /// A connection died with `flights` under way. Answers what to do with the one that is to blame, if one is.
    pub(super) fn died(&mut self, flights: &[Range]) -> Option<(Range, Verdict)> {
        if let [alone] = flights
            && let Some(mut suspect) = self.take(*alone)
        {
            if suspect.blames == 0 || suspect.passed > 0 {
                suspect.blames += 1;
            }
            (suspect.passed, suspect.waits) = (0, true);
            let verdict = self.judge(suspect);
            return Some((*alone, verdict));
        }
        flights.iter().for_each(|rows| self.watch(*rows));
        None
    }

    /// An answer lacks `rows`, which should have been in it.
    pub(super) fn missed(&mut self, rows: Range) -> Verdict {
        let fresh = Suspect { rows, blames: 0, misses: 0, passed: 0, waits: false };
        let mut suspect = self.take(rows).unwrap_or(fresh);
        suspect.misses += 1;
        if suspect.misses >= REST_AFTER && rows.count() == 1 {
            return Verdict::Rest;
        }
        self.judge(suspect)
    }

    fn judge(&mut self, suspect: Suspect) -> Verdict {
        let Range { first, last } = suspect.rows;
        if suspect.blames >= ASIDE_AFTER && first == last {
            return Verdict::Aside;
        }
        let waits = suspect.waits;
        if (suspect.blames >= SPLIT_AFTER || suspect.misses >= SPLIT_AFTER) && first < last {
            let middle = first + (last - first) / 2;
            let half = |rows| Suspect { rows, blames: suspect.blames.min(1), misses: suspect.misses.min(1), ..suspect };
            self.put(half(Range { first, last: middle }));
            self.put(half(Range { first: middle + 1, last }));
        } else {
            self.put(suspect);
        }
        if waits { Verdict::Behind } else { Verdict::Again }
    }

    fn put(&mut self, suspect: Suspect) {
        if self.0.len() < SUSPECTS_MAX {
            self.0.push(suspect);
        }
    }

    /// Watches what of `rows` is not watched yet.
    fn watch(&mut self, rows: Range) {
        let watched: Ranges = self.0.iter().map(|suspect| suspect.rows).collect();
        for rows in watched.missing_in(rows).iter() {
            self.put(Suspect { rows, blames: 0, misses: 0, passed: 0, waits: false });
        }
    }

    /// Takes out what is known of `rows`, if that is one suspect or a part of it; the other parts stay.
    fn take(&mut self, rows: Range) -> Option<Suspect> {
        let place = self.0.iter().position(|suspect| suspect.rows.intersect(rows) == Some(rows))?;
        let whole = self.0.swap_remove(place);
        let parts: Ranges = std::iter::once(whole.rows).collect();
        let mut others = parts;
        others.remove(rows);
        others.iter().for_each(|rest| self.put(Suspect { rows: rest, ..whole.clone() }));
        Some(Suspect { rows, ..whole })
    }

    /// `rows` are settled, or gone: nothing is wrong with them. The others have let them pass.
    pub(super) fn clear(&mut self, rows: &Ranges) {
        let parts: Vec<Suspect> = std::mem::take(&mut self.0);
        for suspect in parts {
            let left = rows.missing_in(suspect.rows);
            let passed = suspect.passed.saturating_add(1);
            left.iter().for_each(|rows| self.put(Suspect { rows, passed, ..suspect.clone() }));
        }
    }

    /// The suspect that `row` is of.
    pub(super) fn at(&self, row: u64) -> Option<Range> {
        self.0.iter().map(|suspect| suspect.rows).find(|rows| rows.contains(row))
    }

    /// Whether any of `rows` is under suspicion.
    pub(super) fn touches(&self, rows: Range) -> bool {
        self.0.iter().any(|suspect| suspect.rows.intersect(rows).is_some())
    }

    /// Cuts `within` so that it has one suspect at its edge and nothing else, or none at all.
    pub(super) fn cut(&self, within: Range, newest_first: bool) -> Range {
        let edge = if newest_first { within.last } else { within.first };
        if let Some(suspect) = self.at(edge) {
            return suspect.intersect(within).unwrap_or(within);
        }
        let others = self.0.iter().filter_map(|suspect| suspect.rows.intersect(within));
        if newest_first {
            let nearest = others.map(|rows| rows.last).max();
            Range { first: nearest.map_or(within.first, |last| last + 1), last: within.last }
        } else {
            let nearest = others.map(|rows| rows.first).min();
            Range { first: within.first, last: nearest.map_or(within.last, |first| first - 1) }
        }
    }

    /// Rows that wait behind all others.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Range> + '_ {
        self.0.iter().filter(|suspect| suspect.waits).map(|suspect| suspect.rows)
    }

    /// The next suspect that may have another turn.
    pub(super) fn release(&mut self, nothing_else_waits: bool) -> Option<Range> {
        let may = |suspect: &&mut Suspect| suspect.waits && (nothing_else_waits || suspect.passed >= OTHERS_FIRST);
        let suspect = self.0.iter_mut().find(may)?;
        suspect.waits = false;
        Some(suspect.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(first: u64, last: u64) -> Range {
        Range::new(first, last).unwrap()
    }

    #[test]
    fn a_link_that_carries_nothing_blames_no_frame_twice() {
        let mut suspects = Suspects::default();
        assert_eq!(suspects.died(&[rows(1, 8), rows(9, 16)]), None, "two were under way: no one knows which");
        for _ in 0..100 {
            let verdict = suspects.died(&[rows(1, 8)]);
            assert_eq!(verdict, Some((rows(1, 8), Verdict::Behind)));
            assert_eq!(suspects.release(true), Some(rows(1, 8)), "whole as ever");
        }
    }

    #[test]
    fn a_batch_that_kills_while_others_pass_is_found_among_its_neighbours_and_set_aside() {
        let poison = 13;
        let mut suspects = Suspects::default();
        suspects.died(&[rows(1, 16)]);
        let mut flight = rows(1, 16);
        let mut deaths = 0;
        loop {
            deaths += 1;
            assert!(deaths < 100, "{suspects:?}");
            match suspects.died(&[flight]) {
                Some((found, Verdict::Aside)) => break assert_eq!(found, Range::one(poison)),
                other => assert_eq!(other, Some((flight, Verdict::Behind))),
            }
            suspects.clear(&Ranges::from_iter([Range::one(100)]));
            loop {
                let next = suspects.release(true).unwrap();
                if next.contains(poison) {
                    break flight = next;
                }
                suspects.clear(&Ranges::from_iter([next]));
            }
        }
    }

    #[test]
    fn what_answers_lack_goes_in_halves_and_rests_in_the_end() {
        let mut suspects = Suspects::default();
        let mut flight = rows(1, 4);
        let mut sent = 1;
        while suspects.missed(flight) != Verdict::Rest {
            sent += 1;
            flight = suspects.at(1).unwrap();
        }
        assert_eq!((flight, sent), (Range::one(1), 7));
    }

    #[test]
    fn a_suspect_shares_its_frame_with_nobody() {
        let mut suspects = Suspects::default();
        suspects.died(&[rows(5, 6), rows(11, 12)]);
        assert_eq!(suspects.cut(rows(1, 20), false), rows(1, 4));
        assert_eq!(suspects.cut(rows(5, 20), false), rows(5, 6));
        assert_eq!(suspects.cut(rows(7, 20), false), rows(7, 10));
        assert_eq!(suspects.cut(rows(1, 20), true), rows(13, 20));
        assert_eq!(suspects.cut(rows(1, 11), true), rows(11, 11));
        assert_eq!(suspects.cut(rows(1, 4), true), rows(1, 4));
    }
}
