//! PostgreSQL's side of the seam.

use std::cell::Cell as Slot;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join;
use proto::DeviceId;
use tokio_postgres::RowStream;

use super::copy::Head;
use super::queue::{Queue, columns};
use super::sender::Sender;
use super::session::{Patience, Prepared, Session};
use crate::store::feed::{Place, Span};
use crate::store::ledger::TENANT;
use crate::store::sql::{self, Cell, Locked, Many, ReadingRow, Row, Run, SqlError};

mod lock;

/// How long the writer waits for one answer. The server gives a statement up earlier.
const ANSWER: Duration = Duration::from_secs(35);
/// Bits of a reading's id that count within a commit; the others are the commit's number.
const COMMIT_BITS: u32 = 20;
/// Commits of one page of the feed.
const COMMITS_MAX: i64 = 4_096;
/// Where the feed ends.
pub(super) const FEED_END: &str = "select cast(cast(xid as text) as bigint), last_reading from commit_feed
      where xid < pg_snapshot_xmin(pg_current_snapshot()) order by xid desc, id desc limit 1";

/// The number of a commit, which the ids of its readings start with.
const NUMBER: &str = "select nextval('commit_number')";
const FEED: Many = Many {
    one: "",
    all: "insert into commit_feed (id, tenant, first_reading, last_reading, from_us, to_us)
          select * from unnest($1::bigint[], $2::int[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])",
};

/// One connection at work.
pub(super) struct Driver<'s> {
    session: &'s Session,
    patience: Patience,
    /// Which gateway this is.
    instance: i64,
    /// What need not be waited for.
    queue: Queue,
    /// Appended readings.
    sender: Sender<'s>,
    /// The number of this commit, if it is drawn already.
    number: Slot<Option<i64>>,
    /// The instants of what this transaction has appended: the first and the last.
    span: Slot<Option<(i64, i64)>>,
}

impl<'s> Driver<'s> {
    /// For one transaction of the writer.
    pub(super) fn writing(session: &'s Session, instance: i64) -> Self {
        Self { instance, ..Self::new(session, Patience::Each(ANSWER)) }
    }

    pub(super) fn new(session: &'s Session, patience: Patience) -> Self {
        Self {
            session,
            patience,
            instance: 0,
            queue: Queue::default(),
            sender: Sender::new(session, patience),
            number: Slot::new(None),
            span: Slot::new(None),
        }
    }

    /// Begins a transaction, together with the first statement in it.
    pub(super) fn begin(&self) {
        self.queue.begin();
    }

    /// Ends it: when this returns, all of it is on the server's disk.
    pub(super) fn commit(&self) -> Result<(), SqlError> {
        self.sender.finish(&self.queue)?;
        self.session.wait(self.patience, self.queue.run(self.session.client()))?;
        // Apart from all others: behind one that failed, it would undo them and call that success.
        self.session.run(self.patience, "commit")?;
        self.sender.remember_months();
        Ok(())
    }

    /// `sql`, ready to be run. If it needs what was appended to be there, that is sent.
    fn ready(&self, sql: &str) -> Result<Prepared, SqlError> {
        let known = self.session.known(sql);
        if known.is_none() {
            // Nothing else can be asked of the connection while it copies.
            self.sender.pause(&self.queue)?;
        }
        let prepared = match known {
            Some(known) => known,
            None => self.session.wait(self.patience, self.session.prepared(sql))?,
        };
        if prepared.needs_readings && self.sender.has_unsent() {
            self.sender.finish(&self.queue)?;
        }
        Ok(prepared)
    }

    /// Waits for `answer`, which goes to the server behind all that was asked before.
    fn ask<T>(&self, answer: impl Future<Output = Result<T, SqlError>>) -> Result<T, SqlError> {
        self.sender.pause(&self.queue)?;
        self.session.wait(self.patience, async {
            let (queued, answer) = join(self.queue.run(self.session.client()), answer).await;
            queued.and(answer)
        })
    }

