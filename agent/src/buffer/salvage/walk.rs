//! The batches of a damaged file: each that is what was stored is kept.

use proto::{Range, Ranges};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params_from_iter};

use crate::buffer::rows::{BATCH_COLUMNS, Stored, row_key, span_of};

/// No buffer lives to see this row: where a search ends.
const ROW_MAX: u64 = 1 << 40;
/// What is copied at once, in bytes of bodies.
const COPY_BYTES: u64 = 1024 * 1024;

/// What a walk came by.
pub(super) struct Walked {
    /// Rows that cannot be read, or are not what was stored.
    pub(super) lost: Ranges,
    /// The newest row that was there for sure.
    pub(super) last: u64,
    /// Batches whose epoch is not known.
    pub(super) strangers: u64,
    /// It came to the end.
    pub(super) ended: bool,
}

/// Copies the batches of `damaged` that are what was stored, but for those of `dispensable` rows.
pub(super) fn walk(
    damaged: &Connection,
    fresh: &mut Connection,
    epochs_whole: bool,
    dispensable: &Ranges,
) -> Result<Walked, rusqlite::Error> {
    let mut walk = Walk { damaged, fresh, lost: Ranges::new(), last: 0, strangers: 0, epochs_whole, dispensable };
    let ended = walk.all()?;
    Ok(Walked { lost: walk.lost, last: walk.last, strangers: walk.strangers, ended })
}

/// A walk over the damaged file's batches, around what cannot be read.
struct Walk<'a> {
    damaged: &'a Connection,
    fresh: &'a mut Connection,
    lost: Ranges,
    /// The newest row that was seen.
    last: u64,
    /// Batches whose epoch is not known: they cannot be sent.
    strangers: u64,
    /// No epoch is missing.
    epochs_whole: bool,
    /// Rows that need not be copied.
    dispensable: &'a Ranges,
}

/// How far a part of the walk came.
enum Part {
    /// To this row; there may be more.
    Paused(u64),
    /// To the end.
    Ended,
    /// What follows this row cannot be read.
    Stuck(u64),
}

impl Walk<'_> {
    /// Copies all that can be read. Answers whether the end was reached.
    fn all(&mut self) -> Result<bool, rusqlite::Error> {
        let mut from = 0;
        loop {
            match self.part(from)? {
                Part::Ended => return Ok(true),
                Part::Paused(row) => from = row + 1,
                Part::Stuck(row) => {
                    let resumed = self.resume_after(row + 1);
                    let until = resumed.map_or(ROW_MAX, |(works, _)| works);
                    self.lost.extend(Range::new(row + 1, until - 1));
                    match resumed {
                        // At a row that is there: each try has one less before it, however far apart they are.
                        Some((_, found)) => from = found,
                        None => return Ok(false),
                    }
                }
            }
        }
    }

    /// Copies about [`COPY_BYTES`] from row `from` on.
    fn part(&mut self, from: u64) -> Result<Part, rusqlite::Error> {
        let before = from.saturating_sub(1);
        // Of version 3, 2 and 1.
        let columns = ["priority, sum", "priority, null", "1, null"];
        let statement = columns.into_iter().find_map(|last| {
            let query =
                format!("select row, lane, readings, hash, body, {last} from batch where row >= ? order by row");
            self.damaged.prepare_cached(&query).ok()
        });
        let Some(mut statement) = statement else { return Ok(Part::Stuck(before)) };
        let Ok(mut rows) = statement.query([row_key(from)]) else { return Ok(Part::Stuck(before)) };
        let transaction = self.fresh.transaction()?;
        let (mut bytes, mut at) = (0, before);
        let part = loop {
            let Ok(row) = rows.next() else { break Part::Stuck(at) };
            let Some(row) = row else { break Part::Ended };
            let Ok(number) = row.get::<_, i64>(0) else { break Part::Stuck(at) };
            let number = number.cast_unsigned();
            at = at.max(number);
            match judge(&transaction, row, self.epochs_whole)? {
                Judged::Sound(batch) => {
                    if !self.dispensable.contains(number) {
                        put(&transaction, row)?;
                    }
                    bytes += batch.sealed.body.len() as u64;
                    self.last = self.last.max(number);
                }
                Judged::Damaged => {
                    self.lost.insert(Range::one(number));
                    // A number may be what is damaged; one that comes next in line is not.
                    if number == self.last + 1 {
                        self.last = number;
                    }
                }
                Judged::Stranger => self.strangers += 1,
            }
            if bytes >= COPY_BYTES {
                break Part::Paused(at);
            }
        };
        transaction.commit()?;
        Ok(part)
    }

    /// The lowest row from which the walk can go on, above `stuck`, and the first that is found from there: rows that
    /// share a broken page fail together.
    fn resume_after(&self, stuck: u64) -> Option<(u64, u64)> {
        let (mut fails, mut step) = (stuck, 1_u64);
        let (mut works, mut found) = loop {
            let row = stuck + step;
            if row > ROW_MAX {
                return None;
            }
            match self.first_from(row) {
                Some(found) => break (row, found),
                None => fails = row,
            }
            step *= 2;
        };
        while works - fails > 1 {
            let middle = fails + (works - fails) / 2;
            match self.first_from(middle) {
                Some(first) => (works, found) = (middle, first),
                None => fails = middle,
            }
        }
        Some((works, found))
    }

    /// The first row from `row` on. One that a broken page has out of its place is none.
    fn first_from(&self, row: u64) -> Option<u64> {
        let query = "select row from batch where row >= ? order by row limit 1";
        let mut statement = self.damaged.prepare_cached(query).ok()?;
        let found = statement.query_row([row_key(row)], |row| row.get::<_, i64>(0)).optional().ok()??;
        Some(found.cast_unsigned()).filter(|found| (row..=ROW_MAX).contains(found))
    }
}

