//! What the gateway said of batches: settled, no longer settled, refused.

use proto::Ranges;
use rusqlite::types::ValueRef;
use rusqlite::{Transaction, params};

use super::rows::{replace_settled, row_key, settled};
use super::sums::ASIDE;
use super::{Buffer, BufferError, gaps};

/// Notes that receipts cover `marks`, batches and gaps.
pub(super) fn insert_marks(transaction: &Transaction<'_>, marks: &Ranges) -> Result<(), rusqlite::Error> {
    let mut batches = marks.clone();
    gaps::confirm(transaction, &mut batches)?;
    let before = settled(transaction)?;
    let mut after = before.clone();
    after.extend(batches.iter());
    replace_settled(transaction, &before, &after)
}

impl Buffer {
    /// Notes that receipts cover `rows`: batches are the first to go when space is needed, gaps need not be told again.
    /// Written with a later append.
    pub fn mark(&mut self, rows: &Ranges) {
        self.marks.extend(rows.iter());
    }

    /// Takes marks back: the gateway no longer has `rows`, as after a restore, and so it may not know of the gaps either.
    /// Answers the rows of all gaps that are to be told now.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn unmark(&mut self, rows: &Ranges) -> Result<Ranges, BufferError> {
        self.flush_marks()?;
        self.sound(|buffer| {
            let transaction = buffer.connection.transaction()?;
            let before = settled(&transaction)?;
            let mut after = before.clone();
            rows.iter().for_each(|range| after.remove(range));
            replace_settled(&transaction, &before, &after)?;
            gaps::reopen(&transaction)?;
            let open = gaps::open(&transaction)?;
            transaction.commit()?;
            Ok(open)
        })
    }

    /// Writes marks that no append has taken along.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn flush_marks(&mut self) -> Result<(), BufferError> {
        self.sound(Self::write_marks)
    }

    pub(super) fn write_marks(&mut self) -> Result<(), rusqlite::Error> {
        if !self.marks.is_empty() {
            let transaction = self.connection.transaction()?;
            insert_marks(&transaction, &self.marks)?;
            transaction.commit()?;
            self.marks = Ranges::new();
        }
        Ok(())
    }

    /// Notes that the gateway refused `row` for good: it stays, and is not sent again, not even after a restart.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn set_aside(&mut self, row: u64, reason: &str) -> Result<(), BufferError> {
        self.sound(|buffer| {
            let query = "insert or replace into aside (row, reason, sum) select row, ?, ? from batch where row = ?";
            let sum = ASIDE.of([ValueRef::Integer(row_key(row)), ValueRef::Text(reason.as_bytes())]);
            buffer.connection.prepare_cached(query)?.execute(params![reason, sum, row_key(row)])?;
            Ok(())
        })
    }

    pub(super) fn settled(&self) -> Result<Ranges, rusqlite::Error> {
        settled(&self.connection)
    }
}