    /// Shows each row of `answer`.
    fn show(
        &self,
        answer: impl Future<Output = Result<RowStream, tokio_postgres::Error>>,
        row: &mut dyn FnMut(&Row<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        self.ask(async {
            let mut rows = std::pin::pin!(answer.await?);
            while let Some(found) = rows.try_next().await? {
                row(&Row(&found))?;
            }
            Ok(())
        })
    }
}

impl sql::Driver for Driver<'_> {
    fn execute(&self, sql: &str, values: &[Cell<'_>]) -> Result<usize, SqlError> {
        let prepared = self.ready(sql)?;
        let touched = self
            .ask(async { Ok(self.session.client().execute_raw(&prepared.statement, values.iter().copied()).await?) })?;
        Ok(usize::try_from(touched).unwrap_or(usize::MAX))
    }

    fn each(
        &self,
        sql: &str,
        values: &[Cell<'_>],
        row: &mut dyn FnMut(&Row<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let prepared = self.ready(sql)?;
        self.show(self.session.client().query_raw(&prepared.statement, values.iter().copied()), row)
    }

    fn execute_many(&self, statement: &Many, rows: &[Vec<Cell<'_>>]) -> Result<(), SqlError> {
        if rows.is_empty() {
            return Ok(());
        }
        let prepared = self.ready(statement.all)?;
        self.queue.execute(&prepared.statement, rows)?;
        if self.queue.is_full() { self.ask(async { Ok(()) }) } else { Ok(()) }
    }

    fn each_many(
        &self,
        query: &Many,
        rows: &[Vec<Cell<'_>>],
        row: &mut dyn FnMut(&Row<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        if rows.is_empty() {
            return Ok(());
        }
        let prepared = self.ready(query.all)?;
        let columns = columns(&prepared.statement, rows)?;
        self.show(self.session.client().query_raw(&prepared.statement, columns), row)
    }

    fn append(&self, run: &Run, rows: &mut dyn Iterator<Item = ReadingRow<'_>>) -> Result<(), SqlError> {
        let head = Head::of(run)?;
        for row in rows {
            let (first, last) = self.span.get().unwrap_or((row.time_us, row.time_us));
            self.span.set(Some((first.min(row.time_us), last.max(row.time_us))));
            self.sender.add(&head, &row, &self.queue)?;
        }
        Ok(())
    }

    fn reserve_readings(&self, _last: i64) -> Result<i64, SqlError> {
        let mut number = self.number.take();
        if number.is_none() {
            self.each(NUMBER, &[], &mut |row| {
                number = row.get(0)?;
                Ok(())
            })?;
        }
        Ok(number.ok_or(SqlError::NoRow)? << COMMIT_BITS)
    }

    fn note_feed(&self, before: i64, last: i64) -> Result<(), SqlError> {
        if before >> COMMIT_BITS != last >> COMMIT_BITS {
            return Err(SqlError::Misfit(format!("{} readings are too many for one commit", last - before)));
        }
        let (from, to) = self.span.get().unwrap_or((0, 0));
        let row = [before >> COMMIT_BITS, TENANT, before + 1, last, from, to].map(Cell::Int);
        self.execute_many(&FEED, &[row.to_vec()])
    }

    fn feed(&self, after: Place, readings_max: usize) -> Result<Vec<Span>, SqlError> {
        // What has a lower transaction id than every one that still runs is complete. A turn that is yet to come is of
        // the life before a restore, whose commits have 0 now: see `enter`.
        let sql =
            "select cast(cast(xid as text) as bigint), first_reading, last_reading, from_us, to_us from commit_feed
              where (xid, id) >= (cast(cast(case when ?1 < cast(cast(pg_snapshot_xmax(pg_current_snapshot()) as text)
                    as bigint) then ?1 else 0 end as text) as xid8), cast(?2 as bigint) >> 20)
                and xid < pg_snapshot_xmin(pg_current_snapshot()) order by xid, id limit ?3";
        let mut left = i64::try_from(readings_max).unwrap_or(i64::MAX);
        let mut spans = Vec::new();
        let values = [after.turn, after.reading, COMMITS_MAX].map(Cell::Int);
        self.each(sql, &values, &mut |row| {
            let span = Span {
                turn: row.get(0)?,
                first: row.get(1)?,
                last: row.get(2)?,
                from_us: row.get(3)?,
                to_us: row.get(4)?,
            };
            let is_begun = span.first <= after.reading && after.reading <= span.last;
            let first = if is_begun { after.reading + 1 } else { span.first };
            let last = span.last.min(first.saturating_add(left - 1));
            if first <= last {
                left -= last - first + 1;
                spans.push(Span { first, last, ..span });
            }
            Ok(())
        })?;
        Ok(spans)
    }

    fn feed_end(&self) -> Result<Place, SqlError> {
        let mut end = Place::default();
        self.each(FEED_END, &[], &mut |row| {
            end = Place { turn: row.get(0)?, reading: row.get(1)? };
            Ok(())
        })?;
        Ok(end)
    }

    fn note_presence(&self, device: i64, connected: bool) -> Result<(), SqlError> {
        let sql = "update device set connected = ?2, instance = ?3
                   where id = ?1 and (?2 = 1 or instance is not distinct from ?3)";
        self.execute(sql, &[device, connected.into(), self.instance].map(Cell::Int))?;
        Ok(())
    }

    fn lock(&self, devices: &[&DeviceId]) -> Result<Vec<Locked>, SqlError> {
        self.lock_devices(devices)
    }
}
