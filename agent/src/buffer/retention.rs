//! Who leaves when space is needed: first what receipts cover, oldest first; then, with a gap, what they do not.

use std::fs;

use proto::{Range, Ranges};
use rusqlite::params;

use super::rows::{row_key, tally};
use super::{Append, Buffer, BufferError};

/// Bytes let go of at once, so that a full buffer does not evict on every append.
const EVICT_BYTES: u64 = 256 * 1024;
/// What a batch takes beside its body: row header, index, part of a page.
const ROW_BYTES: u64 = 64;

impl Buffer {
    /// Lets go of batches until `append` fits under the cap. Answers the rows that left.
    pub(super) fn make_room(&mut self, append: &Append) -> Result<Ranges, BufferError> {
        let incoming: u64 = append.batches.iter().map(|batch| batch.sealed.body.len() as u64 + ROW_BYTES).sum();
        let mut evicted = Ranges::new();
        while self.bytes_used()? + incoming > self.settings.bytes_max {
            let gone = self.evict_some()?;
            if gone.is_empty() {
                break; // only the newest batch is left: the append itself is larger than the cap, and is let in
            }
            evicted.extend(gone.iter());
        }
        Ok(evicted)
    }

    /// Bytes that the file's used pages and the WAL take.
    fn bytes_used(&self) -> Result<u64, BufferError> {
        let read = |pragma| self.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let pages = read("page_count")? - read("freelist_count")?;
        let mut wal = self.settings.path.as_os_str().to_owned();
        wal.push("-wal");
        Ok((pages * read("page_size")?).cast_unsigned() + fs::metadata(wal).map_or(0, |wal| wal.len()))
    }

    /// Lets go of some batches: settled ones if there are any, else the oldest, with a gap. Never of the newest one,
    /// because its row is what later rows are counted from.
    pub(super) fn evict_some(&mut self) -> Result<Ranges, BufferError> {
        self.flush_marks()?;
        let newest = self.next_row.saturating_sub(1);
        for range in self.settled()?.iter() {
            let gone = self.evict_within(range, newest, None)?;
            if !gone.is_empty() {
                return Ok(gone);
            }
        }
        self.evict_within(Range { first: 0, last: newest }, newest, Some("evicted"))
    }

    /// Evicts the oldest run of batches of `within`, about [`EVICT_BYTES`] of them, and notes a gap if a reason is given.
    fn evict_within(&mut self, within: Range, newest: u64, gap: Option<&str>) -> Result<Ranges, BufferError> {
        let transaction = self.connection.transaction()?;
        let (mut gone, mut bytes, mut readings) = (Ranges::new(), 0_u64, 0_i64);
        {
            let query =
                "select row, length(body), readings from batch where row between ? and ? and row < ? order by row";
            let mut statement = transaction.prepare_cached(query)?;
            let mut rows = statement.query([row_key(within.first), row_key(within.last), row_key(newest)])?;
            while let Some(row) = rows.next()? {
                let number: u64 = row.get::<_, i64>(0)?.cast_unsigned();
                if gone.last().is_some_and(|last| last + 1 != number) {
                    break; // one run at a time, so that a gap's readings are those of its rows
                }
                gone.insert(Range::one(number));
                bytes += row.get::<_, i64>(1)?.cast_unsigned() + ROW_BYTES;
                readings += row.get::<_, i64>(2)?;
                if bytes >= EVICT_BYTES {
                    break;
                }
            }
        }
        if gone.is_empty() {
            return Ok(gone);
        }
        let mut settled = super::rows::ranges(&transaction, "select first, last from settled order by first")?;
        for range in gone.iter() {
            let (first, last) = (row_key(range.first), row_key(range.last));
            transaction.execute("delete from batch where row between ? and ?", [first, last])?;
            if let Some(reason) = gap {
                let query = "insert into gap (first_row, last_row, readings, reason) values (?, ?, ?, ?)";
                transaction.execute(query, params![first, last, readings, reason])?;
            }
            settled.remove(range);
        }
        super::rows::write_settled(&transaction, &settled)?;
        if gap.is_some() {
            tally(&transaction, "evicted readings", readings.cast_unsigned())?;
        }
        transaction.commit()?;
        Ok(gone)
    }
}
