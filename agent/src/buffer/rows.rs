//! Rows in and out: each statement once.

use proto::frame::Sealed;
use proto::{BodyHash, BootId, Clock, Epoch, Lane, Quality, Range, Ranges};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::sums::{self, BOOT, COUNTER, CURSOR, EPOCH, SETTLED};
use super::{Append, Batch, EpochSpan};

/// What the newest row ever used is counted as.
const LAST_ROW: &str = "last row";
/// What the epochs that are known are counted as.
const EPOCHS: &str = "epochs";

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
    write_clock(transaction, clock)?;
    write_epoch(transaction, &span)?;
    count_epochs(transaction)?;
    Ok(span)
}

/// Notes `span`, where it is not there yet; the epochs must then be counted.
pub(super) fn write_epoch(connection: &Connection, span: &EpochSpan) -> Result<(), rusqlite::Error> {
    let (base, columns) = (row_key(span.base), EPOCH.with_sum());
    let values = [ValueRef::Blob(&span.epoch.0), ValueRef::Integer(base), ValueRef::Blob(&span.boot.0)];
    let query = format!("insert or ignore into epoch ({columns}) values (?, ?, ?, ?)");
    connection.execute(&query, params![span.epoch.0, base, span.boot.0, EPOCH.of(values)])?;
    Ok(())
}

/// Counts the epochs, so that none is missed.
pub(super) fn count_epochs(connection: &Connection) -> Result<(), rusqlite::Error> {
    let count: i64 = connection.query_row("select count(*) from epoch", [], |row| row.get(0))?;
    set_counter(connection, EPOCHS, count)
}

/// Gives each epoch whose boot is not known one that never knew the time.
pub(super) fn fill_boots(connection: &Connection) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare("select boot from epoch where boot not in (select boot from boot)")?;
    let boots: Vec<[u8; 8]> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    boots.into_iter().try_for_each(|boot| write_clock(connection, &Clock { boot: BootId(boot), ..Clock::default() }))
}

pub(super) fn write_clock(connection: &Connection, clock: &Clock) -> Result<(), rusqlite::Error> {
    let quality = match clock.quality {
        Quality::Unset => 0,
        Quality::Held => 1,
        Quality::Synced => 2,
    };
    let values = [ValueRef::Blob(&clock.boot.0), ValueRef::Integer(clock.offset_us), ValueRef::Integer(quality)];
    let query = "insert or replace into boot (boot, offset_us, quality, sum) values (?, ?, ?, ?)";
    connection.prepare_cached(query)?.execute(params![clock.boot.0, clock.offset_us, quality, BOOT.of(values)])?;
    Ok(())
}

pub(super) fn insert_batch(
    transaction: &Transaction<'_>,
    epoch: Epoch,
    row: u64,
    batch: &Batch,
) -> Result<(), rusqlite::Error> {
    let query = "insert into batch (row, lane, readings, hash, body, priority, sum) values (?, ?, ?, ?, ?, ?, ?)";
    let lane = match batch.lane {
        Lane::Live => 0,
        Lane::Backfill => 1,
    };
    let (readings, priority, hash) = (row_key(batch.readings), batch.priority as i64, batch.sealed.hash);
    let sum = sums::of_batch(epoch, row, [lane, readings, priority], hash);
    let values = params![row_key(row), lane, readings, hash.0, batch.sealed.body, priority, sum];
    transaction.prepare_cached(query)?.execute(values)?;
    Ok(())
}

pub(super) fn insert_rest(
    transaction: &Transaction<'_>,
    append: &Append,
    rejects_max: u64,
) -> Result<(), rusqlite::Error> {
    for (source, position) in &append.cursors {
        let query = "insert into cursor (source, position, sum) values (?, ?, ?)
            on conflict (source) do update set position = excluded.position, sum = excluded.sum";
        let sum = CURSOR.of([ValueRef::Text(source.as_bytes()), ValueRef::Blob(position)]);
        transaction.prepare_cached(query)?.execute(params![&**source, position, sum])?;
    }
    for (source, reject) in &append.rejects {
        let query = "insert into reject (source, place, reason, bytes) values (?, ?, ?, ?)";
        transaction.prepare_cached(query)?.execute(params![&**source, reject.place, reject.reason, reject.bytes])?;
    }
    append.counts.iter().try_for_each(|(what, more)| tally(transaction, what, *more))?;
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
        let query = "insert into settled (first, last, sum) values (?, ?, ?)";
        let (first, last) = (row_key(range.first), row_key(range.last));
        let sum = SETTLED.of([ValueRef::Integer(first), ValueRef::Integer(last)]);
        transaction.prepare_cached(query)?.execute([first, last, sum])?;
    }
    Ok(())
}

/// Notes the newest row that was ever used: later rows are counted from it, whatever leaves.
pub(super) fn write_counter(transaction: &Transaction<'_>, last_row: u64) -> Result<(), rusqlite::Error> {
    let mut statement = transaction.prepare_cached("select value from counter where name = ?")?;
    let known: Option<i64> = statement.query_row([LAST_ROW], |row| row.get(0)).optional()?;
    if known.is_none_or(|known| known < row_key(last_row)) {
        set_counter(transaction, LAST_ROW, row_key(last_row))?;
    }
    Ok(())
}

