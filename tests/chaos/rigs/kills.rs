//! SIGKILL to agents and the gateway at random moments, under load: several devices, each with a file that grows at
//! each of its starts and a serial line. Half of the gateways are frozen before they die, so that what devices send them
//! meanwhile dies with them, and a quarter cannot write for a while; some processes are only frozen for a while.

use std::time::{Duration, Instant};

use anyhow::Context;
use harness::World;
use harness::device::Shape;
use harness::oracle::Allowed;

use crate::rig::{Fault, Found, Plan};

/// Devices at once, so that there is load on whatever dies.
const DEVICES: usize = 4;
/// How long the backlog may take once nothing fails any more.
const BACKLOG_DEADLINE: Duration = Duration::from_secs(30);
/// How long to wait for load, where there is none: a kill without it does not count.
const LOAD_DEADLINE: Duration = Duration::from_millis(500);

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let mut found = Found::default();
    // The rig `gateways` has a hundred more of gateways.
    let kills = plan.amount(12, 240, 3_000);
    let mut world = World::start(&plan.folder, plan.seed);
    for device in 0..DEVICES {
        let device = world.add(&format!("device-{device}"), &Shape::default());
        device.input.offer(2_000)?;
        device.start();
    }
    let mut counted = kill_gateway(&mut world, &mut found, Before::Stalled)?;
    while counted < kills {
        let load = world.random.millis(5, 220);
        live(&mut world, load);
        counted += strike(&mut world, &mut found)?;
    }
    found.did("kills", counted);
    let drained = world.settle(BACKLOG_DEADLINE).context("after the kills")?;
    found.fault(Fault::Lost, u64::from(!drained), || format!("the backlog is not gone after {BACKLOG_DEADLINE:?}"));
    for device in &mut world.devices {
        device.stop()?;
    }
    found.rule("after the kills", &world.judge(Allowed::default())?);
    Ok(found)
}

/// Readings on every line, for a while.
pub(super) fn live(world: &mut World, time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        world.devices.iter_mut().for_each(|device| {
            device.input.send();
        });
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Kills or freezes somebody. Answers how many kills there were with batches in flight.
fn strike(world: &mut World, found: &mut Found) -> anyhow::Result<u64> {
    match world.random.below(10) {
        0 => {
            let (time, who) = (world.random.millis(20, 300), world.random.index(DEVICES + 1));
            found.did("pauses", 1);
            match world.devices.get(who) {
                Some(device) => device.pause(time),
                None => world.cloud.pause(time),
            }
            Ok(0)
        }
        1..5 => {
            let before = match world.random.below(8) {
                0..4 => Before::Frozen,
                4..7 => Before::Stalled,
                _ => Before::Nothing,
            };
            kill_gateway(world, found, before)
        }
        _ => {
            let victims = 1 + world.random.index(2);
            (0..victims).map(|_| kill_agent(world)).sum()
        }
    }
}

fn kill_agent(world: &mut World) -> anyhow::Result<u64> {
    let who = world.random.index(DEVICES);
    let (rows, nap) = (world.random.index(3_000), world.random.one_in(4));
    let in_flight = wait_for_load(world, |world| world.devices[who].has_batches_in_flight(&world.cloud))?;
    let device = &mut world.devices[who];
    device.kill();
    device.input.offer(rows)?;
    if nap {
        let time = world.random.millis(1, 200);
        live(world, time);
    }
    world.devices[who].start();
    if world.random.one_in(2) {
        return Ok(u64::from(in_flight));
    }
    // Once more, while it reads the file: each of its commits moves the place to resume from.
    std::thread::sleep(world.random.millis(15, 90));
    let device = &mut world.devices[who];
    let reads = !device.is_file_read()?;
    device.kill();
    device.start();
    Ok(u64::from(in_flight) + u64::from(reads))
}

/// What happens to a gateway before it dies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// It does nothing any more, and still takes bytes in.
    Frozen,
    /// It cannot write: what it says of its commits until then is not true.
    Stalled,
    Nothing,
}

fn kill_gateway(world: &mut World, found: &mut Found, before: Before) -> anyhow::Result<u64> {
    let is_loaded = |world: &World| {
        let loaded = world.devices.iter().map(|device| device.has_batches_in_flight(&world.cloud));
        loaded.collect::<anyhow::Result<Vec<bool>>>().map(|loaded| loaded.contains(&true))
    };
    let in_flight = wait_for_load(world, is_loaded)?;
    let stalled = if before == Before::Stalled { Some(world.cloud.stall_store()?) } else { None };
    if before == Before::Frozen {
        world.cloud.gateway.process.iter().for_each(harness::process::Process::freeze);
    }
    if before != Before::Nothing {
        let time = world.random.millis(60, 200);
        live(world, time);
    }
    world.cloud.gateway.kill();
    drop(stalled);
    // Whatever agents were told until now is in the database of the dead, or it was told too early. Marks of receipts
    // ride in the next append.
    live(world, Duration::from_millis(60));
    for device in &world.devices {
        let early = device.early_receipts(&world.cloud)?;
        found.fault(Fault::EarlyReceipt, early.len() as u64, || {
            format!("{}: batch {} was confirmed and died with the gateway", device.agent.device, early[0].1)
        });
    }
    world.cloud.gateway.restart();
    Ok(u64::from(in_flight))
}

/// Gives load its chance. Answers whether there is any.
fn wait_for_load(world: &mut World, is_loaded: impl Fn(&World) -> anyhow::Result<bool>) -> anyhow::Result<bool> {
    let began = Instant::now();
    loop {
        if is_loaded(world)? {
            return Ok(true);
        }
        if began.elapsed() > LOAD_DEADLINE {
            return Ok(false);
        }
        world.devices.iter_mut().for_each(|device| {
            device.input.send();
        });
    }
}
