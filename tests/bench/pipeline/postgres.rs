//! Into PostgreSQL, with and without TimescaleDB, beside a bare client's binary COPY.

use std::cell::Cell;
use std::time::Duration;

use gateway::store::postgres::{Password, Settings, Store, migrate};
use harness::servers::{Edition, Missing, Postgres, Sql};

use super::copy::bare;
use super::fed::{Fed, fed};
use super::load::{Load, READINGS_A_BATCH, Shape};
use crate::Bench;
use crate::proc::{processor_time, processor_time_of_all};
use crate::rounds::{alternate, float, rate};
use crate::table::{Limit, Measure, Table};

/// A million readings, a batch a frame.
const SHAPE: Shape = Shape { devices: 1_000, batches_a_frame: 1, frames: 10 };
/// Who writes, on both sides: the owner of the database.
const USER: &str = "bench";
const PASSWORD: &str = "bench-on-loopback";

/// Takes the measures of PostgreSQL 15.
///
/// # Errors
/// When something cannot be written.
pub(crate) fn plain(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    measure(bench, table, Edition::Plain15, ("gateway_postgres", "stored_postgres"))
}

/// Takes the measures of PostgreSQL 17 with TimescaleDB.
///
/// # Errors
/// When something cannot be written.
pub(crate) fn timescale(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    measure(bench, table, Edition::Timescale17, ("gateway_timescale", "stored_timescale"))
}

fn measure(bench: &Bench, table: &mut Table, edition: Edition, (gateway, stored): (&str, &str)) -> anyhow::Result<()> {
    let server = match Server::start(bench, edition) {
        Err(error) if error.is::<Missing>() => {
            [gateway, stored].iter().for_each(|name| table.skip(name, &error.to_string()));
            return Ok(());
        }
        server => server?,
    };
    let load = Load::new(Shape { frames: bench.size(SHAPE.frames), ..SHAPE })?;
    let last = Cell::new(Fed { rate: 0.0, commits: 1 });
    let (mut of_ours, mut of_theirs, mut sizes) = (Shares::default(), Shares::default(), None);
    let compared = alternate(
        bench.rounds(),
        || {
            let database = server.fresh()?;
            let Store { writer, reader: _reader, roller: _roller, others: _, trail: _ } =
                Store::open(&database.settings, gateway::now)?;
            let mut shares = None;
            let fed = fed(writer, &load, || database.begin(&mut shares))?;
            of_ours.add(shares, &server, &load)?;
            database.check(&load)?;
            sizes = Some(Sizes::of(&database.admin, load.rows.len())?);
            last.set(fed);
            Ok(fed.rate)
        },
        || {
            let database = server.fresh()?;
            let mut shares = None;
            let took = bare(&database.dsn, load.rows(), last.get().commits, || database.begin(&mut shares))?;
            of_theirs.add(shares, &server, &load)?;
            database.check(&load)?;
            Ok(rate(load.rows().1.len(), took))
        },
    )?;
    let measure = Measure::new(gateway, compared.ours, "readings/s")
        .against("bare binary COPY", compared.theirs)
        .limit(Limit::RatioAtLeast(0.7))
        .note(format!("{}, {} transactions each", load.words(), last.get().commits))
        .note(format!("{}; table, partition and indexes of the gateway", server.words()?))
        .note(format!("processor time: {}; bare COPY: {}", of_ours.words(), of_theirs.words()))
        .note(format!("{} rows read back after each round of either side, with their sums", load.rows.len()))
        .note(compared.words());
    table.add(&measure);
    if let Some(sizes) = sizes {
        table.add(&Measure::new(stored, sizes.all, "B/reading").note(sizes.words).note(server.words()?));
    }
    Ok(())
}

/// A server, and the database of the round.
struct Server {
    server: Postgres,
    admin: Sql,
    rounds: Cell<u32>,
}

impl Server {
    fn start(bench: &Bench, edition: Edition) -> anyhow::Result<Self> {
        let server = Postgres::start(&bench.fresh("server")?, edition)?;
        server.login(USER, PASSWORD)?;
        Ok(Self { admin: server.admin()?, server, rounds: Cell::new(0) })
    }

    /// What it is and what it does to keep what is committed.
    fn words(&self) -> anyhow::Result<String> {
        let setting = |name: &str| self.admin.value(&format!("show {name}"));
        let mut words = format!("PostgreSQL {}", setting("server_version")?);
        for name in ["fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers"] {
            words.push_str(&format!(", {name}={}", setting(name)?));
        }
        Ok(words)
    }

