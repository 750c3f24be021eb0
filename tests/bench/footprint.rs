//! What the programs weigh: on disk, in memory, and until they are there.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::{Agent, Gateway, Pki, binary, wait_for};

use crate::Bench;
use crate::proc::resident_mib;
use crate::rounds::{float, median};
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
    idle_agent(&folder, &pki, &gateway, table)?;
    agent_binary(table)
}

/// Starts several gateways on empty folders; the last one stays.
fn gateway(bench: &Bench, folder: &std::path::Path, pki: &Pki, table: &mut Table) -> anyhow::Result<Gateway> {
    let start = |round: usize| Gateway::start(&folder.join(format!("gateway-{round}")), pki.server(), "");
    let mut gateways: Vec<Gateway> = (0..bench.rounds()).map(start).collect();
    let seconds = median(gateways.iter().map(|gateway| gateway.started_in.as_secs_f64()).collect());
    let note = format!("median of {} starts on an empty folder, until both ports are open", gateways.len());
    table.add(&Measure::new("gateway_start", seconds, "s").limit(Limit::Below(2.0)).note(note));
    let gateway = gateways.pop().context("at least one round")?;
    drop(gateways);
    let (now, most) = resident_mib(gateway.process.as_ref().context("a gateway that runs")?.id())?;
    let note = format!("VmHWM, its most until it was ready; {now:.1} MiB now");
    table.add(&Measure::new("gateway_rss", most, "MiB").limit(Limit::Below(60.0)).note(note));
    Ok(gateway)
}

fn idle_agent(folder: &std::path::Path, pki: &Pki, gateway: &Gateway, table: &mut Table) -> anyhow::Result<()> {
    let device = "meter-idle";
    let mut agent = Agent::new(&folder.join(device), device, Some(gateway.mqtt_port), &pki.device(device), METER);
    agent.start();
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
    let note = format!("VmRSS, median of {} looks; connected, one source at 1 Hz", samples.len());
    table.add(&Measure::new("agent_rss_idle", median(samples), "MiB").limit(Limit::AtMost(8.0)).note(note));
    agent.stop();
    Ok(())
}

/// The agent as it is shipped, if that was built; else the one of this profile, which is larger.
fn agent_binary(table: &mut Table) -> anyhow::Result<()> {
    let own = binary("tributary-agent");
    let target = own.ancestors().nth(2).context("the build's folder")?.to_path_buf();
    let mut shipped: Vec<PathBuf> = vec![target.join("dist/tributary-agent")];
    for folder in std::fs::read_dir(&target)?.filter_map(Result::ok) {
        shipped.push(folder.path().join("dist/tributary-agent"));
    }
    let path = shipped.into_iter().find(|path| path.exists()).unwrap_or(own);
    let bytes = float(usize::try_from(std::fs::metadata(&path)?.len())?);
    let name = path.strip_prefix(&target).unwrap_or(&path).display().to_string();
    let is_static = name.contains("musl");
    let note = format!("{name}, stripped{}", if is_static { ", static" } else { "; it still links libc dynamically" });
    let measure = Measure::new("agent_binary", bytes / (1024.0 * 1024.0), "MiB").limit(Limit::AtMost(5.0)).note(note);
    table.add(&measure);
    Ok(())
}
