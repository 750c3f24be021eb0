//! Readings on their way to the server: it takes the first while the last are still made.

use std::cell::RefCell;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::future::join;
use tokio_postgres::CopyInSink;

use super::copy::{COPY, Head, Rows};
use super::months::Months;
use super::queue::Queue;
use super::session::{Patience, Session};
use crate::store::sql::{ReadingRow, SqlError};

/// The readings of one transaction. Before anything else is asked of the connection, [`Sender::pause`].
pub(super) struct Sender<'s> {
    session: &'s Session,
    patience: Patience,
    /// Appended, and not yet sent.
    rows: RefCell<Rows>,
    /// What the readings of this transaction need to be there.
    months: RefCell<Months>,
    /// Months and far weeks that this transaction has made or found.
    made: RefCell<(Vec<i32>, Vec<i64>)>,
    /// A COPY that the server is at.
    copying: RefCell<Option<Copying>>,
}

struct Copying {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    rows: u64,
}

impl<'s> Sender<'s> {
    pub(super) fn new(session: &'s Session, patience: Patience) -> Self {
        let (rows, months, made, copying) = Default::default();
        Self { session, patience, rows, months, made, copying }
    }

    /// Takes a reading of the run of `head`. When there are enough to be worth it, they are sent.
    pub(super) fn add(&self, head: &Head, row: &ReadingRow<'_>, queue: &Queue) -> Result<(), SqlError> {
        self.months.borrow_mut().need(row.time_us);
        let mut rows = self.rows.borrow_mut();
        rows.add(head, row)?;
        let is_full = rows.is_full();
        drop(rows);
        if is_full { self.send(queue) } else { Ok(()) }
    }

    /// Whether there are readings that the server has not.
    pub(super) fn has_unsent(&self) -> bool {
        !self.rows.borrow().is_empty()
    }

    /// Sends all that was added, and waits until the server has them, and for what is in `queue`.
    pub(super) fn finish(&self, queue: &Queue) -> Result<(), SqlError> {
        if self.has_unsent() {
            self.send(queue)?;
        }
        self.pause(queue)
    }

    /// Ends the COPY, if there is one, and sends what is in `queue` right behind it. Readings that are not sent yet stay.
    pub(super) fn pause(&self, queue: &Queue) -> Result<(), SqlError> {
        let Some(Copying { mut sink, rows }) = self.copying.take() else { return Ok(()) };
        let (copied, queued) = self.session.wait(self.patience, async {
            sink.feed(Rows::end()).await?;
            Ok(join(sink.as_mut().finish(), queue.run(self.session.client())).await)
        })?;
        let copied = copied?;
        queued?;
        if copied == rows { Ok(()) } else { Err(SqlError::Away(format!("{copied} of {rows} readings were copied"))) }
    }

    /// Months that were made, to be remembered once the transaction is committed.
    pub(super) fn remember_months(&self) {
        let new = self.unknown_months();
        self.session.months.borrow_mut().extend(new);
    }

    fn unknown_months(&self) -> Vec<i32> {
        self.months.borrow().unknown(&self.session.months.borrow())
    }

    /// Hands what was added to the kernel, as far as it takes it.
    fn send(&self, queue: &Queue) -> Result<(), SqlError> {
        self.make_months(queue)?;
        self.open(queue)?;
        let (message, count) = self.rows.borrow_mut().take();
        let mut copying = self.copying.borrow_mut();
        let Some(copying) = &mut *copying else { return Err(SqlError::Late) };
        copying.rows += count;
        self.session.wait(self.patience, async {
            copying.sink.feed(message).await?;
            // Lets the connection write it.
            tokio::task::yield_now().await;
            Ok(())
        })
    }

    fn open(&self, queue: &Queue) -> Result<(), SqlError> {
        if self.copying.borrow().is_some() {
            return Ok(());
        }
        let sink = self.session.wait(self.patience, async {
            let copy = self.session.prepared(COPY).await?;
            let client = self.session.client();
            let (queued, sink) = join(queue.run(client), client.copy_in::<_, Bytes>(&copy.statement)).await;
            queued?;
            let mut sink = Box::pin(sink?);
            sink.feed(Rows::begin()).await?;
            Ok(sink)
        })?;
        *self.copying.borrow_mut() = Some(Copying { sink, rows: 0 });
        Ok(())
    }

    /// Makes the partitions that are missing, so that no reading fails for want of one.
    fn make_months(&self, queue: &Queue) -> Result<(), SqlError> {
        let missing = (self.unknown_months(), self.months.borrow().far());
        // Not remembered for good before the transaction is committed.
        if missing == <(Vec<i32>, Vec<i64>)>::default() || missing == *self.made.borrow() {
            return Ok(());
        }
        self.pause(queue)?;
        let sql = "select ensure_reading_room($1, $2)";
        self.session.wait(self.patience, async {
            let client = self.session.client();
            let (queued, made) = join(queue.run(client), client.execute(sql, &[&missing.0, &missing.1])).await;
            queued?;
            Ok(made?)
        })?;
        *self.made.borrow_mut() = missing;
        Ok(())
    }
}
