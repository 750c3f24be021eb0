//! Rows that will never be published: what is noted of them, told of them, and confirmed.
//!
//! A gap stays open until a receipt covers it. Neighbours merge; of those that are confirmed, the newest are kept for people to see.

use proto::message::{Gap, GapReason};
use proto::{Instant, Range, Ranges};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::rows::{ranges, row_key, span_of};
use super::sums::GAP;
use super::{Buffer, BufferError, Loss};

/// Confirmed gaps that are kept for `tributary-agent status`.
const CONFIRMED_MAX: u64 = 1_024;
/// Open gaps beyond which neighbours merge whatever their reasons: a device that is offline for years must not drown in its
/// own losses.
const OPEN_MAX: u64 = 16_384;
const COLUMNS: &str = "first_row, last_row, readings, reason, source, from_us, until_us, confirmed, sum";

/// Gaps that have rows up to `?1` and from `?2` on. They never overlap, so only the last one that begins before `?2` can
/// reach into it: without that bound, each search would walk over all gaps before.
const OVERLAPS: &str = "first_row <= ?1 and last_row >= ?2
    and first_row >= coalesce((select max(first_row) from gap where first_row <= ?2), ?2)";

/// A gap as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Noted {
    pub(super) rows: Range,
    pub(super) readings: Option<u64>,
    pub(super) reason: GapReason,
    pub(super) source: Option<String>,
    /// Microseconds on the clock of the epoch's boot.
    pub(super) span: Option<(i64, i64)>,
}

impl Noted {
    pub(super) fn new(rows: Range, readings: Option<u64>, reason: GapReason) -> Self {
        Self { rows, readings, reason, source: None, span: None }
    }

    pub(super) fn of_loss(row: u64, loss: &Loss) -> Self {
        let span = loss.from.zip(loss.until).map(|(from, until)| (from.0, until.0));
        let source = loss.source.as_deref().map(str::to_owned);
        Self { rows: Range::one(row), readings: loss.count, reason: loss.reason, source, span }
    }

    fn read(row: &Row<'_>) -> Result<Self, rusqlite::Error> {
        GAP.verify(row)?;
        let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
        let readings: Option<i64> = row.get(2)?;
        let (from, until): (Option<i64>, Option<i64>) = (row.get(5)?, row.get(6)?);
        Ok(Self {
            rows: Range { first: first.cast_unsigned(), last: last.cast_unsigned() },
            readings: readings.map(i64::cast_unsigned),
            reason: reason_of(&row.get::<_, String>(3)?),
            source: row.get(4)?,
            span: from.zip(until),
        })
    }

    fn joins(&self, other: &Self, crowded: bool) -> bool {
        crowded || (self.reason == other.reason && self.source == other.source)
    }

    /// Both as one; what is not known of either is not known of both.
    fn with(self, other: Self) -> Self {
        let both = |left: (i64, i64), right: (i64, i64)| (left.0.min(right.0), left.1.max(right.1));
        Self {
            rows: Range { first: self.rows.first.min(other.rows.first), last: self.rows.last.max(other.rows.last) },
            readings: self.readings.zip(other.readings).map(|(left, right)| left.saturating_add(right)),
            reason: self.reason,
            source: self.source.filter(|source| other.source.as_ref() == Some(source)),
            span: self.span.zip(other.span).map(|(left, right)| both(left, right)),
        }
    }
}

fn reason_of(word: &str) -> GapReason {
    match word {
        "evicted" => GapReason::Evicted,
        "disk_full" => GapReason::DiskFull,
        "damaged" => GapReason::Damaged,
        "overrun" => GapReason::Overrun,
        "dropped" => GapReason::Dropped,
        _ => GapReason::Unexplained,
    }
}

/// Whether there are so many open gaps that neighbours merge whatever their reasons. Asked once for many gaps.
pub(super) fn is_crowded(transaction: &Transaction<'_>) -> Result<bool, rusqlite::Error> {
    let query = "select count(*) from gap where confirmed = 0";
    let open: i64 = transaction.prepare_cached(query)?.query_row([], |row| row.get(0))?;
    Ok(open.cast_unsigned() >= OPEN_MAX)
}

/// Notes a gap whose rows are all of one epoch, which has `epoch_rows`; joins it with its neighbours.
pub(super) fn note(
    transaction: &Transaction<'_>,
    gap: Noted,
    epoch_rows: Range,
    crowded: bool,
) -> Result<(), rusqlite::Error> {
    let find = |query: &str, row: u64| {
        let query = format!("select {COLUMNS} from gap where confirmed = 0 and {query} limit 1");
        transaction.prepare_cached(&query)?.query_row([row_key(row)], Noted::read).optional()
    };
    let before = find("first_row < ? order by first_row desc", gap.rows.first)?
        .filter(|left| left.rows.last + 1 == gap.rows.first && epoch_rows.contains(left.rows.first))
        .filter(|left| left.joins(&gap, crowded));
    let after = find("first_row = ?", gap.rows.last + 1)?
        .filter(|right| epoch_rows.contains(right.rows.last) && gap.joins(right, crowded));
    let mut whole = gap;
    for neighbour in before.into_iter().chain(after) {
        transaction.prepare_cached("delete from gap where first_row = ?")?.execute([row_key(neighbour.rows.first)])?;
        whole = whole.with(neighbour);
    }
    insert(transaction, &whole, false)
}

