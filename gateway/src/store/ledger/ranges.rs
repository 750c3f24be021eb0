//! Sets of numbers as rows of first and last.

use proto::{Number, Range, Ranges};

use super::{TENANT, from_sql, to_sql};
use crate::store::sql::{Cell, Db, Many, SqlError, Statement, Values};

/// What a transaction does to table `settled`, gathered over all epochs.
#[derive(Default)]
pub(super) struct Rewritten {
    gone: Vec<Vec<Cell<'static>>>,
    new: Vec<Vec<Cell<'static>>>,
}

const FORGET: Many = Many {
    one: "delete from settled where epoch = ?1 and state = ?2 and first = ?3",
    all: "delete from settled s using unnest($1::bigint[], $2::smallint[], $3::bigint[]) as gone (epoch, state, first)
          where s.epoch = gone.epoch and s.state = gone.state and s.first = gone.first",
};
// Most often a range has grown at its end: then its row is the one that was there, and no index has to follow.
const ENTER: Many = Many {
    one: "insert into settled (tenant, epoch, state, first, last) values (?1, ?2, ?3, ?4, ?5)
          on conflict (epoch, state, first) do update set last = excluded.last where settled.last <> excluded.last",
    all: "insert into settled (tenant, epoch, state, first, last)
          select * from unnest($1::int[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[])
          on conflict (epoch, state, first) do update set last = excluded.last where settled.last <> excluded.last",
};

impl Rewritten {
    /// Has the ranges `now` written, all that touch what has moved, in place of those that began at `was`.
    pub(super) fn ranges(&mut self, epoch: i64, state: i64, now: &[Range], was: &[Number]) {
        let row = |values: &[i64]| values.iter().copied().map(Cell::Int).collect();
        let is_gone = |first: &&Number| now.binary_search_by_key(*first, |range| range.first).is_err();
        self.gone.extend(was.iter().filter(is_gone).map(|first| row(&[epoch, state, to_sql(*first)])));
        let enter = |range: &Range| row(&[TENANT, epoch, state, to_sql(range.first), to_sql(range.last)]);
        self.new.extend(now.iter().map(enter));
    }

    /// Does it.
    pub(super) fn write(&self, db: Db<'_>) -> Result<(), SqlError> {
        db.driver().execute_many(&FORGET, &self.gone)?;
        db.driver().execute_many(&ENTER, &self.new)
    }
}

/// `range` and the numbers right beside it: a range that ends or starts there is joined with it.
pub(super) fn reach_of(range: Range) -> Range {
    Range { first: range.first.saturating_sub(1), last: range.last.saturating_add(1) }
}

/// Those ranges of `set` that share a number with `around`, whole.
pub(super) fn touching(set: &Ranges, around: Range) -> &[Range] {
    let all = set.as_slice();
    let start = all.partition_point(|range| range.last < around.first);
    let end = all.partition_point(|range| range.first <= around.last);
    all.get(start..end).unwrap_or_default()
}

/// The ranges that a query of two columns gives.
pub(super) fn read_ranges(statement: &Statement<'_, '_>, values: impl Values) -> Result<Ranges, SqlError> {
    let mut ranges = Ranges::new();
    statement.each(values, |row| {
        ranges.extend(Range::new(from_sql(row.get(0)?), from_sql(row.get(1)?)));
        Ok(())
    })?;
    Ok(ranges)
}
