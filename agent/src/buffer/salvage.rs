//! What becomes of a damaged file: what is readable goes into a fresh one, the rest is a gap, and the file is set aside.
//!
//! The fresh file is made whole under another name first. From the moment it is called `.salvaged` it replaces the old
//! one, even if the agent is killed in between.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use proto::message::GapReason;
use proto::{Clock, Range, Ranges};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use self::walk::Walked;
use super::error::{beside, disk_bytes};
use super::gaps::{self, Noted};
use super::open::{cannot_open, connect};
use super::rows::{held, ranges, replace_settled, settled, span_of, write_counter};
use super::{BufferError, EpochSpan, Settings};

mod tables;
mod walk;

/// Damaged files that are kept for people to look at; the oldest goes beyond.
const KEPT_MAX: u64 = 3;

/// What an agent that runs knows beside what the file says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Living {
    pub(super) next_row: u64,
    pub(super) epoch: Option<EpochSpan>,
    pub(super) clock: Clock,
}

/// What a salvage could not keep.
pub(super) struct Salvaged {
    /// Rows that are gaps now.
    pub(super) lost: Ranges,
    /// There may be more: nobody can say which rows they had.
    pub(super) may_lack: bool,
}

/// Puts what is readable into a fresh file in the damaged one's place. `living` is given where an agent runs on it.
pub(super) fn salvage(
    settings: &Settings,
    living: Option<Living>,
    why: &(dyn std::error::Error + 'static),
) -> Result<Salvaged, BufferError> {
    let path = &settings.path;
    let cause = why.source();
    tracing::error!(path = %path.display(), %why, ?cause, "the buffer is damaged; saving what is readable");
    let making = beside(path, ".salvaging");
    let failed = |error: io::Error| cannot_open(rusqlite::Error::ToSqlConversionFailure(error.into()), path);
    remove(&making).map_err(failed)?;
    let is_tight = !make_space(path);
    let salvaged = write_fresh(settings, &making, living, is_tight);
    if salvaged.is_err() {
        let _ = remove(&making); // it may have taken the last of the disk
    }
    let salvaged = salvaged?;
    fs::rename(&making, beside(path, ".salvaged")).map_err(failed)?;
    finish(path).map_err(failed)?;
    let (lost, may_lack) = (salvaged.lost.count(), salvaged.may_lack);
    tracing::error!(lost, may_lack, "a fresh buffer holds what was readable; the damaged one is kept beside it");
    Ok(salvaged)
}

/// Whether the disk has room for a second copy of the file, if need be without the damaged files of earlier times.
fn make_space(path: &Path) -> bool {
    let bytes = |ending: &str| fs::metadata(beside(path, ending)).map_or(0, |file| file.len());
    let has_room = || disk_bytes(path).is_none_or(|(free, _)| free > bytes("") + bytes("-wal"));
    if has_room() {
        return true;
    }
    for number in 1..=KEPT_MAX {
        let _ = remove(&beside(path, &format!(".damaged-{number}")));
    }
    has_room()
}

/// Makes the fresh file at `making`. Where the disk `is_tight`, what receipts cover is left out.
fn write_fresh(
    settings: &Settings,
    making: &Path,
    living: Option<Living>,
    is_tight: bool,
) -> Result<Salvaged, BufferError> {
    let path = &settings.path;
    let mut fresh = connect(&Settings { path: making.into(), ..settings.clone() })?;
    let explain = |error| super::explain(error, path);
    let salvaged = {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let damaged = Connection::open_with_flags(path, flags).map_err(|error| cannot_open(error, path))?;
        damaged.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?; // it stays as it was found
        copy(&damaged, &mut fresh, living, is_tight).map_err(explain)?
    };
    fresh.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).map_err(explain)?;
    fresh.close().map_err(|(_, error)| explain(error))?;
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

fn copy(
    damaged: &Connection,
    fresh: &mut Connection,
    living: Option<Living>,
    is_tight: bool,
) -> Result<Salvaged, rusqlite::Error> {
    let next_row = living.map(|living| living.next_row);
    let transaction = fresh.transaction()?;
    let whole = tables::copy_all(damaged, &transaction, living)?;
    transaction.commit()?;
    let settled = settled(fresh)?;
    let dispensable = if is_tight { settled.clone() } else { Ranges::new() };
    let Walked { mut lost, last, strangers, ended } = walk::walk(damaged, fresh, whole.epochs, &dispensable)?;
    // What is known to have been there, at least.
    let query = "select max(coalesce((select max(last) from settled), 0), coalesce((select max(last_row) from gap), 0),
        coalesce((select value from counter where name = 'last row'), 0), coalesce((select max(base) + 1 from epoch), 0))";
    let known: i64 = fresh.query_row(query, [], |row| row.get(0))?;
    let last = next_row.map_or(last.max(known.cast_unsigned()), |next| next.saturating_sub(1));
    let mut beyond = false;
    if let Some(rows) = Range::new(last + 1, u64::MAX) {
        beyond = lost.within(rows).next().is_some();
        lost.remove(rows);
    }
    // A page that lies where another should is whole in itself, and hides what it replaced: so whatever is not here is
    // lost, from the oldest epoch on. What left because it was confirmed is named too; the gateway, which has it, knows.
    let oldest = "select coalesce(min(base) + 1, 1 << 62) from epoch";
    let oldest: i64 = fresh.query_row(oldest, [], |row| row.get(0))?;
    if let Some(all) = Range::new(oldest.cast_unsigned(), last) {
        let held = held(fresh)?;
        lost.extend(held.missing_in(all).iter());
    }
    for range in settled.iter() {
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
            gaps::note(&transaction, Noted::new(piece, None, GapReason::Damaged), epoch_rows, false)?;
            named.insert(piece);
            next = Range::new(piece.last.saturating_add(1), left.last);
        }
    }
    if is_tight {
        replace_settled(&transaction, &settled, &Ranges::new())?; // what is no longer here need not be known
    }
    write_counter(&transaction, last)?;
    transaction.commit()?;
    // A page that hides rows may have hidden the newest: only an agent that runs knows which that was.
    let may_lack =
        strangers > 0 || named != lost || (next_row.is_none() && (beyond || !lost.is_empty() || !(ended && whole.all)));
    Ok(Salvaged { lost: named, may_lack })
}
