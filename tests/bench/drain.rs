//! A million readings as really sealed, sent by a real agent to a real gateway on loopback, while a live source goes on.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::{Agent, Gateway, Pki};
use proto::Lane;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::Bench;
use crate::buffer::{append_of, open};
use crate::data::{HOUSEHOLD_SERIES, Household};
use crate::proc::{processor_time, resident_mib};
use crate::rounds::quantile;
use crate::shipped::Shipped;
use crate::stores::Running;
use crate::table::{Limit, Measure, Table};

/// Twenty series, 1 Hz, 1 s linger: a million readings.
pub(crate) const BATCHES: usize = 50_000;
/// Batches of one commit while the backlog is made; the agent itself would have made one each.
const BATCHES_A_COMMIT: usize = 1_000;
const DEVICE: &str = "household-1";
/// A meter whose seconds pass fifty times as fast: the drain may last two seconds, and a p95 wants many readings.
const LIVE: &str = "[[source]]\nname = \"live\"\ntype = \"simulate\"\nwhat = \"meter\"\nspeed = 50\n";
/// How often the gateway's database is looked at: the error of what is said of live readings.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// When to give up.
const DEADLINE: Duration = Duration::from_secs(300);

/// Takes the measures of this group.
///
/// # Errors
/// When the backlog does not arrive.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let batches = bench.size(BATCHES);
    let folder = bench.fresh("drain")?;
    let pki = Pki::create(&folder.join("pki"));
    let gateway = Gateway::start(&folder.join("gateway"), pki.server(), "");
    let mut agent = Agent::new(&folder.join(DEVICE), DEVICE, Some(gateway.mqtt_port), &pki.device(DEVICE), LIVE);
    fill(&agent.buffer(), batches)?;
    let shipped = Shipped::find()?;
    let drained = watch(&mut agent, &shipped, &gateway, batches * HOUSEHOLD_SERIES)?;
    agent.stop();
    let proof = proof(&gateway, batches * HOUSEHOLD_SERIES)?;
    add(&drained, batches, &proof, table);
    let note = format!("VmHWM, its most from start until the backlog was gone; {proof}; ");
    shipped.add(table, "agent_rss_drain", drained.rss_mib, Limit::AtMost(12.0), &note);
    Ok(())
}

