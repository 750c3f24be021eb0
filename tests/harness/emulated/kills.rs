//! The kill journey of an agent that comes with nothing: it takes its certificate, reads a file and a serial line, keeps
//! what it reads, sends it to a real gateway over TLS, and is killed again and again. The oracle says what came of it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::device::Shape;
use crate::issuing::{Issuing, enrol, said};
use crate::oracle::{Allowed, Ruling};
use crate::world::World;
use crate::{Cloud, Device};

/// The device.
const DEVICE: &str = "box-1";
/// Readings in its file at each start.
const ROWS: usize = 400;
/// How long the backlog may take once nothing fails any more: emulated agents are slow, and machines busy.
const BACKLOG_DEADLINE: Duration = Duration::from_secs(120);
/// How long to wait for batches in flight; a kill without any does not count.
const LOAD_DEADLINE: Duration = Duration::from_secs(10);

/// What was done, and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Kills of the agent with batches in flight.
    pub agents: u64,
    /// Kills of the gateway with batches in flight.
    pub gateways: u64,
    /// Kills that met nothing in flight.
    pub idle: u64,
    /// What the oracle says.
    pub ruling: Ruling,
}

/// Runs the journey in `folder` with `agent` as the agent's program, until `kills` were counted.
///
/// # Errors
/// When something does not start, the agent gets no certificate, or the backlog does not end.
pub fn run(folder: &Path, agent: &Path, seed: u64, kills: u64) -> anyhow::Result<Outcome> {
    let stage = Issuing::start(folder);
    let claim = stage.claim(DEVICE, DEVICE);
    let mut newcomer = stage.newcomer(DEVICE, DEVICE);
    newcomer.program = agent.to_owned();
    let output = enrol(&newcomer, &claim);
    anyhow::ensure!(output.status.success(), "it gets no certificate: {}", said(&output));
    let files = stage.places(DEVICE);
    let Issuing { pki, gateway, .. } = stage;
    let mut world = World::around(folder, seed, pki, Cloud::around(&folder.join("cloud"), gateway));
    let device = world.add_with(DEVICE, &files, &Shape::default());
    device.agent.program = agent.to_owned();
    device.input.offer(ROWS)?;
    device.start();
    let mut outcome = Outcome::default();
    let began = Instant::now();
    while outcome.agents + outcome.gateways < kills {
        anyhow::ensure!(outcome.idle < 10 + kills, "kills meet nothing in flight: {}", world.devices[0].log_tail());
        strike(&mut world, &mut outcome)?;
    }
    let took = began.elapsed();
    let drained = world.settle(BACKLOG_DEADLINE)?;
    anyhow::ensure!(drained, "the backlog is not gone after {BACKLOG_DEADLINE:?}: {}", world.devices[0].log_tail());
    outcome.ruling = world.judge(Allowed::default()).with_context(|| format!("after kills for {took:?}"))?;
    Ok(outcome)
}

/// Kills the agent, or one time in three the gateway, at a random moment; and starts it again.
fn strike(world: &mut World, outcome: &mut Outcome) -> anyhow::Result<()> {
    let moment = world.random.millis(1, 400);
    talk(&mut world.devices[0], moment);
    let in_flight = waits_for_load(world)?;
    let counted = if world.random.one_in(3) {
        world.cloud.gateway.kill();
        let away = world.random.millis(1, 300);
        talk(&mut world.devices[0], away);
        world.cloud.gateway.restart();
        &mut outcome.gateways
    } else {
        let device = &mut world.devices[0];
        device.kill();
        device.input.offer(ROWS)?;
        device.start();
        &mut outcome.agents
    };
    *if in_flight { counted } else { &mut outcome.idle } += 1;
    Ok(())
}

/// Readings on the line, for a while.
fn talk(device: &mut Device, time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        device.input.send();
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Talks until the agent holds what the gateway does not have. Answers whether it does.
fn waits_for_load(world: &mut World) -> anyhow::Result<bool> {
    let began = Instant::now();
    while began.elapsed() < LOAD_DEADLINE {
        if world.devices[0].has_batches_in_flight(&world.cloud)? {
            return Ok(true);
        }
        talk(&mut world.devices[0], Duration::from_millis(15));
    }
    Ok(false)
}
