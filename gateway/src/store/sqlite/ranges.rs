//! Sets of numbers as rows of first and last.

use proto::{Range, Ranges};
use rusqlite::{Connection, params};

use super::{StoreError, TENANT, from_sql, to_sql};

/// Writes those ranges of `set` that overlap or touch `moved`, in place of all that were there.
pub(super) fn write_ranges(
    db: &Connection,
    epoch: i64,
    state: i64,
    set: &Ranges,
    moved: Range,
) -> Result<(), StoreError> {
    // A range in the database that was joined with one that moved ends or starts right beside it at the least.
    let reach = Range { first: moved.first.saturating_sub(1), last: moved.last.saturating_add(1) };
    let now = touching(set, reach);
    let first = now.first().map_or(reach.first, |range| range.first.min(reach.first));
    let last = now.last().map_or(reach.last, |range| range.last.max(reach.last));
    // None that starts before `first` reaches in: it would have the number `reach.first`, which has not moved, and so is
    // in a range of `now` that starts no later. To look for where they end would be a walk through all of the epoch.
    let sql = "delete from settled where epoch = ?1 and state = ?2 and first between ?3 and ?4";
    db.prepare_cached(sql)?.execute(params![epoch, state, to_sql(first), to_sql(last)])?;
    let sql = "insert into settled (tenant, epoch, state, first, last) values (?1, ?2, ?3, ?4, ?5)";
    let mut statement = db.prepare_cached(sql)?;
    for range in now {
        statement.execute(params![TENANT, epoch, state, to_sql(range.first), to_sql(range.last)])?;
    }
    Ok(())
}

/// Those ranges of `set` that share a number with `around`, whole.
pub(super) fn touching(set: &Ranges, around: Range) -> &[Range] {
    let all = set.as_slice();
    let start = all.partition_point(|range| range.last < around.first);
    let end = all.partition_point(|range| range.first <= around.last);
    all.get(start..end).unwrap_or_default()
}

/// The ranges that a query of two columns gives.
pub(super) fn read_ranges(
    statement: &mut rusqlite::Statement<'_>,
    values: &[&dyn rusqlite::ToSql],
) -> Result<Ranges, StoreError> {
    let rows = statement.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut ranges = Ranges::new();
    for row in rows {
        let (first, last) = row?;
        ranges.extend(Range::new(from_sql(first), from_sql(last)));
    }
    Ok(ranges)
}
