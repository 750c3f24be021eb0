//! Who leaves when space is needed: first what receipts cover, oldest first; then, oldest first within the lowest
//! priority and with a gap, what they do not.

use std::fs;

use proto::message::GapReason;
use proto::{Range, Ranges};
use rusqlite::{Connection, Params, Transaction};

use super::error::{beside, disk_bytes};
use super::gaps::{self, Noted};
use super::rows::{replace_settled, row_key, span_of, tally, write_counter};
use super::{Append, Buffer};
use crate::source::Priority;

/// Bytes let go of at once, so that a full buffer does not evict on every append.
const EVICT_BYTES: u64 = 256 * 1024;
/// What a batch takes beside its body: row header, index, part of a page.
const ROW_BYTES: u64 = 64;
/// Free pages that an append may need beside those of its bodies: tables split, a gap is noted.
const SLACK_PAGES: u64 = 8;
/// On a small disk the floor is this share of it, so that it never forbids the disk's use.
const FLOOR_SHARE: u64 = 16;
/// A file below this may grow in spite of the floor: else an agent on a disk that others fill would keep next to nothing.
const FLOOR_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// Unknown epoch: the rows keep to themselves.
const ALL_ROWS: Range = Range { first: 0, last: u64::MAX };

/// Consecutive rows of one epoch.
struct Piece {
    rows: Range,
    epoch_rows: Range,
    readings: u64,
}

impl Buffer {
    /// Lets go of batches until `append` fits under the cap and leaves the disk its floor.
    pub(super) fn make_room(&mut self, append: &Append) -> Result<(), rusqlite::Error> {
        if self.expiring {
            self.expiring = self.evict_old()?;
        }
        while self.is_short_of_room(append)? && self.evict_some()? {}
        Ok(()) // where nothing is left to go, the append itself is larger than the bounds, and is let in
    }

    fn is_short_of_room(&self, append: &Append) -> Result<bool, rusqlite::Error> {
        let read = |pragma| self.connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let (pages, free_pages) = (read("page_count")?.cast_unsigned(), read("freelist_count")?.cast_unsigned());
        let wal = fs::metadata(beside(&self.settings.path, "-wal")).map_or(0, |wal| wal.len());
        let used = (pages - free_pages) * self.page_bytes + wal;
        if used + incoming(append) > self.settings.bytes_max {
            return Ok(true);
        }
        // What the reserve gave up is for work on what is there, not for growth.
        let must_not_grow = !self.reserve.is_held() || (used >= FLOOR_FILE_BYTES && self.is_below_floor());
        Ok(must_not_grow && free_pages < self.pages_for(append))
    }

    /// Whether the disk has fewer free bytes than it is to be left.
    fn is_below_floor(&self) -> bool {
        let floor = self.settings.free_bytes_min;
        let short = |(free, all): (u64, u64)| free < floor.min(all / FLOOR_SHARE);
        floor > 0 && disk_bytes(&self.settings.path).is_some_and(short)
    }

    fn pages_for(&self, append: &Append) -> u64 {
        incoming(append) / self.page_bytes + SLACK_PAGES
    }