pub(super) fn insert(transaction: &Transaction<'_>, gap: &Noted, confirmed: bool) -> Result<(), rusqlite::Error> {
    let (first, last, word) = (row_key(gap.rows.first), row_key(gap.rows.last), gap.reason.word());
    let (from, until) = (gap.span.map(|span| span.0), gap.span.map(|span| span.1));
    let readings = gap.readings.map(row_key);
    let number = |number: Option<i64>| number.map_or(ValueRef::Null, ValueRef::Integer);
    let sum = GAP.of([
        ValueRef::Integer(first),
        ValueRef::Integer(last),
        number(readings),
        ValueRef::Text(word.as_bytes()),
        gap.source.as_ref().map_or(ValueRef::Null, |source| ValueRef::Text(source.as_bytes())),
        number(from),
        number(until),
        ValueRef::Integer(confirmed.into()),
    ]);
    let query = format!("insert or replace into gap ({COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?)");
    let values = params![first, last, readings, word, gap.source, from, until, confirmed, sum];
    transaction.prepare_cached(&query)?.execute(values)?;
    Ok(())
}

/// Notes what receipts say of gaps, and takes all gap rows out of `marks`: what is left are batches.
pub(super) fn confirm(transaction: &Transaction<'_>, marks: &mut Ranges) -> Result<(), rusqlite::Error> {
    let mut touched: Vec<(Noted, bool)> = Vec::new();
    for range in marks.iter() {
        let query = format!("select {COLUMNS} from gap where {OVERLAPS}");
        let mut statement = transaction.prepare_cached(&query)?;
        let found = statement.query_map([row_key(range.last), row_key(range.first)], |row| {
            Ok((Noted::read(row)?, row.get::<_, bool>(7)?))
        })?;
        touched.extend(found.collect::<Result<Vec<_>, _>>()?);
    }
    touched.dedup_by(|left, right| left.0.rows == right.0.rows);
    for (gap, confirmed) in &touched {
        if !confirmed {
            confirm_one(transaction, gap, marks)?;
        }
    }
    touched.iter().for_each(|(gap, _)| marks.remove(gap.rows));
    if !touched.is_empty() {
        let query = "delete from gap where confirmed = 1 and first_row <= (select first_row from gap
            where confirmed = 1 order by first_row desc limit 1 offset ?)";
        transaction.prepare_cached(query)?.execute([row_key(CONFIRMED_MAX)])?;
    }
    Ok(())
}

/// What `marks` cover of `gap` is confirmed; the rest stays open. Which readings were in which part is not known.
fn confirm_one(transaction: &Transaction<'_>, gap: &Noted, marks: &Ranges) -> Result<(), rusqlite::Error> {
    transaction.prepare_cached("delete from gap where first_row = ?")?.execute([row_key(gap.rows.first)])?;
    let part = |rows: Range| {
        let readings = gap.readings.filter(|_| rows == gap.rows);
        Noted { rows, readings, ..gap.clone() }
    };
    for covered in marks.within(gap.rows) {
        insert(transaction, &part(covered), true)?;
    }
    for left in marks.missing_in(gap.rows).iter() {
        insert(transaction, &part(left), false)?;
    }
    Ok(())
}

/// The gateway may no longer know of any gap: all are open again, save those whose epoch is forgotten, of which nothing can
/// be told.
pub(super) fn reopen(transaction: &Transaction<'_>) -> Result<(), rusqlite::Error> {
    let query = format!("select {COLUMNS} from gap where confirmed = 1 and first_row > (select min(base) from epoch)");
    let mut statement = transaction.prepare_cached(&query)?;
    let confirmed = statement.query_map([], Noted::read)?.collect::<Result<Vec<_>, _>>()?;
    confirmed.iter().try_for_each(|gap| insert(transaction, gap, false))
}

/// Rows of gaps that no receipt has confirmed.
pub(super) fn open(connection: &Connection) -> Result<Ranges, rusqlite::Error> {
    ranges(connection, "select first_row, last_row from gap where confirmed = 0 order by first_row")
}

impl Buffer {
    /// The gaps of `within` that no receipt has confirmed, oldest first, at most `limit` of them: what the gateway has to
    /// be told. A gap names its reading count where it lies in `within` and in one epoch as a whole.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn gaps(&mut self, within: Range, limit: usize) -> Result<Vec<Gap>, BufferError> {
        self.sound(|buffer| buffer.try_gaps(within, limit))
    }

    fn try_gaps(&self, within: Range, limit: usize) -> Result<Vec<Gap>, rusqlite::Error> {
        let query = format!("select {COLUMNS} from gap where confirmed = 0 and {OVERLAPS} order by first_row limit ?3");
        let mut statement = self.connection.prepare_cached(&query)?;
        let bounds = [row_key(within.last), row_key(within.first), row_key(limit as u64)];
        let found = statement.query_map(bounds, Noted::read)?.collect::<Result<Vec<_>, _>>()?;
        let mut told = Vec::new();
        for gap in found {
            let mut next = gap.rows.intersect(within);
            while let Some(left) = next {
                let Some((span, epoch_rows)) = span_of(&self.connection, left.first)? else { break };
                let Some(piece) = left.intersect(epoch_rows) else { break };
                let numbers = Range { first: piece.first - span.base, last: piece.last - span.base };
                told.push(Gap {
                    epoch: Some(span.epoch),
                    range: Some(numbers),
                    source: gap.source.clone(),
                    from: gap.span.map(|times| Instant(times.0)),
                    until: gap.span.map(|times| Instant(times.1)),
                    boot: gap.span.map(|_| span.boot),
                    count: gap.readings.filter(|_| piece == gap.rows),
                    reason: gap.reason,
                });
                next = piece.last.checked_add(1).and_then(|first| Range::new(first, left.last));
            }
        }
        told.truncate(limit);
        Ok(told)
    }
}
