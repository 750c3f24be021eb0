//! How fast readings are accepted, that is on disk, beside bare SQLite that writes the same bytes in the same commits;
//! and the same with the sealing that comes before.

use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};

use agent::buffer::{Append, Batch, Buffer, Settings};
use agent::source::Priority;
use proto::frame::Sealed;
use proto::{Body, Lane};
use rusqlite::{Connection, OpenFlags, params};

use crate::Bench;
use crate::data::{CLOCK, HOUSEHOLD_SERIES, Household, START_US};
use crate::rounds::{alternate, rate};
use crate::stores::of_file;
use crate::table::{Limit, Measure, Table};

/// A cursor such as a source hands over with each append.
pub(crate) const CURSOR: &[u8] = br#"{"version":1,"start_us":1795132800000000,"steps":40000}"#;
/// More than any measure writes, so that nothing is evicted.
const BYTES_MAX: u64 = 4 << 30;
/// The agent's own settings, as `agent::buffer` states and checks them.
const PRAGMAS: &str = "pragma journal_mode = wal; pragma synchronous = full; pragma wal_autocheckpoint = 512;
    pragma journal_size_limit = 4194304; pragma cache_size = -256; pragma mmap_size = 0;";
/// What bytes an append keeps: a body with its hash, and the source's cursor.
const SCHEMA: &str = "create table batch (id integer primary key, hash blob not null, body blob not null) strict;
    create table cursor (source text primary key, position blob not null) strict, without rowid;";

/// Takes the measures of this group.
///
/// # Errors
/// When something cannot be written.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let household = Household::new();
    let small: Vec<Body> = (0..bench.size(4_000)).map(|second| household.body(START_US, second, 1)).collect();
    compare(bench, "agent_accept", &small, table)?;
    let seconds = 4_096 / HOUSEHOLD_SERIES;
    let large: Vec<Body> =
        (0..bench.size(200)).map(|place| household.body(START_US, place * seconds, seconds)).collect();
    compare(bench, "agent_accept.4096", &large, table)
}

fn compare(bench: &Bench, name: &str, bodies: &[Body], table: &mut Table) -> anyhow::Result<()> {
    let readings: usize = bodies.iter().map(Body::readings).sum();
    let appends = bodies.iter().map(append_of).collect::<anyhow::Result<Vec<_>>>()?;
    let sealed = || appends.iter().flat_map(|append| append.batches.iter().map(|batch| &batch.sealed));
    let bytes: usize = sealed().map(|sealed| sealed.body.len()).sum();
    let bare = || Ok(rate(readings, bare(&bench.fresh("bare")?, sealed())?));
    let proof = RefCell::new(String::new());
    let rate_of = |(took, words)| {
        proof.replace(words);
        rate(readings, took)
    };
    let stored = || accept(&bench.fresh("accept")?, appends.iter().map(|append| Ok(append.clone()))).map(rate_of);
    let compared = alternate(bench.rounds(), stored, bare)?;
    let each = readings / bodies.len();
    let size = format!("{} commits of {each} readings, {bytes} bytes of bodies", bodies.len());
    let measure = Measure::new(name, compared.ours, "readings/s")
        .against("bare rusqlite", compared.theirs)
        .limit(Limit::RatioAtLeast(0.5))
        .note(format!("{size}; both store a cursor in each commit, with the agent's settings"))
        .note(format!("after each round {}", proof.borrow()))
        .note(compared.words());
    table.add(&measure);
    let whole = || accept(&bench.fresh("accept")?, bodies.iter().map(append_of)).map(rate_of);
    let compared = alternate(bench.rounds(), whole, bare)?;
    let measure = Measure::new(format!("{name}.and_seal"), compared.ours, "readings/s")
        .against("bare rusqlite", compared.theirs)
        .note("the same, encoding and hashing counted on our side; the other is given the bytes")
        .note(format!("after each round {}", proof.borrow()))
        .note(compared.words());
    table.add(&measure);
    Ok(())
}

/// What the sealer hands over for `body`.
///
/// # Errors
/// When it cannot be sealed.
pub(crate) fn append_of(body: &Body) -> anyhow::Result<Append> {
    let sealed = Sealed::new(body.encode()?);
    let batch = Batch { lane: Lane::Live, priority: Priority::Normal, readings: body.readings() as u64, sealed };
    Ok(Append { batches: vec![batch], cursors: vec![("bench".into(), CURSOR.to_vec())], ..Append::default() })
}

/// That `batches` lie in the agent's file at `path`, which it has open no more, and what keeps them there.
///
/// # Errors
/// When less or more do, or it cannot be read.
pub(crate) fn proof(path: &Path, batches: usize) -> anyhow::Result<String> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let rows: i64 = connection.query_row("select count(*) from batch", [], |row| row.get(0))?;
    anyhow::ensure!(usize::try_from(rows)? == batches, "{rows} of {batches} batches are there");
    Ok(format!("{rows} rows read back, a batch each; {}", of_file(path, "agent")?))
}

/// A buffer at `path`.
///
/// # Errors
/// When it cannot be opened.
pub(crate) fn open(path: &Path) -> anyhow::Result<Buffer> {
    Ok(Buffer::open(Settings { path: path.into(), bytes_max: BYTES_MAX, free_bytes_min: 0 }, CLOCK)?)
}

/// Stores every append by itself; answers how long that took, making them included, and the proof of them.
fn accept(folder: &Path, appends: impl Iterator<Item = anyhow::Result<Append>>) -> anyhow::Result<(Duration, String)> {
    let mut buffer = open(&folder.join("buffer.db"))?;
    let (start, mut count) = (Instant::now(), 0);
    for append in appends {
        buffer.append(&append?)?;
        count += 1;
    }
    let took = start.elapsed();
    let held = buffer.contents()?.held.count();
    anyhow::ensure!(held == count, "{held} of {count} batches are there");
    drop(buffer);
    Ok((took, proof(&folder.join("buffer.db"), usize::try_from(count)?)?))
}

fn bare<'a>(folder: &Path, sealed: impl Iterator<Item = &'a Sealed>) -> anyhow::Result<Duration> {
    let connection = Connection::open(folder.join("bare.db"))?;
    connection.execute_batch(PRAGMAS)?;
    connection.execute_batch(SCHEMA)?;
    let prepare = |sql| connection.prepare(sql);
    let (mut begin, mut commit) = (prepare("begin immediate")?, prepare("commit")?);
    let mut batch = prepare("insert into batch (hash, body) values (?, ?)")?;
    let mut cursor = prepare(
        "insert into cursor (source, position) values ('bench', ?)
         on conflict (source) do update set position = excluded.position",
    )?;
    let (start, mut count) = (Instant::now(), 0);
    for Sealed { hash, body } in sealed {
        begin.execute([])?;
        batch.execute(params![hash.0, body])?;
        cursor.execute([CURSOR])?;
        commit.execute([])?;
        count += 1;
    }
    let took = start.elapsed();
    let held: i64 = connection.query_row("select count(*) from batch", [], |row| row.get(0))?;
    anyhow::ensure!(held == count, "{held} of {count} rows are there");
    Ok(took)
}
