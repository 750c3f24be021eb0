//! Into SQLite, beside bare SQLite.

use std::cell::Cell;
use std::path::Path;
use std::time::Instant;

use gateway::store::sqlite::Store;
use rusqlite::Connection;

use super::fed::fed;
use super::load::{Load, Shape, Stored};
use crate::Bench;
use crate::rounds::{alternate, float, rate};
use crate::stores::of_file;
use crate::table::{Limit, Measure, Table};

/// Half a million readings.
const SHAPE: Shape = Shape { devices: 4, batches_a_frame: 16, frames: 80 };
/// The gateway's own settings of the connection that writes.
const PRAGMAS: &str = "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on;
    pragma journal_size_limit = 67108864; pragma wal_autocheckpoint = 4000; pragma cache_size = -16384;";

/// Takes the measures of this store.
///
/// # Errors
/// When something cannot be written.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let load = Load::new(Shape { frames: bench.size(SHAPE.frames), ..SHAPE })?;
    let commits = Cell::new(1_u64);
    let (mut stored, mut settings) = (0.0, String::new());
    let compared = alternate(
        bench.rounds(),
        || {
            let path = bench.fresh("pipeline")?.join("gateway.db");
            let Store { writer, reader: _reader } = Store::open(&path, gateway::now)?;
            let fed = fed(writer, &load, || Ok(()))?;
            commits.set(fed.commits);
            stored = bytes_a_reading(&path, load.rows.len())?;
            settings = of_file(&path, "gateway")?;
            Ok(fed.rate)
        },
        || bare(&bench.fresh("bare")?, &load, commits.get()),
    )?;
    let measure = Measure::new("gateway_sqlite", compared.ours, "readings/s")
        .against("bare rusqlite", compared.theirs)
        .limit(Limit::RatioAtLeast(0.7))
        .note(format!("{}, {} commits each", load.words(), commits.get()))
        .note("both with 4 KiB pages, checkpoint at 4000 pages, cache 16 MiB, and table and index of the gateway")
        .note(format!("{} rows read back from each file after each round; {settings}", load.rows.len()))
        .note(compared.words());
    table.add(&measure);
    let note = format!(
        "file after a checkpoint, {} rows read back; ledger, index and registry included; {settings}",
        load.rows.len()
    );
    table.add(&Measure::new("stored_sqlite", stored, "B/reading").note(note));
    Ok(())
}

/// Inserts the same rows into the same table, evenly in `commits`.
fn bare(folder: &Path, load: &Load, commits: u64) -> anyhow::Result<f64> {
    let path = folder.join("gateway.db");
    drop(Store::open(&path, gateway::now)?); // makes table and index as the gateway has them
    let connection = Connection::open(&path)?;
    connection.execute_batch(PRAGMAS)?;
    let (mut begin, mut commit) = (connection.prepare("begin immediate")?, connection.prepare("commit")?);
    let mut insert = connection.prepare(
        "insert into reading (tenant, series, time_us, ordinal, value, form, quality, epoch, number, flags)
         values (1, ?, ?, 0, ?, 0, 3, ?, ?, 0)",
    )?;
    let mut write = |rows: &[Stored]| -> rusqlite::Result<()> {
        begin.execute([])?;
        for Stored { key, row, number } in rows {
            insert.execute((key, row.time_us, row.value, key, number))?;
        }
        commit.execute([]).map(drop)
    };
    let (warm, counting) = load.rows();
    write(warm)?;
    let start = Instant::now();
    counting.chunks(counting.len().div_ceil(usize::try_from(commits)?.max(1))).try_for_each(&mut write)?;
    let rate = rate(counting.len(), start.elapsed());
    let count: i64 = connection.query_row("select count(*) from reading", [], |row| row.get(0))?;
    anyhow::ensure!(usize::try_from(count)? == load.rows.len(), "{count} of {} rows are there", load.rows.len());
    Ok(rate)
}

fn bytes_a_reading(path: &Path, readings: usize) -> anyhow::Result<f64> {
    let connection = Connection::open(path)?;
    connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))?;
    let count: i64 = connection.query_row("select count(*) from reading", [], |row| row.get(0))?;
    anyhow::ensure!(usize::try_from(count)? == readings, "{count} of {readings} rows are there");
    Ok(float(usize::try_from(std::fs::metadata(path)?.len())?) / float(readings))
}
