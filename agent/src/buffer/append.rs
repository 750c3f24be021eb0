//! Taking batches in: all of an append is on disk when it is answered, or nothing of it.

use proto::{Range, Ranges};

use super::error::{is_damage, is_full};
use super::gaps::{self, Noted};
use super::rows::{begin_epoch, insert_batch, insert_rest};
use super::{Append, Appended, Buffer, BufferError, Left, Loss};
use crate::seeded::Bug;

/// Marks of receipts ride in every eighth append, so that they cost little flash. A lost mark costs one more hello.
const APPENDS_PER_MARKING: u32 = 8;

impl Buffer {
    /// Stores `append` and returns once it is on disk.
    ///
    /// # Errors
    /// [`BufferError::DiskFull`] when even making room did not help; nothing of `append` is stored then.
    pub fn append(&mut self, append: &Append) -> Result<Appended, BufferError> {
        let appended = self.sound(|buffer| buffer.store(append))?;
        self.reserve.keep();
        let Left { evicted, mut gaps, reopened } = std::mem::take(&mut self.untold);
        gaps.extend(appended.gaps.iter().chain(reopened.iter()));
        Ok(Appended { evicted, gaps, ..appended })
    }

    /// Does `work`; if that shows the file to be damaged, salvages it and does `work` once more.
    pub(super) fn sound<T>(
        &mut self,
        mut work: impl FnMut(&mut Self) -> Result<T, rusqlite::Error>,
    ) -> Result<T, BufferError> {
        if !self.is_open() {
            self.resume()?;
        }
        let done = match work(self) {
            Err(error) if is_damage(&error) => {
                self.recover(&error)?;
                work(self)
            }
            done => done,
        };
        done.map_err(|error| self.explain(error))
    }

    /// Makes room and stores. On a full disk, first what the WAL holds goes into the file; then the reserve is let go,
    /// and the file makes do with the pages that it has.
    fn store(&mut self, append: &Append) -> Result<Appended, rusqlite::Error> {
        let mut stored = self.make_room(append).and_then(|()| self.try_append(append));
        if self.met_full_disk(&stored) {
            self.empty_wal();
            stored = self.try_append(append);
        }
        if self.met_full_disk(&stored) {
            self.reserve.let_go();
            self.empty_wal();
            stored = self.make_room_within(append).and_then(|()| {
                self.empty_wal();
                self.try_append(append)
            });
        }
        stored
    }

    fn met_full_disk<T>(&self, done: &Result<T, rusqlite::Error>) -> bool {
        done.as_ref().err().is_some_and(|error| is_full(error, &self.settings.path))
    }

    /// Moves what the WAL holds into the file, and gives its space back. Where that fails, the WAL stays as it is.
    pub(super) fn empty_wal(&self) {
        if let Err(error) = self.connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())) {
            tracing::debug!(%error, "the write-ahead log could not be emptied");
        }
    }

    fn try_append(&mut self, append: &Append) -> Result<Appended, rusqlite::Error> {
        let is_turn = self.appends.is_multiple_of(APPENDS_PER_MARKING);
        let marking = self.marks.are_urgent() || (is_turn && !self.marks.is_empty());
        let counting = self.upkeep.is_due();
        let first_row = self.next_row;
        if Bug::NumberOutside.is_on() {
            self.next_row += append.batches.len() as u64;
        }
        if Bug::CursorFirst.is_on() {
            let transaction = self.connection.transaction()?;
            let cursors = Append { cursors: append.cursors.clone(), ..Append::default() };
            insert_rest(&transaction, &cursors, self.settings.rejects_max())?;
            transaction.commit()?;
        }
        let transaction = self.connection.transaction()?;
        let mut epoch = self.epoch;
        let mut began = None;
        let own = self.lacking.then(Loss::by_damage);
        let losses = || append.losses.iter().chain(&own);
        if epoch.is_none() && !(append.batches.is_empty() && losses().next().is_none()) {
            let span = begin_epoch(&transaction, &self.clock, first_row)?;
            (epoch, began) = (Some(span), Some(span));
        }
        let mut next_row = first_row;
        for (span, batch) in epoch.iter().flat_map(|span| append.batches.iter().map(move |batch| (span, batch))) {
            insert_batch(&transaction, span.epoch, next_row, batch)?;
            next_row += 1;
        }
        let rows = Range::new(first_row, next_row.saturating_sub(1));
        let mut lost = Ranges::new();
        for loss in losses() {
            let epoch_rows = Range { first: epoch.map_or(0, |span| span.base + 1), last: u64::MAX };
            gaps::note(&transaction, Noted::of_loss(next_row, loss), epoch_rows, false)?;
            lost.insert(Range::one(next_row));
            next_row += 1;
        }
        insert_rest(&transaction, append, self.settings.rejects_max())?;
        let reopened = marking.then(|| self.marks.write(&transaction)).transpose()?;
        if counting {
            self.upkeep.write(&transaction, first_row.saturating_sub(1))?;
        }
        transaction.commit()?;

        (self.epoch, self.next_row) = (epoch, next_row);
        self.lacking = false;
        self.appends = self.appends.wrapping_add(1);
        if let Some(reopened) = reopened {
            self.wrote_marks(&reopened);
        }
        if counting {
            self.upkeep.wrote();
            self.expiring = true;
        }
        self.upkeep.committed(append.batches.iter().map(|batch| batch.readings).sum());
        Ok(Appended { rows, began, evicted: Ranges::new(), gaps: lost })
    }

    /// Writes what no append has taken along: marks, and what the buffer counts of itself.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn finish(&mut self) -> Result<(), BufferError> {
        self.flush_marks()?;
        self.sound(|buffer| {
            let transaction = buffer.connection.transaction()?;
            buffer.upkeep.write(&transaction, buffer.next_row.saturating_sub(1))?;
            transaction.commit()?;
            buffer.upkeep.wrote();
            Ok(())
        })
    }
}
