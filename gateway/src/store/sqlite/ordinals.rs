//! The rank of a reading among those of its series at one instant: 0, 1, 2 … in commit order, fixed in the commit.
//!
//! Most readings are newer than all before them, or fill a hole; both are seen without a query per reading.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::StoreError;

/// Series whose newest instant is remembered (about 40 bytes each); beyond it all are forgotten and read again.
const REMEMBERED_MAX: usize = 200_000;

/// The newest instant of each series.
#[derive(Default)]
pub(super) struct Tails {
    /// None for a series without readings.
    newest_us: HashMap<i64, Option<i64>>,
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

impl Tails {
    /// The ranks of readings that are about to be added at `times`, in this order.
    pub(super) fn ranks(&mut self, db: &Connection, series: i64, times: &[i64]) -> Result<Ranks, StoreError> {
        let (Some(&lowest), Some(&highest)) = (times.iter().min(), times.iter().max()) else { return Ok(Ranks::First) };
        let newest = self.newest(db, series)?;
        self.newest_us.insert(series, newest.max(Some(highest)));
        let ascending = times.windows(2).all(|pair| matches!(pair, [left, right] if left < right));
        let mut next = match newest {
            Some(newest) if newest >= lowest => next_ranks(db, series, times, (lowest, highest))?,
            _ => HashMap::new(),
        };
        if ascending && next.is_empty() {
            return Ok(Ranks::First);
        }
        let rank = |time: &i64| {
            let next = next.entry(*time).or_insert(0);
            *next += 1;
            *next - 1
        };
        Ok(Ranks::Each(times.iter().map(rank).collect()))
    }

    /// Forgets a series whose readings were moved.
    pub(super) fn forget(&mut self, series: i64) {
        self.newest_us.remove(&series);
    }

    pub(super) fn forget_much(&mut self) {
        if self.newest_us.len() > REMEMBERED_MAX {
            self.newest_us.clear();
        }
    }

    fn newest(&mut self, db: &Connection, series: i64) -> Result<Option<i64>, StoreError> {
        if let Some(&newest) = self.newest_us.get(&series) {
            return Ok(newest);
        }
        let sql = "select max(time_us) from reading where series = ?";
        Ok(db.prepare_cached(sql)?.query_row([series], |row| row.get(0))?)
    }
}

/// For those of `times` at which there already are readings, the rank that the next one gets.
fn next_ranks(
    db: &Connection,
    series: i64,
    times: &[i64],
    (lowest, highest): (i64, i64),
) -> Result<HashMap<i64, i64>, StoreError> {
    // One walk over what lies between. If that is much more than what is added, a probe for each instant is cheaper.
    let walk_max = 16 + 4 * times.len();
    let sql = "select time_us, ordinal from reading where series = ?1 and time_us between ?2 and ?3 limit ?4";
    let mut statement = db.prepare_cached(sql)?;
    let limit = i64::try_from(walk_max).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![series, lowest, highest, limit])?;
    let (mut next, mut walked) = (HashMap::new(), 0);
    while let Some(row) = rows.next()? {
        walked += 1;
        let (time, ordinal): (i64, i64) = (row.get(0)?, row.get(1)?);
        let next = next.entry(time).or_insert(0);
        *next = (*next).max(ordinal + 1);
    }
    if walked < walk_max {
        return Ok(next);
    }
    next.clear();
    for &time in times {
        if let std::collections::hash_map::Entry::Vacant(entry) = next.entry(time)
            && let Some(rank) = next_rank(db, series, time)?
        {
            entry.insert(rank);
        }
    }
    Ok(next)
}

/// The rank that the next reading at `time` gets, if there already is one.
pub(super) fn next_rank(db: &Connection, series: i64, time: i64) -> Result<Option<i64>, StoreError> {
    let sql = "select max(ordinal) + 1 from reading where series = ?1 and time_us = ?2";
    Ok(db.prepare_cached(sql)?.query_row(params![series, time], |row| row.get(0))?)
}
