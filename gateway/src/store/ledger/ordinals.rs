//! The rank of a reading among those of its series at one instant: 0, 1, 2 … in commit order, fixed in the commit.
//!
//! Most readings are newer than all before them, or fill a hole from one of its ends. So what is remembered of a series
//! is where it is known to have no readings: what falls there needs no query.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::StoreError;
use crate::store::sql::{Db, params};

/// Empty spans remembered of one series: the future, a hole that is being filled, and a few that are left over.
const SPANS_MAX: usize = 6;

/// Spans of time in which a series is known to have no readings. Without their ends; disjoint.
#[derive(Default)]
pub(super) struct Empty {
    /// The likeliest last.
    spans: Vec<(i64, i64)>,
}

/// The ranks of some readings of one series, in their order.
pub(super) enum Ranks {
    /// All are the first of their instants.
    First,
    /// One each.
    Each(Vec<i64>),
}

impl Ranks {
    /// The rank of the reading at `place`.
    pub(super) fn of(&self, place: usize) -> i64 {
        match self {
            Self::First => 0,
            Self::Each(ranks) => ranks.get(place).copied().unwrap_or(0),
        }
    }
}

impl Empty {
    /// What is known of a series that is entered just now.
    pub(super) fn everywhere() -> Self {
        Self { spans: vec![(i64::MIN, i64::MAX)] }
    }

    /// The ranks of readings that are about to be added at `times`, in this order.
    pub(super) fn ranks(&mut self, db: Db<'_>, series: i64, times: &[i64]) -> Result<Ranks, StoreError> {
        let (Some(&lowest), Some(&highest)) = (times.iter().min(), times.iter().max()) else { return Ok(Ranks::First) };
        let around = self.spans.iter().rposition(|(after, before)| *after < lowest && highest < *before);
        let (next, (after, before)) = match around {
            Some(place) => (HashMap::new(), self.spans.remove(place)),
            None => {
                let (after, before) = neighbours(db, series, (lowest, highest))?;
                // Also those that end next to what is added: the table says the same of them, and twice remembered is
                // once not forgotten.
                self.spans.retain(|(left, right)| *right <= after || before <= *left);
                (next_ranks(db, series, times, (lowest, highest))?, (after, before))
            }
        };
        self.remember((after, lowest), (highest, before));
        let is_ascending = times.windows(2).all(|pair| matches!(pair, [left, right] if left < right));
        if is_ascending && next.is_empty() { Ok(Ranks::First) } else { Ok(Ranks::Each(count_up(next, times))) }
    }

    /// Remembers what is empty on both sides of what is being added. The narrower is likely left over for good.
    fn remember(&mut self, below: (i64, i64), above: (i64, i64)) {
        let width = |(after, before): (i64, i64)| before.saturating_sub(after);
        let (narrow, wide) = if width(below) < width(above) { (below, above) } else { (above, below) };
        if self.spans.len() >= SPANS_MAX {
            self.spans.remove(0);
        }
        if width(narrow) > 1 && self.spans.len() + 1 < SPANS_MAX {
            self.spans.insert(0, narrow);
        }
        self.spans.push(wide);
    }
}

/// Deals ranks to `times`, starting at 0 or at what `next` says.
fn count_up(mut next: HashMap<i64, i64>, times: &[i64]) -> Vec<i64> {
    let rank = |time: &i64| {
        let next = next.entry(*time).or_insert(0);
        *next += 1;
        *next - 1
    };
    times.iter().map(rank).collect()
}

/// The instants of the readings next to a span, or the ends of time.
fn neighbours(db: Db<'_>, series: i64, (lowest, highest): (i64, i64)) -> Result<(i64, i64), StoreError> {
    let end =
        |sql, bound| -> Result<Option<i64>, StoreError> { Ok(db.prepare(sql).one([series, bound], |row| row.get(0))?) };
    let after = end("select max(time_us) from reading where series = ?1 and time_us < ?2", lowest)?;
    let before = end("select min(time_us) from reading where series = ?1 and time_us > ?2", highest)?;
    Ok((after.unwrap_or(i64::MIN), before.unwrap_or(i64::MAX)))
}

