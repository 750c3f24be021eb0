//! A buffer's file as it is, read with the judge's own SQL.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// A buffer's content.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Hash and body by row.
    pub(crate) batches: BTreeMap<u64, (Vec<u8>, Vec<u8>)>,
    pub(crate) cursors: BTreeMap<String, Vec<u8>>,
    pub(crate) settled: BTreeSet<u64>,
    pub(crate) gaps: BTreeSet<u64>,
    /// The epochs by base.
    pub(crate) epochs: BTreeMap<u64, Vec<u8>>,
}

impl Seen {
    /// Reads the file beside the agent that has it open. Fails when it is damaged anywhere.
    pub(crate) fn read(folder: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let file = Connection::open_with_flags(folder.join("buffer.db"), flags)?;
        let check: String = file.query_row("pragma integrity_check(1)", [], |row| row.get(0))?;
        if check != "ok" {
            let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(rusqlite::Error::SqliteFailure(corrupt, Some(check)));
        }
        let mut seen = Self::default();
        let mut query = file.prepare("select row, hash, body from batch")?;
        let batches = query.query_map([], |row| Ok((unsigned(row, 0)?, (row.get(1)?, row.get(2)?))))?;
        seen.batches = batches.collect::<Result<_, _>>()?;
        let mut query = file.prepare("select source, position from cursor")?;
        seen.cursors = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let mut query = file.prepare("select base, epoch from epoch")?;
        seen.epochs = query.query_map([], |row| Ok((unsigned(row, 0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        seen.settled = rows(&file, "select first, last from settled")?;
        seen.gaps = rows(&file, "select first_row, last_row from gap where first_row is not null")?;
        Ok(seen)
    }

    /// The epoch and the number that `row` is sent under.
    pub(crate) fn identity(&self, row: u64) -> Option<(Vec<u8>, u64)> {
        let (base, epoch) = self.epochs.range(..row).next_back()?;
        Some((epoch.clone(), row - base))
    }
}

fn rows(file: &Connection, query: &str) -> rusqlite::Result<BTreeSet<u64>> {
    let mut query = file.prepare(query)?;
    let ranges = query.query_map([], |row| Ok(unsigned(row, 0)?..=unsigned(row, 1)?))?;
    let ranges = ranges.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(ranges.into_iter().flatten().collect())
}

fn unsigned(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}