    /// A new database with the gateway's tables; the one before is gone.
    fn fresh(&self) -> anyhow::Result<Database<'_>> {
        let round = self.rounds.get();
        self.admin.run(&format!("drop database if exists bench_{round} with (force)"))?;
        self.rounds.set(round + 1);
        let name = format!("bench_{}", round + 1);
        self.server.database(&name)?;
        self.admin.run(&format!("alter database {name} owner to {USER}"))?;
        let password = Some(Password::new(PASSWORD));
        let settings = Settings { password, ..Settings::local(self.server.port, &name, USER) };
        migrate(&settings)?;
        let admin = self.server.admin_of(&name)?;
        // The month that all rows are of: 2026-11.
        admin.run("select ensure_reading_room('{322}', '{}')")?;
        Ok(Database { settings, dsn: self.server.dsn(USER, PASSWORD, &name), admin, of: self })
    }

    fn processor_time(&self) -> anyhow::Result<Duration> {
        self.server.id().map_or(Ok(Duration::ZERO), processor_time_of_all)
    }
}

struct Database<'a> {
    settings: Settings,
    dsn: String,
    admin: Sql,
    of: &'a Server,
}

impl Database<'_> {
    /// From here on it counts, for both from the same state: nothing waits to be written.
    fn begin(&self, shares: &mut Option<Began>) -> anyhow::Result<()> {
        self.admin.run("checkpoint")?;
        let (own, server) = (processor_time(std::process::id())?, self.of.processor_time()?);
        *shares = Some(Began { own, server });
        Ok(())
    }

    /// All rows are there, with what they should say.
    fn check(&self, load: &Load) -> anyhow::Result<()> {
        let rows = self.admin.number("select count(*) from reading")?;
        anyhow::ensure!(usize::try_from(rows)? == load.rows.len(), "{rows} of {} rows are there", load.rows.len());
        let sums = self.admin.value(
            "select sum(time_us::numeric)::text || ' ' || sum(number)::text || ' ' || sum(round(value * 10)::bigint)::text
             from reading",
        )?;
        let (mut times, mut numbers, mut values) = (0_i128, 0_i128, 0_i128);
        for stored in &load.rows {
            times += i128::from(stored.row.time_us);
            numbers += i128::from(stored.number);
            #[expect(clippy::cast_possible_truncation, reason = "tenths of a watt are few")]
            let tenths = (stored.row.value * 10.0).round() as i128;
            values += tenths;
        }
        let wanted = format!("{times} {numbers} {values}");
        anyhow::ensure!(sums == wanted, "the rows' sums are {sums}, not {wanted}");
        Ok(())
    }
}

/// The processor time of both sides when a round began.
struct Began {
    own: Duration,
    server: Duration,
}

/// Processor time of all rounds: what others do on the machine is not in it.
#[derive(Default)]
struct Shares {
    readings: usize,
    own: Duration,
    server: Duration,
}

impl Shares {
    fn add(&mut self, began: Option<Began>, server: &Server, load: &Load) -> anyhow::Result<()> {
        if let Some(began) = began {
            self.readings += load.rows().1.len();
            self.own += processor_time(std::process::id())?.saturating_sub(began.own);
            self.server += server.processor_time()?.saturating_sub(began.server);
        }
        Ok(())
    }

    fn words(&self) -> String {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / float(self.readings.max(1));
        format!("client {:.2} µs and server {:.2} µs a reading", each(self.own), each(self.server))
    }
}

/// Bytes on the disk for each reading.
struct Sizes {
    all: f64,
    words: String,
}

impl Sizes {
    fn of(admin: &Sql, readings: usize) -> anyhow::Result<Self> {
        let of = |what: &str, which: &str| -> anyhow::Result<f64> {
            let sql = format!(
                "select coalesce(sum({what}(c.oid)), 0)::bigint from pg_class c join pg_namespace n on n.oid = c.relnamespace
                 where c.relkind = 'r' and (n.nspname = 'public' or n.nspname = '_timescaledb_internal') and {which}"
            );
            Ok(float(usize::try_from(admin.number(&sql)?)?) / float(readings))
        };
        let is_reading = "(c.relname ~ '^reading_(\\d|before|after)' or c.relname ~ '^_hyper')";
        let is_rollup = "c.relname like 'rollup%'";
        let table = of("pg_table_size", is_reading)?;
        let indexes = of("pg_indexes_size", is_reading)?;
        let rollups = of("pg_total_relation_size", is_rollup)?;
        let rest = of("pg_total_relation_size", &format!("not {is_reading} and not {is_rollup}"))?;
        let words = format!(
            "{readings} rows read back, in batches of {READINGS_A_BATCH}: table {table:.1}, its indexes {indexes:.1}, \
             ledger and registry {rest:.1}; rollups apart: {rollups:.1}"
        );
        Ok(Self { all: table + indexes + rest, words })
    }
}
