//! What the gateway said of batches: settled, no longer settled, refused.

use proto::Ranges;
use rusqlite::types::ValueRef;
use rusqlite::{Transaction, params};

use super::rows::{replace_settled, row_key, settled};
use super::sums::ASIDE;
use super::{Buffer, BufferError, gaps};

/// What the gateway said of batches and gaps, and no transaction has written yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    /// Receipts cover these.
    covered: Ranges,
    /// Those that receipts covered once, and that the gateway no longer has.
    taken_back: Ranges,
    /// What receipts have covered since some were taken back.
    covered_since: Ranges,
}

impl Marks {
    pub(super) fn is_empty(&self) -> bool {
        self.covered.is_empty() && !self.are_urgent()
    }

    /// Whether it matters who leaves before they are written.
    pub(super) fn are_urgent(&self) -> bool {
        !self.taken_back.is_empty()
    }

    /// Answers the rows of gaps that are to be told again: whoever lost batches may have lost what it knew of gaps too.
    pub(super) fn write(&self, transaction: &Transaction<'_>) -> Result<Ranges, rusqlite::Error> {
        let before = settled(transaction)?;
        let mut after = before.clone();
        cover(transaction, &self.covered, &mut after)?;
        if !self.are_urgent() {
            replace_settled(transaction, &before, &after)?;
            return Ok(Ranges::new());
        }
        self.taken_back.iter().for_each(|rows| after.remove(rows));
        gaps::reopen(transaction)?;
        cover(transaction, &self.covered_since, &mut after)?;
        replace_settled(transaction, &before, &after)?;
        gaps::open(transaction)
    }
}

/// Gaps among `rows` are confirmed, batches are settled.
fn cover(transaction: &Transaction<'_>, rows: &Ranges, settled: &mut Ranges) -> Result<(), rusqlite::Error> {
    let mut batches = rows.clone();
    gaps::confirm(transaction, &mut batches)?;
    settled.extend(batches.iter());
    Ok(())
}

impl Buffer {
    /// Notes that receipts cover `rows`: batches are the first to go when space is needed, gaps need not be told again.
    /// Written with a later append.
    pub fn mark(&mut self, rows: &Ranges) {
        let marks = &mut self.marks;
        let covered = if marks.are_urgent() { &mut marks.covered_since } else { &mut marks.covered };
        covered.extend(rows.iter());
    }

    /// Takes marks back: the gateway no longer has `rows`, as after a restore, and so it may not know of the gaps either.
    /// Answers the rows of all gaps that are to be told now.
    ///
    /// # Errors
    /// When SQLite fails. It holds all the same: it is written with the next append, which tells of the gaps then, and before
    /// anything leaves to make room.
    pub fn unmark(&mut self, rows: &Ranges) -> Result<Ranges, BufferError> {
        let marks = &mut self.marks;
        marks.covered.extend(std::mem::take(&mut marks.covered_since).iter());
        marks.taken_back.extend(rows.iter());
        self.sound(Self::write_marks)?;
        Ok(std::mem::take(&mut self.untold.reopened))
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
            let reopened = self.marks.write(&transaction)?;
            transaction.commit()?;
            self.wrote_marks(&reopened);
        }
        Ok(())
    }

    /// To be called once what [`Marks::write`] wrote is committed.
    pub(super) fn wrote_marks(&mut self, reopened: &Ranges) {
        self.untold.reopened.extend(reopened.iter());
        self.marks = Marks::default();
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