    /// Lets go of batches until the file itself has the pages that `append` needs: the disk gives none any more.
    pub(super) fn make_room_within(&mut self, append: &Append) -> Result<(), rusqlite::Error> {
        let needed = row_key(self.pages_for(append));
        while self.connection.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0))? < needed
            && self.evict_some()?
        {}
        Ok(())
    }

    /// Lets go of some batches; false when there are none.
    fn evict_some(&mut self) -> Result<bool, rusqlite::Error> {
        if self.evict_settled(u64::MAX)? {
            return Ok(true);
        }
        for priority in [Priority::Low, Priority::Normal, Priority::High] {
            if self.evict_unsettled(priority)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lets go of settled batches that have been here for 30 days of uptime; true when there may be more of them.
    fn evict_old(&mut self) -> Result<bool, rusqlite::Error> {
        match self.upkeep.old_row(&self.connection)? {
            Some(row) => self.evict_settled(row),
            None => Ok(false),
        }
    }

    /// Lets go of the oldest settled batches up to row `last`; no gap, the gateway has them.
    fn evict_settled(&mut self, last: u64) -> Result<bool, rusqlite::Error> {
        self.write_marks()?; // what the gateway lost is not settled after all
        let settled = self.settled()?;
        let transaction = self.connection.transaction()?;
        let (mut gone, mut kept, mut bytes) = (Ranges::new(), settled.clone(), 0);
        for range in settled.within(Range { first: 0, last }) {
            let query = "select row, length(body), readings from batch where row between ? and ? order by row";
            let pieces = gather(&transaction, query, [row_key(range.first), row_key(range.last)], &mut bytes)?;
            gone.extend(pieces.iter().map(|piece| piece.rows));
            if bytes >= EVICT_BYTES {
                gone.iter().for_each(|rows| kept.remove(rows));
                break;
            }
            kept.remove(range); // all of it: what is settled and no longer here need not be known
        }
        if kept == settled {
            return Ok(false);
        }
        delete(&transaction, &gone)?;
        replace_settled(&transaction, &settled, &kept)?;
        write_counter(&transaction, self.next_row - 1)?;
        transaction.commit()?;
        self.untold.evicted.extend(gone.iter());
        Ok(!gone.is_empty())
    }

    /// Lets go of the oldest batches of `priority`, with a gap. What is settled has left before.
    fn evict_unsettled(&mut self, priority: Priority) -> Result<bool, rusqlite::Error> {
        let transaction = self.connection.transaction()?;
        let mut bytes = 0;
        let pieces = if priority == Priority::Normal {
            let query = "select row, length(body), readings from batch where row >= ? and priority = 1 order by row";
            gather(&transaction, query, [row_key(self.normal_from)], &mut bytes)?
        } else {
            let query = "select row, length(body), readings from batch
                where priority <> 1 and priority = ? order by row";
            gather(&transaction, query, [priority as i64], &mut bytes)?
        };
        let Some(last) = pieces.last().map(|piece| piece.rows.last) else { return Ok(false) };
        let gone: Ranges = pieces.iter().map(|piece| piece.rows).collect();
        delete(&transaction, &gone)?;
        let crowded = gaps::is_crowded(&transaction)?;
        let mut readings = 0;
        for piece in pieces {
            readings += piece.readings;
            gaps::note(
                &transaction,
                Noted::new(piece.rows, Some(piece.readings), GapReason::Evicted),
                piece.epoch_rows,
                crowded,
            )?;
        }
        tally(&transaction, "evicted readings", readings)?;
        write_counter(&transaction, self.next_row - 1)?;
        transaction.commit()?;
        if priority == Priority::Normal {
            self.normal_from = last + 1; // rows only grow, so nothing normal is ever below
        }
        self.untold.evicted.extend(gone.iter());
        self.untold.gaps.extend(gone.iter());
        Ok(true)
    }

    /// Lets go of one batch that is not what was sealed, with a gap.
    pub(super) fn give_up(&mut self, row: u64) -> Result<(), rusqlite::Error> {
        let gone = Ranges::from_iter([Range::one(row)]);
        let transaction = self.connection.transaction()?;
        delete(&transaction, &gone)?;
        let epoch_rows = span_of(&transaction, row)?.map_or(ALL_ROWS, |(_, rows)| rows);
        gaps::note(&transaction, Noted::new(Range::one(row), None, GapReason::Damaged), epoch_rows, false)?;
        tally(&transaction, "damaged batches", 1)?;
        write_counter(&transaction, self.next_row - 1)?;
        transaction.commit()?;
        tracing::error!(row, "a batch is not what was sealed; it is a gap now: is the disk failing?");
        self.untold.evicted.extend(gone.iter());
        self.untold.gaps.extend(gone.iter());
        Ok(())
    }
}

fn incoming(append: &Append) -> u64 {
    append.batches.iter().map(|batch| batch.sealed.body.len() as u64 + ROW_BYTES).sum()
}

fn delete(transaction: &Transaction<'_>, rows: &Ranges) -> Result<(), rusqlite::Error> {
    for range in rows.iter() {
        let bounds = [row_key(range.first), row_key(range.last)];
        transaction.prepare_cached("delete from batch where row between ? and ?")?.execute(bounds)?;
        transaction.prepare_cached("delete from aside where row between ? and ?")?.execute(bounds)?;
    }
    Ok(())
}

/// The first batches that `query` finds, until `bytes` come to [`EVICT_BYTES`], in pieces whose readings are known.
fn gather(
    connection: &Connection,
    query: &str,
    params: impl Params,
    bytes: &mut u64,
) -> Result<Vec<Piece>, rusqlite::Error> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query(params)?;
    let mut pieces: Vec<Piece> = Vec::new();
    while *bytes < EVICT_BYTES
        && let Some(row) = rows.next()?
    {
        let number: u64 = row.get::<_, i64>(0)?.cast_unsigned();
        let readings = row.get::<_, i64>(2)?.cast_unsigned();
        *bytes += row.get::<_, i64>(1)?.cast_unsigned() + ROW_BYTES;
        match pieces.last_mut().filter(|last| last.rows.last + 1 == number && last.epoch_rows.contains(number)) {
            Some(last) => {
                last.rows.last = number;
                last.readings += readings;
            }
            None => {
                let epoch_rows = span_of(connection, number)?.map_or(ALL_ROWS, |(_, rows)| rows);
                pieces.push(Piece { rows: Range::one(number), epoch_rows, readings });
            }
        }
    }
    Ok(pieces)
}
