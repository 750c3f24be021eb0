//! PostgreSQL's side of the seam.

use std::cell::{Cell as Slot, RefCell};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt};
use proto::DeviceId;

use super::copy::{COPY, Rows};
use super::months::Months;
use super::session::{Patience, Session};
use crate::store::feed::{Place, Span};
use crate::store::ledger::TENANT;
use crate::store::sql::{self, Cell, Locked, Many, ReadingRow, Row, Run, SqlError};

/// How long the writer waits for one answer. The server gives a statement up earlier.
const ANSWER: Duration = Duration::from_secs(35);
/// Bits of a reading's id that count within a commit; the others are the commit's number.
const COMMIT_BITS: u32 = 20;
/// Commits of one page of the feed.
const COMMITS_MAX: i64 = 4_096;
/// Where the feed ends.
pub(super) const FEED_END: &str = "select cast(cast(xid as text) as bigint), last_reading from commit_feed
      where xid < pg_snapshot_xmin(pg_current_snapshot()) order by xid desc, id desc limit 1";

/// One connection at work.
pub(super) struct Driver<'s> {
    session: &'s Session,
    patience: Patience,
    /// Which gateway this is.
    instance: i64,
    /// Appended, and not yet sent.
    rows: RefCell<Rows>,
    /// What the readings of this transaction need to be there.
    months: RefCell<Months>,
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
            rows: RefCell::default(),
            months: RefCell::default(),
            span: Slot::new(None),
        }
    }

    /// Begins a transaction.
    pub(super) fn begin(&self) -> Result<(), SqlError> {
        self.session.run(self.patience, "begin")
    }

    /// Ends it: when this returns, all of it is on the server's disk.
    pub(super) fn commit(&self) -> Result<(), SqlError> {
        self.send_readings()?;
        self.session.run(self.patience, "commit")?;
        let unknown = self.months.borrow().unknown(&self.session.months.borrow());
        self.session.months.borrow_mut().extend(unknown);
        Ok(())
    }

    /// Makes the partitions that are missing, so that no reading fails for want of one.
    fn make_months(&self) -> Result<(), SqlError> {
        let months = self.months.borrow();
        let (unknown, far) = (months.unknown(&self.session.months.borrow()), months.far());
        if unknown.is_empty() && far.is_empty() {
            return Ok(());
        }
        let sql = "select ensure_reading_room($1, $2)";
        self.session.wait(self.patience, async { Ok(self.session.client().execute(sql, &[&unknown, &far]).await?) })?;
        Ok(())
    }

    /// Sends what was appended.
    fn send_readings(&self) -> Result<(), SqlError> {
        if self.rows.borrow().is_empty() {
            return Ok(());
        }
        self.make_months()?;
        let (messages, rows) = self.rows.take().finish();
        let copied = self.session.wait(self.patience, async {
            let copy = self.session.prepared(COPY).await?;
            let sink = self.session.client().copy_in::<_, Bytes>(&copy.statement).await?;
            let mut sink = std::pin::pin!(sink);
            for message in messages {
                sink.feed(message).await?;
            }
            Ok(sink.finish().await?)
        })?;
        if copied == rows { Ok(()) } else { Err(SqlError::Away(format!("{copied} of {rows} readings were copied"))) }
    }

    /// Whether `sql` needs what was appended to be there, and then sends it.
    fn ready_for(&self, sql: &str) -> Result<(), SqlError> {
        if !self.rows.borrow().is_empty()
            && self.session.wait(self.patience, self.session.prepared(sql))?.needs_readings
        {
            self.send_readings()?;
        }
        Ok(())
    }
}

impl sql::Driver for Driver<'_> {
    fn execute(&self, sql: &str, values: &[Cell<'_>]) -> Result<usize, SqlError> {
        self.ready_for(sql)?;
        let touched = self.session.wait(self.patience, async {
            let prepared = self.session.prepared(sql).await?;
            Ok(self.session.client().execute_raw(&prepared.statement, values.iter().copied()).await?)
        })?;
        Ok(usize::try_from(touched).unwrap_or(usize::MAX))
    }

    fn each(
        &self,
        sql: &str,
        values: &[Cell<'_>],
        row: &mut dyn FnMut(&Row<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        self.ready_for(sql)?;
        self.session.wait(self.patience, async {
            let prepared = self.session.prepared(sql).await?;
            let rows = self.session.client().query_raw(&prepared.statement, values.iter().copied()).await?;
            let mut rows = std::pin::pin!(rows);
            while let Some(found) = rows.try_next().await? {
                row(&Row(&found))?;
            }
            Ok(())
        })
    }

    fn execute_many(&self, statement: &Many, rows: &[Vec<Cell<'_>>]) -> Result<(), SqlError> {
        let Some(first) = rows.first() else { return Ok(()) };
        self.ready_for(statement.all)?;
        let column = |place: usize| rows.iter().map(|row| row.get(place).copied().unwrap_or(Cell::Null)).collect();
        let columns: Vec<Vec<Cell<'_>>> = (0..first.len()).map(column).collect();
        self.session.wait(self.patience, async {
            let prepared = self.session.prepared(statement.all).await?;
            self.session.client().execute_raw(&prepared.statement, columns).await?;
            Ok(())
        })
    }

    fn append(&self, run: &Run, rows: &mut dyn Iterator<Item = ReadingRow<'_>>) -> Result<(), SqlError> {
        let (mut gathered, mut months) = (self.rows.borrow_mut(), self.months.borrow_mut());
        for row in rows {
            let (first, last) = self.span.get().unwrap_or((row.time_us, row.time_us));
            self.span.set(Some((first.min(row.time_us), last.max(row.time_us))));
            months.need(row.time_us);
            gathered.add(run, &row)?;
        }
        Ok(())
    }

    fn reserve_readings(&self, _last: i64) -> Result<i64, SqlError> {
        let mut number = 0;
        self.each("select nextval('commit_number')", &[], &mut |row| {
            number = row.get(0)?;
            Ok(())
        })?;
        Ok(number << COMMIT_BITS)
    }

    fn note_feed(&self, before: i64, last: i64) -> Result<(), SqlError> {
        if before >> COMMIT_BITS != last >> COMMIT_BITS {
            return Err(SqlError::Misfit(format!("{} readings are too many for one commit", last - before)));
        }
        let (from, to) = self.span.get().unwrap_or((0, 0));
        let sql = "insert into commit_feed (id, tenant, first_reading, last_reading, from_us, to_us)
                   values (?1, ?2, ?3, ?4, ?5, ?6)";
        let values = [before >> COMMIT_BITS, TENANT, before + 1, last, from, to].map(Cell::Int);
        self.execute(sql, &values)?;
        Ok(())
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
        let names = devices.iter().map(|device| Cell::Text(device.as_str())).collect::<Vec<_>>();
        let (enter, lock) = (
            "insert into device (tenant, name)
              select ?1, new.name from unnest(?2::text[]) as new (name)
              where not exists (select from device d where d.tenant = ?1 and d.name = new.name)
              order by new.name on conflict do nothing",
            "select id, version from device
              where tenant = ?1 and name = any(?2) order by name for update",
        );
        self.session.wait(self.patience, async {
            let (enter, lock) = (self.session.prepared(enter).await?, self.session.prepared(lock).await?);
            let tenant = 1_i32;
            let client = self.session.client();
            client.execute(&enter.statement, &[&tenant, &names]).await?;
            let rows = client.query(&lock.statement, &[&tenant, &names]).await?;
            rows.iter().map(|row| Ok(Locked { key: row.try_get(0)?, version: row.try_get(1)? })).collect()
        })
    }
}
