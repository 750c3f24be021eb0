//! A year of glucose at a thousand points, asked for as the dashboard asks, beside SQLite reading the same rows.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use gateway::store::Ledger as _;
use gateway::store::sqlite::Store;
use gateway::store::{Batch, Item};
use harness::{Gateway, Pki};
use proto::{BodyHash, DeviceId, Lane};
use rusqlite::{Connection, OpenFlags};

use crate::Bench;
use crate::data::{CLOCK, EPOCH, Row, START_US, Set, column};
use crate::rounds::{alternate, float};
use crate::table::{Limit, Measure, Table};

/// A reading every five minutes.
const READINGS_A_DAY: usize = 288;
const DAYS: usize = 365;
const SPACING_US: i64 = 300_000_000;
const POINTS: usize = 1_000;
/// Queries of one round.
const QUERIES: usize = 10;

/// Takes the measures of this group.
///
/// # Errors
/// When the gateway does not answer as it should.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let folder = bench.fresh("year")?;
    let of_gateway = folder.join("gateway");
    std::fs::create_dir_all(&of_gateway)?;
    let readings = fill(&of_gateway.join("gateway.db"))?;
    let gateway = Gateway::start(&of_gateway, Pki::create(&folder.join("pki")).server(), "");
    let series = gateway.get("/api/v1/series")?["series"][0]["id"].as_i64().context("a series")?;
    let address = format!("{}/api/v1/series/{series}/readings?points={POINTS}", gateway.http);
    let cold = Instant::now();
    check(&address, readings)?;
    let cold = cold.elapsed();
    let database = gateway.database();
    let compared = alternate(
        bench.rounds(),
        || per_query(|| Ok(ureq::get(&address).call()?.body_mut().read_to_vec()?)),
        || per_query(|| read_all(&database, series, readings)),
    )?;
    // Rates of queries, turned into the milliseconds of one.
    let measure = Measure::new("year_query_sqlite", 1e3 / compared.ours, "ms")
        .against("bare rusqlite reading all rows", 1e3 / compared.theirs)
        .limit(Limit::AtMost(50.0))
        .note(format!(
            "{readings} readings at {POINTS} points over HTTP; the first query took {:.1} ms",
            cold.as_secs_f64() * 1e3
        ))
        .note(format!("{QUERIES} queries a round; here a ratio above 1 is slower; {}", compared.words()));
    table.add(&measure);
    Ok(())
}

/// Puts a year into a new database: the committed readings over and over, a batch a day.
fn fill(path: &Path) -> anyhow::Result<usize> {
    let set = Set::cgm();
    let device: DeviceId = "cgm-year".parse()?;
    let Store { mut writer, reader: _reader } = Store::open(path, gateway::now)?;
    let start_us = START_US - SPACING_US * i64::try_from(READINGS_A_DAY * DAYS)?;
    let mut items = Vec::with_capacity(DAYS);
    for day in 0..DAYS {
        let row = |place: usize| Row {
            time_us: start_us + SPACING_US * i64::try_from(place).unwrap_or(i64::MAX),
            value: set.rows[place % set.rows.len()].value,
        };
        let rows: Vec<Row> = (day * READINGS_A_DAY..(day + 1) * READINGS_A_DAY).map(row).collect();
        let body = set.body(&rows).encode()?;
        items.push(Item::Batch(Batch {
            device: device.clone(),
            epoch: EPOCH,
            number: day as u64 + 1,
            hash: BodyHash::of(&body),
            lane: Lane::Backfill,
            clock: CLOCK,
            arrived: gateway::now(),
            columns: vec![column(set.series.clone(), &rows)],
            body: body.into(),
        }));
    }
    writer.record(&items)?;
    Ok(READINGS_A_DAY * DAYS)
}

fn check(address: &str, readings: usize) -> anyhow::Result<()> {
    let text = ureq::get(address).call()?.body_mut().read_to_string()?;
    let answer: serde_json::Value = serde_json::from_str(&text)?;
    let found = answer["readings_in_range"].as_u64();
    anyhow::ensure!(found == Some(readings as u64), "{found:?} of {readings} readings are in range");
    let points = answer["points"].as_array().map_or(0, Vec::len);
    anyhow::ensure!((POINTS / 2..=POINTS).contains(&points), "{points} points");
    Ok(())
}

fn per_query<T>(mut query: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<f64> {
    let start = Instant::now();
    for _ in 0..QUERIES {
        std::hint::black_box(query()?);
    }
    Ok(float(QUERIES) / start.elapsed().as_secs_f64())
}

fn read_all(database: &Path, series: i64, readings: usize) -> anyhow::Result<()> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut statement =
        connection.prepare("select time_us, value, form from reading where series = ? order by time_us")?;
    let mut rows = statement.query([series])?;
    let (mut count, mut sum) = (0, 0.0);
    while let Some(row) = rows.next()? {
        let (_, value, _): (i64, f64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        count += 1;
        sum += value;
    }
    std::hint::black_box(sum);
    anyhow::ensure!(count == readings, "{count} of {readings} rows");
    Ok(())
}