fn set_counter(connection: &Connection, name: &str, value: i64) -> Result<(), rusqlite::Error> {
    let sum = COUNTER.of([ValueRef::Text(name.as_bytes()), ValueRef::Integer(value)]);
    let query = "insert or replace into counter (name, value, sum) values (?, ?, ?)";
    connection.prepare_cached(query)?.execute(params![name, value, sum])?;
    Ok(())
}

/// Rows that receipts cover.
pub(super) fn settled(connection: &Connection) -> Result<Ranges, rusqlite::Error> {
    let mut statement = connection.prepare_cached("select first, last, sum from settled order by first")?;
    let mut rows = statement.query([])?;
    let mut settled = Ranges::new();
    while let Some(row) = rows.next()? {
        SETTLED.verify(row)?; // what is not settled would be let go of without a gap
        let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
        settled.insert(Range { first: first.cast_unsigned(), last: last.cast_unsigned() });
    }
    Ok(settled)
}

/// Rows of batches that are there.
pub(super) fn held(connection: &Connection) -> Result<Ranges, rusqlite::Error> {
    // Gathered here rather than in SQL, which would sort all rows in memory: this walk takes none, however many there are.
    let mut statement = connection.prepare_cached("select row from batch order by row")?;
    let mut rows = statement.query([])?;
    let (mut held, mut run): (Ranges, Option<Range>) = (Ranges::new(), None);
    while let Some(row) = rows.next()? {
        let number = row.get::<_, i64>(0)?.cast_unsigned();
        match &mut run {
            Some(run) if run.last + 1 == number => run.last = number,
            _ => held.extend(run.replace(Range::one(number))),
        }
    }
    held.extend(run);
    Ok(held)
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
    let mut statement = connection.prepare_cached("select epoch, base, boot, sum from epoch order by base")?;
    let spans = statement.query_map([], span)?;
    spans.collect()
}

/// The epoch that `row` is of, and all rows that its numbers can have.
pub(super) fn span_of(connection: &Connection, row: u64) -> Result<Option<(EpochSpan, Range)>, rusqlite::Error> {
    let query = "select epoch, base, boot, sum, (select min(base) from epoch as later where later.base > epoch.base)
        from epoch where base < ? order by base desc limit 1";
    let found = connection.prepare_cached(query)?.query_row([row_key(row)], |row| {
        let (span, later): (EpochSpan, Option<i64>) = (span(row)?, row.get(4)?);
        Ok((span, Range { first: span.base + 1, last: later.map_or(u64::MAX, i64::cast_unsigned) }))
    });
    found.optional()
}

fn span(row: &Row<'_>) -> Result<EpochSpan, rusqlite::Error> {
    EPOCH.verify(row)?;
    let base: i64 = row.get(1)?;
    Ok(EpochSpan { epoch: Epoch(row.get(0)?), base: base.cast_unsigned(), boot: BootId(row.get(2)?) })
}

/// What was known of the time in `boot`.
pub(super) fn clock_of(connection: &Connection, boot: BootId) -> Result<Clock, rusqlite::Error> {
    let mut statement = connection.prepare_cached("select boot, offset_us, quality, sum from boot where boot = ?")?;
    let clock = statement.query_row([boot.0], |row| {
        BOOT.verify(row)?;
        let quality = match row.get::<_, i64>(2)? {
            1 => Quality::Held,
            2 => Quality::Synced,
            _ => Quality::Unset,
        };
        Ok(Clock { boot, offset_us: row.get(1)?, quality })
    });
    Ok(clock.optional()?.unwrap_or(Clock { boot, ..Clock::default() }))
}

/// The columns of a [`Stored`] batch.
pub(super) const BATCH_COLUMNS: &str = "row, lane, readings, hash, body, priority, sum";

/// A batch as it was found.
pub(super) struct Stored {
    pub(super) row: u64,
    lane: i64,
    pub(super) readings: i64,
    priority: i64,
    pub(super) sealed: Sealed,
    sum: Option<i64>,
}

impl Stored {
    pub(super) fn read(row: &Row<'_>) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            row: row.get::<_, i64>(0)?.cast_unsigned(),
            lane: row.get(1)?,
            readings: row.get(2)?,
            sealed: Sealed { hash: BodyHash(row.get(3)?), body: row.get(4)? },
            priority: row.get(5)?,
            sum: row.get(6)?,
        })
    }

    /// Whether it was stored under this row, in `epoch`, with all that is said of it.
    pub(super) fn is_at_home_in(&self, epoch: Epoch) -> bool {
        let said = [self.lane, self.readings, self.priority];
        self.sum.is_none_or(|sum| sum == sums::of_batch(epoch, self.row, said, self.sealed.hash))
    }

    pub(super) fn lane(&self) -> Lane {
        if self.lane == 0 { Lane::Live } else { Lane::Backfill }
    }
}
