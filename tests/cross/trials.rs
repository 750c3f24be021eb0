//! What is done to each target.

use std::path::Path;

use anyhow::Context;
use harness::emulated::{Target, kills, names};
use harness::machine::cuts::{self, Trial};
use harness::machine::{Kind, Parts};
use harness::servers::Missing;

use crate::Plan;
use crate::row::Row;

/// Memory of the machines that run in turn, in MiB.
const MEMORIES_MIB: [u32; 2] = [128, 64];
/// How much faster than life the last day is replayed.
const SPEED: u64 = 1_000;

/// Everything that can be done to `target` here.
pub(crate) fn run(target: Target, plan: &Plan) -> Row {
    let mut row = Row::new(target);
    let agent = match target.shipped() {
        Ok(agent) => agent,
        Err(error) => {
            row.skipped.push(error.to_string());
            return row;
        }
    };
    match std::fs::metadata(&agent) {
        Ok(found) => row.weighs(found.len()),
        Err(error) => row.faults.push(format!("{}: {error}", agent.display())),
    }
    let part = |row: &mut Row, name: &str, part: &dyn Fn(&Path, &mut Row) -> anyhow::Result<()>| {
        // What one part finds so wrong that it gives up costs no other part, and no other target.
        let attempt = || tempfile::tempdir().context("make a folder").and_then(|folder| part(folder.path(), row));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attempt));
        match done.unwrap_or_else(|_| Err(anyhow::anyhow!("given up, see above"))) {
            Ok(()) => {}
            Err(error) if error.is::<Missing>() => row.skipped.push(format!("{name}: {error}")),
            Err(error) => row.faults.push(format!("{name}: {error:#}")),
        }
    };
    part(&mut row, "kills", &|folder, row| killed(folder, target, &agent, plan, row));
    if target.is_static() {
        part(&mut row, "names", &|folder, row| named(folder, target, &agent, row));
    }
    part(&mut row, "power cuts", &|folder, row| cut(folder, &machines(target)?, &agent, plan, row));
    part(&mut row, "memory", &|folder, row| {
        if let Some(machine) = machines(target)?.first() {
            row.resident_kib = Some(cuts::resident_kib(folder, machine, &agent)?);
        }
        Ok(())
    });
    row
}

fn killed(folder: &Path, target: Target, agent: &Path, plan: &Plan, row: &mut Row) -> anyhow::Result<()> {
    let program = target.emulated(agent, folder, None)?;
    let outcome = kills::run(folder, &program, plan.seed, plan.kills)?;
    if !outcome.ruling.is_clean() {
        row.faults.push(format!("after kills: {}", outcome.ruling));
    }
    let (agents, gateways, matched) = (outcome.agents, outcome.gateways, outcome.ruling.matched);
    row.tested.push(format!("{agents} kills of it and {gateways} of its gateway, {matched} readings"));
    Ok(())
}

fn named(folder: &Path, target: Target, agent: &Path, row: &mut Row) -> anyhow::Result<()> {
    let asked = names::run(folder, target, agent)?;
    anyhow::ensure!(asked > 0, "the name server was asked for nothing");
    row.tested.push("names looked up".to_owned());
    Ok(())
}

fn cut(folder: &Path, machines: &[Parts], agent: &Path, plan: &Plan, row: &mut Row) -> anyhow::Result<()> {
    if machines.is_empty() {
        return Ok(());
    }
    let agent = agent.to_owned();
    let trial = Trial { folder, machines, agent, cuts: plan.cuts, speed: SPEED, seed: plan.seed };
    let outcome = trial.run()?;
    if !outcome.is_clean() {
        row.faults.push(format!("after power cuts: {outcome}"));
    }
    let matched = outcome.history.matched + outcome.replay.1;
    row.tested.push(format!("{} power cuts of a machine, {matched} readings", outcome.cuts));
    Ok(())
}

/// The whole machines that `target` can be run in; none where Debian 12 has no kernel for it.
fn machines(target: Target) -> anyhow::Result<Vec<Parts>> {
    let (kind, architecture) = match target.name {
        "amd64" => return Ok(vec![Parts::native()?]),
        "arm64" => (Kind::ARM64, "arm64"),
        // The newer processor runs what is for the older one too.
        "armhf" | "armv6" => (Kind::ARMHF, "armhf"),
        _ => return Ok(Vec::new()),
    };
    MEMORIES_MIB.iter().map(|memory_mib| Parts::fetched(kind, architecture, *memory_mib)).collect()
}
