//! What becomes of a damaged file: what is readable goes into a fresh one, the rest is a gap, and the file is set aside.
//!
//! The fresh file is made whole under another name first. From the moment it is called `.salvaged` it replaces the old
//! one, even if the agent is killed in between.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use proto::message::GapReason;
use proto::{BodyHash, Range, Ranges};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, params_from_iter, types::Value};

use super::error::beside;
use super::gaps::{self, Noted};
use super::open::{cannot_open, connect};
use super::rows::{held, ranges, row_key, span_of, write_counter};
use super::{BufferError, Settings};

/// Damaged files that are kept for people to look at; the oldest goes beyond.
const KEPT_MAX: u64 = 3;
/// No buffer lives to see this row: where a search ends.
const ROW_MAX: u64 = 1 << 40;
/// What is copied at once, in bytes of bodies.
const COPY_BYTES: u64 = 1024 * 1024;
/// Tables that are copied as they are, as far as they are readable.
const TABLES: [(&str, &str); 10] = [
    ("epoch", "id, epoch, boot, base"),
    ("boot", "boot, offset_us, quality"),
    ("settled", "first, last"),
    ("gap", "first_row, last_row, readings, reason, source, from_us, until_us, confirmed"),
    ("cursor", "source, position"),
    ("aside", "row, reason"),
    ("age", "hour, last_row"),
    ("counter", "name, value"),
    ("tally", "name, count"),
    ("reject", "id, source, place, reason, bytes"),
];

/// What a salvage could not keep.
pub(super) struct Salvaged {
    /// Rows that are gaps now.
    pub(super) lost: Ranges,
    /// There may be more: nobody can say which rows they had.
    pub(super) may_lack: bool,
}

/// Puts what is readable into a fresh file in the damaged one's place. `next_row` is given where it is known.
pub(super) fn salvage(
    settings: &Settings,
    next_row: Option<u64>,
    why: &(dyn std::error::Error + 'static),
) -> Result<Salvaged, BufferError> {
    let path = &settings.path;
    let cause = why.source();
    tracing::error!(path = %path.display(), %why, ?cause, "the buffer is damaged; saving what is readable");
    let making = beside(path, ".salvaging");
    let failed = |error: io::Error| cannot_open(rusqlite::Error::ToSqlConversionFailure(error.into()), path);
    remove(&making).map_err(failed)?;
    let mut fresh = connect(&Settings { path: making.clone(), ..settings.clone() })?;
    let explain = |error| super::explain(error, path);
    let salvaged = {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let damaged = Connection::open_with_flags(path, flags).map_err(|error| cannot_open(error, path))?;
        damaged.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?; // it stays as it was found
        copy(&damaged, &mut fresh, next_row).map_err(explain)?
    };
    fresh.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).map_err(explain)?;
    fresh.close().map_err(|(_, error)| explain(error))?;
    fs::rename(&making, beside(path, ".salvaged")).map_err(failed)?;
    finish(path).map_err(failed)?;
    let (lost, may_lack) = (salvaged.lost.count(), salvaged.may_lack);
    tracing::error!(lost, may_lack, "a fresh buffer holds what was readable; the damaged one is kept beside it");
    Ok(salvaged)
}

