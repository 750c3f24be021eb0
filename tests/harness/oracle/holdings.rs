//! What an agent's buffer says: which batches it has, which of them receipts cover, and where its sources stand.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::Connection;

use super::Place;
use super::ledger::open;

/// An agent's buffer, without what is in its batches.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    /// Epochs in the order of the agent's starts, with the highest number that was given in each.
    pub epochs: Vec<([u8; 8], i64)>,
    /// Batches, and how many readings each has.
    pub batches: HashMap<Place, u64>,
    /// What receipts cover: epoch, first and last number.
    pub covered: Vec<([u8; 8], i64, i64)>,
    /// How many bytes of its file each file source has taken in.
    pub offsets: HashMap<String, u64>,
}

impl Holdings {
    /// Reads all of it but bodies, whether the agent runs or not.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(buffer: &Path) -> rusqlite::Result<Self> {
        let Some(db) = open_made(buffer)? else { return Ok(Self::default()) };
        let mut list = db.prepare("select row, readings from batch order by row")?;
        let batches: Vec<(i64, i64)> =
            list.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        Self::with(&db, &batches)
    }

    /// The same with no batch but the newest, which says what was given last: quick, while things run.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read_marks(buffer: &Path) -> rusqlite::Result<Self> {
        let Some(db) = open_made(buffer)? else { return Ok(Self::default()) };
        let mut newest = db.prepare("select row, readings from batch order by row desc limit 1")?;
        let batches: Vec<(i64, i64)> =
            newest.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        Self::with(&db, &batches)
    }

    fn with(db: &Connection, batches: &[(i64, i64)]) -> rusqlite::Result<Self> {
        let mut epochs = db.prepare("select epoch, base from epoch order by base")?;
        let bases: Vec<([u8; 8], i64)> =
            epochs.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        // What was given last may have left again: with a gap, or because the cloud has it.
        let given =
            "select max(coalesce((select max(last_row) from gap), 0), coalesce((select max(last) from settled), 0))";
        let gone: i64 = db.query_row(given, [], |row| row.get(0))?;
        let newest = batches.last().map_or(0, |batch| batch.0).max(gone);
        let until = |index: usize| bases.get(index + 1).map_or(newest, |next: &([u8; 8], i64)| next.1);
        let spans: Vec<([u8; 8], i64, i64)> =
            bases.iter().enumerate().map(|(index, (epoch, base))| (*epoch, *base, until(index))).collect();
        let place = |row: i64| {
            let span = spans.iter().rev().find(|(_, base, _)| *base < row)?;
            Some((span.0, row - span.1))
        };
        let mut holdings =
            Self { epochs: spans.iter().map(|(epoch, base, last)| (*epoch, last - base)).collect(), ..Self::default() };
        for (row, readings) in batches {
            holdings.batches.extend(place(*row).map(|place| (place, readings.unsigned_abs())));
        }
        let mut settled = db.prepare("select first, last from settled order by first")?;
        let mut rows = settled.query([])?;
        while let Some(row) = rows.next()? {
            let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
            for (epoch, base, end) in &spans {
                let (from, to) = (first.max(base + 1), last.min(*end));
                if from <= to {
                    holdings.covered.push((*epoch, from - base, to - base));
                }
            }
        }
        let mut cursors = db.prepare("select source, position from cursor")?;
        let mut rows = cursors.query([])?;
        while let Some(row) = rows.next()? {
            let position: serde_json::Value = serde_json::from_slice(&row.get::<_, Vec<u8>>(1)?).unwrap_or_default();
            if let Some(offset) = position["offset"].as_u64() {
                holdings.offsets.insert(row.get(0)?, offset);
            }
        }
        Ok(holdings)
    }
}

/// A buffer in which tables have been made, with a transaction begun; none where its agent did not get that far.
fn open_made(buffer: &Path) -> rusqlite::Result<Option<Connection>> {
    let db = open(buffer)?;
    db.execute_batch("begin")?;
    let sql = "select exists (select 1 from sqlite_master where name = 'batch')";
    let is_made: bool = db.query_row(sql, [], |row| row.get(0))?;
    Ok(is_made.then_some(db))
}
