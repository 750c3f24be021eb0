//! The gateway's pipeline, fed from memory: decode, judge, ledger, insert, receipts. Beside it bare SQLite, which
//! inserts the same rows into the same table in as many commits.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use gateway::ingest::pipeline::{Recorder, judge_all};
use gateway::ingest::totals::Totals;
use gateway::ingest::{Arrival, ConnectionId, Event, Link, Ticket, Verdict};
use gateway::store::sqlite::Store;
use proto::frame::{Header, Sealed};
use proto::{Channel, DeviceId, Epoch, Frame, Lane};
use rusqlite::Connection;
use tokio::sync::mpsc;

use crate::Bench;
use crate::data::{CLOCK, Row, Set};
use crate::rounds::{alternate, float, rate};
use crate::table::{Limit, Measure, Table};

const DEVICES: usize = 4;
const BATCHES_A_FRAME: usize = 16;
const READINGS_A_BATCH: usize = 100;
/// Frames of one device: half a million readings in all.
const FRAMES: usize = 80;
/// As many as the gateway's own channel takes.
const EVENTS_MAX: usize = 256;
/// The gateway's own settings of the connection that writes.
const PRAGMAS: &str = "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on;
    pragma journal_size_limit = 67108864; pragma wal_autocheckpoint = 4000; pragma cache_size = -16384;";

/// What is fed in, and the rows that it must become.
struct Load {
    devices: Vec<DeviceId>,
    /// The device's place, and what it publishes.
    frames: Vec<(usize, bytes::Bytes)>,
    rows: Vec<(i64, Row, i64)>,
}

/// Takes the measures of this group.
///
/// # Errors
/// When something cannot be written.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let load = load(bench.size(FRAMES))?;
    let commits = std::cell::Cell::new(1_u64);
    let mut stored = 0.0;
    let compared = alternate(
        bench.rounds(),
        || {
            let folder = bench.fresh("pipeline")?;
            let (rate, in_commits) = fed(&folder, &load)?;
            commits.set(in_commits);
            stored = bytes_a_reading(&folder.join("gateway.db"), load.rows.len())?;
            Ok(rate)
        },
        || bare(&bench.fresh("bare")?, &load, commits.get()),
    )?;
    let readings = load.rows.len();
    let measure = Measure::new("gateway_sqlite", compared.ours, "readings/s")
        .against("bare rusqlite", compared.theirs)
        .limit(Limit::RatioAtLeast(0.7))
        .note(format!(
            "{readings} rows from {} frames of {BATCHES_A_FRAME} batches of {READINGS_A_BATCH}, {DEVICES} devices, {} commits each",
            load.frames.len(),
            commits.get()
        ))
        .note("WAL, synchronous=FULL, 4 KiB pages, checkpoint at 4000 pages, cache 16 MiB; table and index of the gateway")
        .note(compared.words());
    table.add(&measure);
    let note = format!("file after a checkpoint, {readings} readings; ledger, index and registry included");
    table.add(&Measure::new("stored_sqlite", stored, "B/reading").note(note));
    Ok(())
}

fn load(frames: usize) -> anyhow::Result<Load> {
    let power = Set::power();
    let mut load = Load { devices: Vec::new(), frames: Vec::new(), rows: Vec::new() };
    for device in 0..DEVICES {
        load.devices.push(format!("meter-{device}").parse()?);
    }
    let mut second = 0;
    for place in 0..frames {
        for device in 0..DEVICES {
            load.frames.push((device, frame(&power, place, second, device, &mut load.rows)?.into()));
        }
        second += BATCHES_A_FRAME * READINGS_A_BATCH;
    }
    Ok(load)
}

