//! What an agent takes that reads twenty sources at once.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::mix::{KINDS, Mix, PROOFS, READINGS_PER_S, SOURCES};
use harness::servers::Missing;
use harness::{Agent, Gateway, Pki};

use crate::Bench;
use crate::proc::{processor_time, resident_mib};
use crate::rounds::median;
use crate::shipped::Shipped;
use crate::stores::Running;
use crate::table::{Limit, Table};

/// How long the agent is watched once something has come of every source: files and uploads come every ten seconds.
const WATCHED_S: usize = 30;
const WATCHED_S_MIN: usize = 10;
/// How long it may take until something has come of every source.
const COMPLETE_WITHIN: Duration = Duration::from_secs(60);
/// From one look at its memory to the next.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Takes the measures of this group.
///
/// # Errors
/// When a program does not start, cannot be looked at, or delivers less than its sources gave.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let folder = bench.fresh("sources")?;
    let pki = Pki::create(&folder.join("pki"));
    let gateway = Gateway::start(&folder.join("gateway"), pki.server(), "");
    let mix = match Mix::start(&folder) {
        Ok(mix) => mix,
        Err(error) if error.is::<Missing>() => {
            for name in ["agent_cpu_20", "agent_rss_20"] {
                table.skip(name, &error.to_string());
            }
            return Ok(());
        }
        Err(error) => return Err(error.context("plug twenty sources in")),
    };
    let device = "twenty";
    let files = pki.device(device);
    let mut agent = Agent::new(&folder.join(device), device, Some(gateway.mqtt_port), &files, &mix.tables);
    let shipped = Shipped::find()?;
    shipped.start(&mut agent)?;
    let arrived = || gateway.get("/api/v1/devices").ok()?["devices"][0]["readings"].as_u64();
    // Beyond what comes with the start: TLS, the first hello, files that are opened, what meters remember.
    all_have_come(&gateway.database())?;
    let id = agent.process.as_ref().context("an agent that runs")?.id();
    let watched = Duration::from_secs(bench.size(WATCHED_S).max(WATCHED_S_MIN) as u64);
    let begun = arrived().context("an answer of the gateway")?;
    let (start, before, mut samples) = (Instant::now(), processor_time(id)?, Vec::new());
    while start.elapsed() < watched {
        samples.push(resident_mib(id)?.0);
        std::thread::sleep(LOOK_EVERY);
    }
    let (took, worked) = (start.elapsed().as_secs_f64(), processor_time(id)?.saturating_sub(before));
    let most = resident_mib(id)?.1;
    let readings = arrived().context("an answer of the gateway")?.saturating_sub(begun);
    agent.stop();
    #[expect(clippy::cast_precision_loss, reason = "some thousand readings")]
    let rate = readings as f64 / took;
    anyhow::ensure!(rate >= f64::from(READINGS_PER_S), "{rate:.1} readings/s arrived, not {READINGS_PER_S}");
    let (rows, settings) = (Running::Sqlite.rows(&gateway.database())?, Running::Sqlite.settings(&gateway.database())?);
    let note = format!(
        "{SOURCES} sources ({KINDS}), {rate:.1} readings/s at the gateway over {took:.0} s; {rows} rows read back; {settings}; "
    );
    let percent = worked.as_secs_f64() / took * 100.0;
    shipped.add_in("% of a core", table, "agent_cpu_20", percent, Limit::Below(5.0), &note);
    let note = format!("VmRSS, median of {} looks, {most:.1} MiB at most; as above; ", samples.len());
    shipped.add(table, "agent_rss_20", median(samples), Limit::AtMost(12.0), &note);
    Ok(())
}

/// Waits until the gateway's database has something of every source.
fn all_have_come(database: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let mut missing = Vec::new();
        for (source, series, value) in PROOFS {
            if !Running::has(database, series, value)? {
                missing.push(source);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let waited = begun.elapsed();
        anyhow::ensure!(waited < COMPLETE_WITHIN, "nothing has come of {} within {waited:.0?}", missing.join("; "));
        std::thread::sleep(LOOK_EVERY);
    }
}