/// Puts a finished fresh file in the damaged one's place, if there is one.
pub(super) fn finish(path: &Path) -> io::Result<()> {
    let salvaged = beside(path, ".salvaged");
    if !fs::exists(&salvaged)? {
        return Ok(());
    }
    let aside = |number: u64| beside(path, &format!(".damaged-{number}"));
    let number = (1..).find(|number| !fs::exists(aside(*number)).unwrap_or(false)).unwrap_or(1);
    if fs::exists(path)? {
        for ending in ["-wal", "-shm", ""] {
            match fs::rename(beside(path, ending), beside(&aside(number), ending)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    fs::rename(&salvaged, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    // Names move up, so that the newest always has the highest number.
    if number > KEPT_MAX {
        remove(&aside(1))?;
        for number in 2..=number {
            for ending in ["-wal", "-shm", ""] {
                let _ = fs::rename(beside(&aside(number), ending), beside(&aside(number - 1), ending));
            }
        }
    }
    Ok(())
}

/// Removes a database with what lies beside it.
fn remove(path: &Path) -> io::Result<()> {
    for ending in ["-wal", "-shm", ""] {
        match fs::remove_file(beside(path, ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn copy(damaged: &Connection, fresh: &mut Connection, next_row: Option<u64>) -> Result<Salvaged, rusqlite::Error> {
    let transaction = fresh.transaction()?;
    let mut whole = true;
    for (table, columns) in TABLES {
        whole &= copy_table(damaged, &transaction, table, columns)?;
    }
    transaction.commit()?;
    let mut walk = Walk { damaged, fresh, lost: Ranges::new(), last: 0, strangers: 0 };
    let ended = walk.all()?;
    let Walk { mut lost, last, strangers, .. } = walk;
    // What is known to have been there, at least.
    let query = "select max(coalesce((select max(last) from settled), 0), coalesce((select max(last_row) from gap), 0),
        coalesce((select value from counter where name = 'last row'), 0), coalesce((select max(base) + 1 from epoch), 0))";
    let known: i64 = fresh.query_row(query, [], |row| row.get(0))?;
    let last = next_row.map_or(last.max(known.cast_unsigned()), |next| next.saturating_sub(1));
    if let Some(beyond) = Range::new(last + 1, u64::MAX) {
        lost.remove(beyond);
    }
    // A page that lies where another should is whole in itself, and hides what it replaced: so whatever is not here is
    // lost, from the oldest epoch on. What left because it was confirmed is named too; the gateway, which has it, knows.
    let oldest = "select coalesce(min(base) + 1, 1 << 62) from epoch";
    let oldest: i64 = fresh.query_row(oldest, [], |row| row.get(0))?;
    if let Some(all) = Range::new(oldest.cast_unsigned(), last) {
        let held = held(fresh)?;
        lost.extend(held.missing_in(all).iter());
    }
    for range in ranges(fresh, "select first, last from settled order by first")?.iter() {
        lost.remove(range);
    }
    for range in ranges(fresh, "select first_row, last_row from gap order by first_row")?.iter() {
        lost.remove(range);
    }
    let transaction = fresh.transaction()?;
    let mut named = Ranges::new();
    for range in lost.iter() {
        let mut next = Some(range);
        while let Some(left) = next {
            let Some((_, epoch_rows)) = span_of(&transaction, left.first)? else { break };
            let Some(piece) = left.intersect(epoch_rows) else { break };
            gaps::note(&transaction, Noted::new(piece, None, GapReason::Damaged), epoch_rows)?;
            named.insert(piece);
            next = Range::new(piece.last.saturating_add(1), left.last);
        }
    }
    write_counter(&transaction, last)?;
    transaction.commit()?;
    let may_lack = strangers > 0 || named != lost || (next_row.is_none() && !(ended && whole));
    Ok(Salvaged { lost: named, may_lack })
}

/// Copies the rows that can be read; false when that were not all.
fn copy_table(
    damaged: &Connection,
    transaction: &Transaction<'_>,
    table: &str,
    columns: &str,
) -> Result<bool, rusqlite::Error> {
    let count = columns.split(',').count();
    let marks = vec!["?"; count].join(", ");
    let mut insert = transaction.prepare(&format!("insert or ignore into {table} ({columns}) values ({marks})"))?;
    let Ok(mut statement) = damaged.prepare(&format!("select {columns} from {table}")) else { return Ok(false) };
    let Ok(mut rows) = statement.query([]) else { return Ok(false) };
    loop {
        match rows.next() {
            Ok(None) => return Ok(true),
            Err(_) => return Ok(false),
            Ok(Some(row)) => {
                let values: Result<Vec<Value>, _> = (0..count).map(|column| row.get(column)).collect();
                let done = values.and_then(|values| insert.execute(params_from_iter(values)));
                // A row that its table does not take is one that was damaged; a full disk is another matter.
                if let Err(error) = done
                    && error.sqlite_error_code().is_some_and(|code| code != rusqlite::ErrorCode::ConstraintViolation)
                {
                    return Err(error);
                }
            }
        }
    }
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
                    let until = resumed.unwrap_or(ROW_MAX);
                    self.lost.extend(Range::new(row + 1, until - 1));
                    match resumed {
                        Some(resumed) => from = resumed,
                        None => return Ok(false),
                    }
                }
            }
        }
    }

    /// Copies about [`COPY_BYTES`] from row `from` on.
    fn part(&mut self, from: u64) -> Result<Part, rusqlite::Error> {
        let before = from.saturating_sub(1);
        let query = "select row, lane, readings, hash, body, priority from batch where row >= ? order by row";
        let first = "select row, lane, readings, hash, body, 1 from batch where row >= ? order by row";
        let statement = self.damaged.prepare_cached(query).or_else(|_| self.damaged.prepare_cached(first));
        let Ok(mut statement) = statement else { return Ok(Part::Stuck(before)) };
        let Ok(mut rows) = statement.query([row_key(from)]) else { return Ok(Part::Stuck(before)) };
        let transaction = self.fresh.transaction()?;
        let (mut bytes, mut at) = (0, before);
        let part = loop {
            let Ok(row) = rows.next() else { break Part::Stuck(at) };
            let Some(row) = row else { break Part::Ended };
            let Ok(number) = row.get::<_, i64>(0) else { break Part::Stuck(at) };
            at = number.cast_unsigned().max(at);
            let intact = row.get(3).ok().zip(row.get_ref(4).ok()).and_then(|(hash, body)| {
                body.as_blob().ok().filter(|body| BodyHash::of(body) == BodyHash(hash)).map(<[u8]>::len)
            });
            match intact {
                Some(_) if span_of(&transaction, number.cast_unsigned())?.is_none() => self.strangers += 1,
                Some(length) => {
                    put(&transaction, row)?;
                    bytes += length as u64;
                }
                None => self.lost.insert(Range::one(number.cast_unsigned())),
            }
            if bytes >= COPY_BYTES {
                break Part::Paused(at);
            }
        };
        transaction.commit()?;
        self.last = self.last.max(at);
        Ok(part)
    }

    /// The lowest row from which the walk can go on, above `stuck`: rows that share a broken page fail together.
    fn resume_after(&self, stuck: u64) -> Option<u64> {
        let probe = |row: u64| {
            let query = "select row from batch where row >= ? order by row limit 1";
            let mut statement = self.damaged.prepare_cached(query).ok()?;
            statement.query_row([row_key(row)], |row| row.get::<_, i64>(0)).optional().ok()
        };
        let (mut fails, mut step) = (stuck, 1_u64);
        let mut works = loop {
            let row = stuck + step;
            if row > ROW_MAX {
                return None;
            }
            match probe(row) {
                Some(Some(_)) => break row,
                Some(None) | None => fails = row,
            }
            step *= 2;
        };
        while works - fails > 1 {
            let middle = fails + (works - fails) / 2;
            if matches!(probe(middle), Some(Some(_))) { works = middle } else { fails = middle }
        }
        Some(works)
    }
}

fn put(transaction: &Transaction<'_>, row: &Row<'_>) -> Result<(), rusqlite::Error> {
    let values: Vec<Value> = (0..6).map(|column| row.get(column)).collect::<Result<_, _>>()?;
    let query = "insert or ignore into batch (row, lane, readings, hash, body, priority) values (?, ?, ?, ?, ?, ?)";
    match transaction.prepare_cached(query)?.execute(params_from_iter(values)) {
        Err(error) if error.sqlite_error_code() != Some(rusqlite::ErrorCode::ConstraintViolation) => Err(error),
        _ => Ok(()),
    }
}