/// For those of `times` at which there already are readings, the rank that the next one gets.
fn next_ranks(
    db: Db<'_>,
    series: i64,
    times: &[i64],
    (lowest, highest): (i64, i64),
) -> Result<HashMap<i64, i64>, StoreError> {
    // One walk over what lies between. If that is much more than what is added, a probe for each instant is cheaper.
    let walk_max = 16 + 4 * times.len();
    let sql = "select time_us, ordinal from reading where series = ?1 and time_us between ?2 and ?3 limit ?4";
    let limit = i64::try_from(walk_max).unwrap_or(i64::MAX);
    let (mut next, mut walked) = (HashMap::new(), 0);
    db.prepare(sql).each([series, lowest, highest, limit], |row| {
        walked += 1;
        let (time, ordinal): (i64, i64) = (row.get(0)?, row.get(1)?);
        let next = next.entry(time).or_insert(0);
        *next = (*next).max(ordinal + 1);
        Ok(())
    })?;
    if walked < walk_max {
        return Ok(next);
    }
    next.clear();
    for &time in times {
        if let Entry::Vacant(entry) = next.entry(time)
            && let Some(rank) = next_rank(db, series, time)?
        {
            entry.insert(rank);
        }
    }
    Ok(next)
}

/// The ranks of readings that are about to be added at `times`, in this order, whatever is remembered.
pub(super) fn ranks(db: Db<'_>, series: i64, times: &[i64]) -> Result<Vec<i64>, StoreError> {
    let (Some(&lowest), Some(&highest)) = (times.iter().min(), times.iter().max()) else { return Ok(Vec::new()) };
    Ok(count_up(next_ranks(db, series, times, (lowest, highest))?, times))
}

/// The rank that the next reading at `time` gets, if there already is one.
fn next_rank(db: Db<'_>, series: i64, time: i64) -> Result<Option<i64>, StoreError> {
    let sql = "select max(ordinal) + 1 from reading where series = ?1 and time_us = ?2";
    Ok(db.prepare(sql).one(params![series, time], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::Driver;
    use proptest::prelude::*;
    use rusqlite::Connection;

    /// A table as far as ranks need it.
    fn table() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("create table reading (series, time_us, ordinal)").unwrap();
        db
    }

    proptest! {
        #[test]
        fn ranks_count_up_at_each_instant_whatever_is_remembered(
            batches in prop::collection::vec(prop::collection::vec(0_i64..30, 1..6), 1..40),
            forget in prop::collection::vec(any::<bool>(), 40),
        ) {
            let db = table();
            let mut empty = Empty::everywhere();
            let mut count = HashMap::new();
            for (times, forget) in batches.iter().zip(forget) {
                let ranks = empty.ranks(Db::new(&Driver::of(&db)), 1, times).unwrap();
                for (place, time) in times.iter().enumerate() {
                    let expected = count.entry(*time).or_insert(0_i64);
                    prop_assert_eq!(ranks.of(place), *expected);
                    *expected += 1;
                    db.execute("insert into reading values (1, ?1, ?2)", [*time, ranks.of(place)]).unwrap();
                }
                prop_assert!(empty.spans.len() <= SPANS_MAX);
                if forget {
                    empty = Empty::default();
                }
            }
        }
    }

    #[test]
    fn a_hole_is_filled_from_either_end_without_a_query() {
        let db = table();
        let mut empty = Empty::everywhere();
        // Live readings at the end of time, old ones at its start; then the hole between is filled.
        empty.ranks(Db::new(&Driver::of(&db)), 1, &[1_000]).unwrap();
        empty.ranks(Db::new(&Driver::of(&db)), 1, &[0]).unwrap();
        db.execute_batch("drop table reading").unwrap();
        for step in 1..400 {
            for time in [step, 1_000 - step, 1_000 + step] {
                assert!(matches!(empty.ranks(Db::new(&Driver::of(&db)), 1, &[time]), Ok(Ranks::First)), "{time}");
            }
        }
    }
}