/// One frame of `device`, whose first reading is of `second`; its rows go to `rows`.
fn frame(
    power: &Set,
    place: usize,
    second: usize,
    device: usize,
    rows: &mut Vec<(i64, Row, i64)>,
) -> anyhow::Result<Vec<u8>> {
    let first = place * BATCHES_A_FRAME + 1;
    let key = i64::try_from(device)? + 1;
    let mut bodies = Vec::new();
    for batch in 0..BATCHES_A_FRAME {
        let from = second + batch * READINGS_A_BATCH;
        let row = |second: usize| Row {
            time_us: crate::data::START_US + i64::try_from(second).unwrap_or(i64::MAX) * 1_000_000,
            value: power.rows[(second + device * 2_500) % power.rows.len()].value,
        };
        let of_batch: Vec<Row> = (from..from + READINGS_A_BATCH).map(row).collect();
        bodies.push(Sealed::new(power.body(&of_batch).encode()?));
        let number = i64::try_from(first + batch)?;
        rows.extend(of_batch.into_iter().map(|row| (key, row, number)));
    }
    let epoch = Epoch([u8::try_from(device)?; 8]);
    let header = Header { epoch, first: first as u64, lane: Lane::Backfill, clock: CLOCK };
    Ok(Frame { header, bodies }.encode())
}

/// Feeds the pipeline; answers readings a second until the last verdict, and how many commits it took.
fn fed(folder: &Path, load: &Load) -> anyhow::Result<(f64, u64)> {
    let path = folder.join("gateway.db");
    let Store { writer, reader: _reader } = Store::open(&path, gateway::now)?;
    let totals: &'static Totals = Box::leak(Box::new(Totals::zero())); // the recorder wants it for good; a few bytes
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (recorder, thread) = Recorder::spawn(writer, gateway::now, totals)?;
    let took = runtime.block_on(async {
        let (events, arriving) = mpsc::channel(EVENTS_MAX);
        let judge = tokio::spawn(judge_all(arriving, recorder, gateway::now));
        let receipts = open_links(&events, load).await?;
        let start = Instant::now();
        feed(&events, load).await?;
        let took = start.elapsed();
        drop(events);
        judge.await?;
        anyhow::Ok((took, receipts))
    });
    thread.join().map_err(|_| anyhow::anyhow!("the recorder panicked"))?;
    let (took, receipts) = took?;
    let mut received = 0;
    for receipts in receipts {
        received += runtime.block_on(receipts)?;
    }
    let committed = totals.readings.get();
    anyhow::ensure!(committed == load.rows.len() as u64, "{committed} of {} readings committed", load.rows.len());
    anyhow::ensure!(received > 0, "no receipt came");
    Ok((rate(load.rows.len(), took), totals.commits.get()))
}

/// Connects every device; each answered task counts receipts until its link is gone.
async fn open_links(events: &mpsc::Sender<Event>, load: &Load) -> anyhow::Result<Vec<tokio::task::JoinHandle<usize>>> {
    let mut counts = Vec::new();
    for (place, device) in load.devices.iter().enumerate() {
        let (link, mut receipts) = Link::new(device.clone(), ConnectionId(place as u64));
        events.send(Event::Opened(link)).await.ok().context("the pipeline has ended")?;
        counts.push(tokio::spawn(async move {
            let mut count = 0;
            while receipts.recv().await.is_some() {
                count += 1;
            }
            count
        }));
    }
    Ok(counts)
}

async fn feed(events: &mpsc::Sender<Event>, load: &Load) -> anyhow::Result<()> {
    let mut verdicts = Vec::with_capacity(load.frames.len());
    for (place, payload) in &load.frames {
        let (ticket, verdict) = Ticket::new();
        let arrival = Arrival {
            device: load.devices[*place].clone(),
            connection: ConnectionId(*place as u64),
            channel: Channel::Batch,
            packet_id: Some(1),
            resent: false,
            payload: payload.clone(),
            ticket,
        };
        events.send(Event::Arrived(arrival)).await.ok().context("the pipeline has ended")?;
        verdicts.push(verdict);
    }
    for verdict in verdicts {
        anyhow::ensure!(verdict.await? == Verdict::Settled, "a frame was refused");
    }
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
    let per_commit = load.rows.len().div_ceil(usize::try_from(commits)?.max(1));
    let start = Instant::now();
    for rows in load.rows.chunks(per_commit) {
        begin.execute([])?;
        for (series, row, number) in rows {
            insert.execute((series, row.time_us, row.value, series, number))?;
        }
        commit.execute([])?;
    }
    let rate = rate(load.rows.len(), start.elapsed());
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