fn put(transaction: &Transaction<'_>, row: &Row<'_>) -> Result<(), rusqlite::Error> {
    let values: Vec<Value> = (0..7).map(|column| row.get(column)).collect::<Result<_, _>>()?;
    let query = format!("insert or ignore into batch ({BATCH_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?)");
    match transaction.prepare_cached(&query)?.execute(params_from_iter(values)) {
        Err(error) if error.sqlite_error_code() != Some(rusqlite::ErrorCode::ConstraintViolation) => Err(error),
        _ => Ok(()),
    }
}

/// What a batch of the damaged file is.
enum Judged {
    Sound(Stored),
    Damaged,
    /// Its epoch may be one that is missing.
    Stranger,
}

fn judge(fresh: &Connection, row: &Row<'_>, epochs_whole: bool) -> Result<Judged, rusqlite::Error> {
    let Ok(batch) = Stored::read(row) else { return Ok(Judged::Damaged) };
    if !batch.sealed.is_intact() {
        return Ok(Judged::Damaged);
    }
    Ok(match span_of(fresh, batch.row)? {
        None => Judged::Stranger,
        Some((span, _)) if batch.is_at_home_in(span.epoch) => Judged::Sound(batch),
        Some(_) if epochs_whole => Judged::Damaged,
        Some(_) => Judged::Stranger,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_cannot_be_read_is_passed_in_one_step_however_far_from_the_others_it_is() {
        const FAR: u64 = 1 << 39;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.db");
        let db = Connection::open(&path).unwrap();
        // Its body lies on pages behind all others, each of which begins with the number of the next.
        let body = vec![7; 20_000];
        db.execute_batch("create table batch (row integer primary key, lane, readings, hash, body)").unwrap();
        for (row, body) in [(1, &body[..1]), (row_key(FAR), &body)] {
            db.execute("insert into batch values (?, 0, 1, x'00', ?)", (row, body)).unwrap();
        }
        drop(db);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let page = file.metadata().unwrap().len() - 2 * 4096;
        std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 4], page).unwrap();

        let damaged = Connection::open(&path).unwrap();
        let mut fresh = Connection::open_in_memory().unwrap();
        fresh.execute_batch("create table epoch (epoch, base, boot, sum)").unwrap();
        let walked = walk(&damaged, &mut fresh, true, &Ranges::new()).unwrap();
        assert!(walked.lost.contains(FAR) && !walked.ended, "{:?}", walked.lost);
    }
}
