//! What the programs weigh: on disk, in memory, and until they are there.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::{Agent, Gateway, Pki, wait_for};

use crate::Bench;
use crate::proc::resident_mib;
use crate::rounds::{float, median};
use crate::shipped::Shipped;
use crate::stores::Running;
use crate::table::{Limit, Measure, Table};

/// How long an agent is left alone before it is weighed, and while it is.
const IDLE_FOR: Duration = Duration::from_secs(3);
/// A household's meter by the second, as an agent has it in quiet times.
const METER: &str = "[[source]]\nname = \"meter\"\ntype = \"simulate\"\nwhat = \"meter\"\n";

/// Takes the measures of this group.
///
/// # Errors
/// When a program does not start or cannot be looked at.
pub(crate) fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let folder = bench.fresh("footprint")?;
    let pki = Pki::create(&folder.join("pki"));
    let gateway = gateway(bench, &folder, &pki, table)?;
    let shipped = Shipped::find()?;
    idle_agent(&folder, &pki, &gateway, &shipped, table)?;
    agent_binary(&shipped, table)
}

/// Starts several gateways on empty folders; the last one stays.
fn gateway(bench: &Bench, folder: &Path, pki: &Pki, table: &mut Table) -> anyhow::Result<Gateway> {
    let files = pki.server();
    let start = |round: usize| Gateway::start(&folder.join(format!("gateway-{round}")), files.clone(), "");
    let mut gateways: Vec<Gateway> = (0..bench.rounds()).map(start).collect();
    let seconds = median(gateways.iter().map(|gateway| gateway.started_in.as_secs_f64()).collect());
    let note = format!("median of {} starts on an empty folder, until both ports are open", gateways.len());
    let gateway = gateways.pop().context("at least one round")?;
    let proof = Running::Sqlite.proof(&gateway.database(), 0)?;
    table.add(&Measure::new("gateway_start", seconds, "s").limit(Limit::Below(2.0)).note(note).note(&proof));
    drop(gateways);
    let (now, most) = resident_mib(gateway.process.as_ref().context("a gateway that runs")?.id())?;
    let note = format!("VmHWM, its most until it was ready; {now:.1} MiB now");
    table.add(&Measure::new("gateway_rss", most, "MiB").limit(Limit::Below(60.0)).note(note).note(proof));
    Ok(gateway)
}

fn idle_agent(folder: &Path, pki: &Pki, gateway: &Gateway, shipped: &Shipped, table: &mut Table) -> anyhow::Result<()> {
    let device = "meter-idle";
    let mut agent = Agent::new(&folder.join(device), device, Some(gateway.mqtt_port), &pki.device(device), METER);
    shipped.start(&mut agent)?;
    wait_for("the agent's first reading at the gateway", Duration::from_secs(20), || {
        let answer = gateway.get("/api/v1/devices").ok()?;
        answer["devices"].as_array()?.iter().any(|device| device["readings"].as_u64() > Some(0)).then_some(())
    });
    let id = agent.process.as_ref().context("an agent that runs")?.id();
    let (start, mut samples) = (Instant::now(), Vec::new());
    while start.elapsed() < IDLE_FOR {
        samples.push(resident_mib(id)?.0);
        std::thread::sleep(Duration::from_millis(100));
    }
    agent.stop();
    let (rows, settings) = (Running::Sqlite.rows(&gateway.database())?, Running::Sqlite.settings(&gateway.database())?);
    anyhow::ensure!(rows > 0, "nothing has arrived");
    let looks = samples.len();
    let note = format!(
        "VmRSS, median of {looks} looks; connected, one source at 1 Hz; {rows} rows of it read back from the gateway; \
         {settings}; "
    );
    shipped.add(table, "agent_rss_idle", median(samples), Limit::AtMost(8.0), &note);
    Ok(())
}

/// What the agent takes on disk. Its libc is counted only where it is linked statically, as in a musl build.
fn agent_binary(shipped: &Shipped, table: &mut Table) -> anyhow::Result<()> {
    let bytes = float(usize::try_from(std::fs::metadata(shipped.path())?.len())?);
    shipped.add(table, "agent_binary", bytes / (1024.0 * 1024.0), Limit::AtMost(5.0), "stripped; ");
    Ok(())
}
