//! Rows in and out: each statement once.

use proto::{BootId, Clock, Epoch, Lane, Quality, Range, Ranges};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{Append, Batch, EpochSpan};

/// SQLite's integers are signed; rows never get near the sign.
pub(super) fn row_key(row: u64) -> i64 {
    i64::try_from(row).unwrap_or(i64::MAX)
}

pub(super) fn begin_epoch(
    transaction: &Transaction<'_>,
    clock: &Clock,
    next_row: u64,
) -> Result<EpochSpan, rusqlite::Error> {
    let mut epoch = [0; 8];
    getrandom::fill(&mut epoch).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let span = EpochSpan { epoch: Epoch(epoch), base: next_row - 1, boot: clock.boot };
    let query = "insert into epoch (epoch, boot, base) values (?, ?, ?)";
    transaction.execute(query, params![epoch, clock.boot.0, row_key(span.base)])?;
    write_clock(transaction, clock)?;
    Ok(span)
}

pub(super) fn write_clock(connection: &Connection, clock: &Clock) -> Result<(), rusqlite::Error> {
    let quality = match clock.quality {
        Quality::Unset => 0,
        Quality::Held => 1,
        Quality::Synced => 2,
    };
    let query = "insert into boot (boot, offset_us, quality) values (?, ?, ?)
        on conflict (boot) do update set offset_us = excluded.offset_us, quality = excluded.quality";
    connection.prepare_cached(query)?.execute(params![clock.boot.0, clock.offset_us, quality])?;
    Ok(())
}

pub(super) fn insert_batch(transaction: &Transaction<'_>, row: u64, batch: &Batch) -> Result<(), rusqlite::Error> {
    let query = "insert into batch (row, lane, readings, hash, body, priority) values (?, ?, ?, ?, ?, ?)";
    let lane = match batch.lane {
        Lane::Live => 0,
        Lane::Backfill => 1,
    };
    transaction.prepare_cached(query)?.execute(params![
        row_key(row),
        lane,
        row_key(batch.readings),
        batch.sealed.hash.0,
        batch.sealed.body,
        batch.priority as i64,
    ])?;
    Ok(())
}

pub(super) fn insert_rest(
    transaction: &Transaction<'_>,
    append: &Append,
    rejects_max: u64,
) -> Result<(), rusqlite::Error> {
    for (source, position) in &append.cursors {
        let query = "insert into cursor (source, position) values (?, ?)
            on conflict (source) do update set position = excluded.position";
        transaction.prepare_cached(query)?.execute(params![&**source, position])?;
    }
    for (source, reject) in &append.rejects {
        let query = "insert into reject (source, place, reason, bytes) values (?, ?, ?, ?)";
        transaction.prepare_cached(query)?.execute(params![&**source, reject.place, reject.reason, reject.bytes])?;
    }
    if !append.rejects.is_empty() {
        tally(transaction, "rejects", append.rejects.len() as u64)?;
        let query = "delete from reject where id <= (select max(id) from reject) - ?";
        transaction.prepare_cached(query)?.execute([row_key(rejects_max)])?;
    }
    Ok(())
}

pub(super) fn tally(transaction: &Transaction<'_>, name: &str, more: u64) -> Result<(), rusqlite::Error> {
    let query = "insert into tally (name, count) values (?, ?)
        on conflict (name) do update set count = count + excluded.count";
    transaction.prepare_cached(query)?.execute(params![name, row_key(more)])?;
    Ok(())
}

/// Writes what `after` has and `before` has not, and the other way round.
pub(super) fn replace_settled(
    transaction: &Transaction<'_>,
    before: &Ranges,
    after: &Ranges,
) -> Result<(), rusqlite::Error> {
    let is_in = |ranges: &Ranges, range: &Range| ranges.as_slice().binary_search(range).is_ok();
    for range in before.iter().filter(|range| !is_in(after, range)) {
        transaction.prepare_cached("delete from settled where first = ?")?.execute([row_key(range.first)])?;
    }
    for range in after.iter().filter(|range| !is_in(before, range)) {
        let query = "insert into settled (first, last) values (?, ?)";
        transaction.prepare_cached(query)?.execute([row_key(range.first), row_key(range.last)])?;
    }
    Ok(())
}

/// Notes the newest row that was ever used: later rows are counted from it, whatever leaves.
pub(super) fn write_counter(transaction: &Transaction<'_>, last_row: u64) -> Result<(), rusqlite::Error> {
    let query = "insert into counter (name, value) values ('last row', ?)
        on conflict (name) do update set value = max(value, excluded.value)";
    transaction.prepare_cached(query)?.execute([row_key(last_row)])?;
    Ok(())
}

/// Rows of batches that are there.
pub(super) fn held(connection: &Connection) -> Result<Ranges, rusqlite::Error> {
    // Runs of consecutive rows: within a run, row minus rank is the same.
    let query = "select min(row), max(row) from
        (select row, row - row_number() over (order by row) as run from batch) group by run order by 1";
    ranges(connection, query)
}

pub(super) fn ranges(connection: &Connection, query: &str) -> Result<Ranges, rusqlite::Error> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query([])?;
    let mut ranges = Ranges::new();
    while let Some(row) = rows.next()? {
        let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
        ranges.insert(Range { first: first.cast_unsigned(), last: last.cast_unsigned() });
    }
    Ok(ranges)
}

pub(super) fn epochs(connection: &Connection) -> Result<Vec<EpochSpan>, rusqlite::Error> {
    let mut statement = connection.prepare_cached("select epoch, base, boot from epoch order by id")?;
    let spans = statement.query_map([], span)?;
    spans.collect()
}

/// The epoch that `row` is of, and all rows that its numbers can have.
pub(super) fn span_of(connection: &Connection, row: u64) -> Result<Option<(EpochSpan, Range)>, rusqlite::Error> {
    let query = "select epoch, base, boot, (select min(base) from epoch as later where later.base > epoch.base)
        from epoch where base < ? order by base desc limit 1";
    let found = connection.prepare_cached(query)?.query_row([row_key(row)], |row| {
        let (span, later): (EpochSpan, Option<i64>) = (span(row)?, row.get(3)?);
        Ok((span, Range { first: span.base + 1, last: later.map_or(u64::MAX, i64::cast_unsigned) }))
    });
    found.optional()
}

fn span(row: &Row<'_>) -> Result<EpochSpan, rusqlite::Error> {
    let base: i64 = row.get(1)?;
    Ok(EpochSpan { epoch: Epoch(row.get(0)?), base: base.cast_unsigned(), boot: BootId(row.get(2)?) })
}

/// What was known of the time in `boot`.
pub(super) fn clock_of(connection: &Connection, boot: BootId) -> Result<Clock, rusqlite::Error> {
    let mut statement = connection.prepare_cached("select offset_us, quality from boot where boot = ?")?;
    let clock = statement.query_row([boot.0], |row| {
        let quality = match row.get::<_, i64>(1)? {
            1 => Quality::Held,
            2 => Quality::Synced,
            _ => Quality::Unset,
        };
        Ok(Clock { boot, offset_us: row.get(0)?, quality })
    });
    Ok(clock.optional()?.unwrap_or(Clock { boot, ..Clock::default() }))
}

pub(super) fn lane_of(connection: &Connection, row: u64) -> Result<Lane, rusqlite::Error> {
    let mut statement = connection.prepare_cached("select lane from batch where row = ?")?;
    statement.query_row([row_key(row)], |row| Ok(if row.get::<_, i64>(0)? == 0 { Lane::Live } else { Lane::Backfill }))
}
