//! A year of glucose at a thousand points, asked for as the dashboard asks, from each store, beside a bare client that reads
//! the same rows.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use gateway::store::{Batch, Item, Ledger, postgres, sqlite};
use harness::servers::postgres::roles::{INGEST, MIGRATE};
use harness::servers::{Edition, Missing, Postgres, Sql};
use harness::{Gateway, Pki, wait_for};
use proto::{BodyHash, DeviceId, Lane};
use rusqlite::{Connection, OpenFlags};

use crate::Bench;
use crate::data::{CLOCK, EPOCH, Row, START_US, Set, column};
use crate::rounds::{alternate, float};
use crate::stores::{Running, of_server};
use crate::table::{Limit, Measure, Table};

/// A reading every five minutes.
const READINGS_A_DAY: usize = 288;
const DAYS: usize = 365;
const SPACING_US: i64 = 300_000_000;
const POINTS: usize = 1_000;
/// Queries of one round.
const QUERIES: usize = 10;
/// Within this, everything must be summed up.
const SUMMED_UP: Duration = Duration::from_secs(60);

/// Takes the measures of this group.
///
/// # Errors
/// When a gateway does not answer as it should.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    sqlite(bench, table)?;
    for (name, edition) in [("year_query_postgres", Edition::Plain15), ("year_query_timescale", Edition::Timescale17)] {
        let folder = bench.fresh(name)?;
        match Postgres::start(&folder.join("server"), edition) {
            Ok(server) => on_server(bench, table, name, &folder, &server)?,
            Err(error) => match error.downcast_ref::<Missing>() {
                Some(missing) => table.skip(name, &missing.to_string()),
                None => return Err(error),
            },
        }
    }
    Ok(())
}

fn sqlite(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let name = "year_query_sqlite";
    let folder = bench.fresh(name)?;
    let of_gateway = folder.join("gateway");
    std::fs::create_dir_all(&of_gateway)?;
    let sqlite::Store { mut writer, reader: _reader } =
        sqlite::Store::open(&of_gateway.join("gateway.db"), gateway::now)?;
    let readings = fill(&mut writer)?;
    drop(writer);
    let gateway = Gateway::start(&of_gateway, Pki::create(&folder.join("pki")).server(), "");
    let database = gateway.database();
    let proof = Running::Sqlite.proof(&database, readings)?;
    let read = |series| read_all(&database, series, readings);
    compare(bench, table, name, &gateway, readings, &Bare { who: "bare rusqlite", read, proof })
}

fn on_server(bench: &Bench, table: &mut Table, name: &str, folder: &Path, server: &Postgres) -> anyhow::Result<()> {
    let admin = Sql::connect(&server.database("year")?)?;
    server.make_roles("year")?;
    let by = |role| {
        let password = Some(postgres::Password::new(server.password_of(role)));
        postgres::Settings { password, ..postgres::Settings::local(server.port, "year", role) }
    };
    postgres::migrate(&by(MIGRATE))?;
    let postgres::Store { mut writer, .. } = postgres::Store::open(&by(INGEST), gateway::now)?;
    let readings = fill(&mut writer)?;
    drop(writer);
    admin.run("analyze")?;
    let password = server.password_file(folder, INGEST)?;
    let mut gateway = Gateway::prepare(&folder.join("gateway"), Pki::create(&folder.join("pki")).server(), "");
    gateway.store = Some(format!(
        "[store]\nkind = \"postgres\"\n[store.postgres]\nport = {}\ndatabase = \"year\"\n\
         password_file = {password:?}\n",
        server.port
    ));
    gateway.restart();
    let read = |series| {
        let sql = format!("select time_us, value, form from reading where series = {series} order by time_us");
        let rows = admin.rows(&sql)?.len();
        anyhow::ensure!(rows == readings, "{rows} of {readings} rows");
        Ok(())
    };
    let proof = format!("{} rows read back; {}", admin.number("select count(*) from reading")?, of_server(&admin)?);
    compare(bench, table, name, &gateway, readings, &Bare { who: "a bare client (text protocol)", read, proof })
}

/// What the gateway is compared with.
struct Bare<'a, F> {
    who: &'a str,
    /// Reads all rows of a series.
    read: F,
    /// What the store says of itself and holds.
    proof: String,
}

/// Measures the gateway's answer beside `bare`.
fn compare(
    bench: &Bench,
    table: &mut Table,
    name: &str,
    gateway: &Gateway,
    readings: usize,
    bare: &Bare<'_, impl Fn(i64) -> anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let series = gateway.get("/api/v1/series")?["series"][0]["id"].as_i64().context("a series")?;
    let address = format!("{}/api/v1/series/{series}/readings?points={POINTS}", gateway.http);
    let began = Instant::now();
    let all = format!("tributary_rollup_readings_total {readings}\n");
    wait_for("all to be summed up", SUMMED_UP, || {
        let metrics = ureq::get(&format!("{}/metrics", gateway.http)).call().ok()?.body_mut().read_to_string().ok()?;
        metrics.contains(&all).then_some(())
    });
    let summed_up = began.elapsed();
    let cold = Instant::now();
    check(&address, readings)?;
    let cold = cold.elapsed();
    let compared = alternate(
        bench.rounds(),
        || per_query(|| Ok(ureq::get(&address).call()?.body_mut().read_to_vec()?)),
        || per_query(|| (bare.read)(series)),
    )?;
    // Rates of queries, turned into the milliseconds of one.
    let measure = Measure::new(name, 1e3 / compared.ours, "ms")
        .against(format!("{} reading all rows", bare.who), 1e3 / compared.theirs)
        .limit(Limit::AtMost(50.0))
        .note(format!(
            "{readings} readings at {POINTS} points over HTTP; the first query took {:.1} ms; all were summed up {:.1} s \
             after the start",
            cold.as_secs_f64() * 1e3,
            summed_up.as_secs_f64()
        ))
        .note(format!("{QUERIES} queries a round; here a ratio above 1 is slower; {}", compared.words()))
        .note(&bare.proof);
    table.add(&measure);
    Ok(())
}

/// Puts a year into a new database: the committed readings over and over, a batch a day.
fn fill(ledger: &mut dyn Ledger) -> anyhow::Result<usize> {
    let set = Set::cgm();
    let device: DeviceId = "cgm-year".parse()?;
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
    ledger.record(&items)?;
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