/// That the backlog is in the gateway's file, each reading once, and what keeps it there.
fn proof(gateway: &Gateway, readings: usize) -> anyhow::Result<String> {
    let database = Connection::open_with_flags(gateway.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let sql = "select count(*) from reading where series in (select id from series where name like 'circuit-%')";
    let rows: i64 = database.query_row(sql, [], |row| row.get(0))?;
    anyhow::ensure!(usize::try_from(rows)? == readings, "{rows} of {readings} readings are there");
    let all = Running::Sqlite.rows(&gateway.database())?;
    let settings = Running::Sqlite.settings(&gateway.database())?;
    Ok(format!("{rows} rows of the backlog and {} of the live source read back; {settings}", all - readings))
}

/// Makes the backlog: a batch a second until now.
///
/// # Errors
/// When the buffer cannot be written.
pub(crate) fn fill(path: &Path, batches: usize) -> anyhow::Result<()> {
    let household = Household::new();
    let start_us = gateway::now().0 / 1_000_000 * 1_000_000 - i64::try_from(batches)? * 1_000_000;
    let mut buffer = open(path)?;
    let seconds: Vec<usize> = (0..batches).collect();
    for commit in seconds.chunks(BATCHES_A_COMMIT) {
        let mut append = agent::buffer::Append::default();
        for &second in commit {
            append.batches.extend(append_of(&household.body(start_us, second, 1))?.batches);
        }
        append.batches.iter_mut().for_each(|batch| batch.lane = Lane::Live);
        buffer.append(&append)?;
    }
    Ok(())
}

/// What was seen.
struct Drained {
    took: Duration,
    /// How old each live reading was when it could be read, in seconds, while the backlog was on its way.
    lags: Vec<f64>,
    rss_mib: f64,
    agent_cpu: Duration,
    gateway_cpu: Duration,
}

fn watch(agent: &mut Agent, shipped: &Shipped, gateway: &Gateway, readings: usize) -> anyhow::Result<Drained> {
    let id = |process: &Option<harness::process::Process>| process.as_ref().map(harness::process::Process::id);
    let of_gateway = id(&gateway.process).context("a gateway that runs")?;
    let gateway_before = processor_time(of_gateway)?;
    let database = Connection::open_with_flags(gateway.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    database.busy_timeout(Duration::from_secs(5))?;
    let wanted = i64::try_from(readings)?;
    let start = Instant::now();
    shipped.start(agent)?;
    let of_agent = id(&agent.process).context("an agent that runs")?;
    let mut live = Live { series: None, last_us: i64::MIN, lags: Vec::new() };
    loop {
        live.look(&database)?;
        if backlog_arrived(&database)? >= wanted {
            break;
        }
        anyhow::ensure!(start.elapsed() < DEADLINE, "the backlog did not arrive within {DEADLINE:?}");
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(Drained {
        took: start.elapsed(),
        lags: live.lags,
        rss_mib: resident_mib(of_agent)?.1,
        agent_cpu: processor_time(of_agent)?,
        gateway_cpu: processor_time(of_gateway)?.saturating_sub(gateway_before),
    })
}

fn backlog_arrived(database: &Connection) -> anyhow::Result<i64> {
    let query = "select coalesce(sum(series_tally.readings), 0) from series_tally
        join series on series.id = series_tally.series where series.name like 'circuit-%'";
    Ok(database.prepare_cached(query)?.query_row([], |row| row.get(0))?)
}

/// Live readings as they show up.
struct Live {
    series: Option<i64>,
    last_us: i64,
    lags: Vec<f64>,
}

impl Live {
    fn look(&mut self, database: &Connection) -> anyhow::Result<()> {
        if self.series.is_none() {
            let query = "select id from series where name = 'power.active'";
            self.series = database.prepare_cached(query)?.query_row([], |row| row.get(0)).optional()?;
        }
        let Some(series) = self.series else { return Ok(()) };
        let query = "select time_us from reading where series = ? and time_us > ? order by time_us";
        let mut statement = database.prepare_cached(query)?;
        let times = statement.query_map((series, self.last_us), |row| row.get::<_, i64>(0))?;
        let now = gateway::now().0;
        for time in times {
            self.last_us = time?;
            self.lags.push(Duration::from_micros(now.abs_diff(self.last_us)).as_secs_f64());
        }
        Ok(())
    }
}

fn add(drained: &Drained, batches: usize, proof: &str, table: &mut Table) {
    let Drained { took, lags, agent_cpu, gateway_cpu, .. } = drained;
    let readings = batches * HOUSEHOLD_SERIES;
    let cpu = |of: &Duration| of.as_secs_f64();
    let measure = Measure::new("backlog_drain", took.as_secs_f64(), "s")
        .limit(Limit::AtMost(60.0))
        .note(format!("{readings} readings in {batches} batches, from the agent's start until all can be read"))
        .note(format!("processor time: agent {:.1} s, gateway {:.1} s", cpu(agent_cpu), cpu(gateway_cpu)))
        .note(proof);
    table.add(&measure);
    if lags.len() < 20 {
        table.skip("backlog_drain.live_p95", "the drain was over before twenty live readings came");
    } else {
        let [p50, p95, most] = [0.5, 0.95, 1.0].map(|share| quantile(lags.clone(), share));
        let measure = Measure::new("backlog_drain.live_p95", p95, "s")
            .limit(Limit::AtMost(2.0))
            .note(format!("{} live readings, from the instant they are of until they can be read", lags.len()))
            .note(format!("250 ms of linger included; p50 {p50:.2} s, most {most:.2} s"))
            .note(proof);
        table.add(&measure);
    }
}
