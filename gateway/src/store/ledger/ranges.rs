//! Sets of numbers as rows of first and last.

use proto::{Range, Ranges};

use super::{TENANT, from_sql, to_sql};
use crate::store::sql::{Cell, Db, Many, SqlError, Statement, Values};

/// What a transaction does to table `settled`, gathered over all epochs.
#[derive(Default)]
pub(super) struct Rewritten {
    gone: Vec<Vec<Cell<'static>>>,
    new: Vec<Vec<Cell<'static>>>,
}

const FORGET: Many = Many {
    one: "delete from settled where epoch = ?1 and state = ?2 and first between ?3 and ?4",
    all: "delete from settled s using unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[])
            as gone (epoch, state, low, high)
          where s.epoch = gone.epoch and s.state = gone.state and s.first between gone.low and gone.high",
};
const ENTER: Many = Many {
    one: "insert into settled (tenant, epoch, state, first, last) values (?1, ?2, ?3, ?4, ?5)",
    all: "insert into settled (tenant, epoch, state, first, last)
          select * from unnest($1::int[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[])",
};

impl Rewritten {
    /// Has those ranges of `set` that overlap or touch `moved` written in place of all that were there.
    pub(super) fn ranges(&mut self, epoch: i64, state: i64, set: &Ranges, moved: Range) {
        // A range in the database that was joined with one that moved ends or starts right beside it at the least.
        let reach = Range { first: moved.first.saturating_sub(1), last: moved.last.saturating_add(1) };
        let now = touching(set, reach);
        let first = now.first().map_or(reach.first, |range| range.first.min(reach.first));
        let last = now.last().map_or(reach.last, |range| range.last.max(reach.last));
        // None that starts before `first` reaches in: it would have the number `reach.first`, which has not moved, and
        // so is in a range of `now` that starts no later. To look for where they end would be a walk through all of the
        // epoch.
        let row = |values: &[i64]| values.iter().copied().map(Cell::Int).collect();
        self.gone.push(row(&[epoch, state, to_sql(first), to_sql(last)]));
        let enter = |range: &Range| row(&[TENANT, epoch, state, to_sql(range.first), to_sql(range.last)]);
        self.new.extend(now.iter().map(enter));
    }

    /// Does it.
    pub(super) fn write(&self, db: Db<'_>) -> Result<(), SqlError> {
        db.driver().execute_many(&FORGET, &self.gone)?;
        db.driver().execute_many(&ENTER, &self.new)
    }
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
