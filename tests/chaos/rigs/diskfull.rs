//! Disks that are full to the last byte, again and again: the agent's, with its gateway away, and the gateway's. Nothing
//! that was accepted is lost without a gap that names it, nothing is confirmed that is not stored, and both go on by
//! themselves once there is room.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::device::{Device, Shape};
use harness::oracle::Allowed;
use harness::small_disk::SmallDisk;
use harness::{Cloud, Pki, World};

use crate::rig::{Fault, Found, Plan};

/// The agent's disk: a little more than the smallest buffer.
const AGENT_MIB: u32 = 12;
const BUFFER: &str = "bytes_max = 8_388_608\nfree_bytes_min = 0";
const GATEWAY_MIB: u32 = 48;
/// How long it may take until capture goes on, or the backlog is gone, once there is room.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long an agent may take to end when it can store nothing.
const END_DEADLINE: Duration = Duration::from_secs(10);

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let (agents, gateways) = (plan.amount(2, 14, 100), plan.amount(1, 6, 40));
    let disk = |name: &str, mib| SmallDisk::mount(&plan.folder.join(name), mib);
    let (agents_disk, gateways_disk) = match (disk("agent-disk", AGENT_MIB), disk("gateway-disk", GATEWAY_MIB)) {
        (Ok(agent), Ok(gateway)) => (agent, gateway),
        (Err(reason), _) | (_, Err(reason)) => {
            let mut found = Found::default();
            found.skip("full disks", &format!("a small disk cannot be mounted: {reason}"));
            return Ok(found);
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| gateway_without_room(plan, gateways_disk, gateways));
        let mut found = agent_without_room(plan, &agents_disk, agents)?;
        found.add(other.join().map_err(|_| anyhow::anyhow!("the gateway's part panicked"))??);
        Ok(found)
    })
}

/// The gateway is away, and the agent's disk is full, and not, and full …
fn agent_without_room(plan: &Plan, disk: &SmallDisk, cycles: u64) -> anyhow::Result<Found> {
    let (mut found, case) = (Found::default(), "the agent's disk is full");
    let mut world = World::start(&plan.folder.join("agent"), plan.seed);
    let shape = Shape { buffer: Some(disk.path.join("buffer.db")), buffer_settings: BUFFER.into(), ..Shape::default() };
    world.add("full-1", &shape).input.offer(1_000)?;
    world.devices[0].start();
    world.cloud.gateway.kill();
    let began = Instant::now();
    while given(&world.devices[0])? == 0 && began.elapsed() < DEADLINE {
        live(&mut world.devices[0], Duration::from_millis(20), || Ok(()))?;
    }
    for cycle in 0..cycles {
        let device = &mut world.devices[0];
        disk.fill().context("fill the disk")?;
        live(device, Duration::from_millis(300), || disk.fill())?;
        match cycle % 3 {
            1 => {
                revive(device);
                // It may end with an error: what it could not store it has not accepted, and says so.
                let ended = device.ends_within(END_DEADLINE).is_some();
                found.fault(Fault::Lost, u64::from(!ended), || {
                    format!("{case}: no end within {END_DEADLINE:?} of SIGTERM")
                });
                device.input.doubt();
                device.input.offer(300)?;
                device.start();
            }
            2 => {
                device.kill();
                device.input.offer(300)?;
                device.start();
            }
            _ => {}
        }
        live(device, Duration::from_millis(200), || disk.fill())?;
        disk.free().context("make room")?;
        let (before, began) = (given(device)?, Instant::now());
        while given(device)? <= before && began.elapsed() < DEADLINE {
            revive(device);
            live(device, Duration::from_millis(20), || Ok(()))?;
        }
        let goes_on = given(device)? > before;
        live(device, Duration::from_millis(200), || Ok(()))?;
        found.fault(Fault::Lost, u64::from(!goes_on), || format!("{case}: capture does not go on, cycle {cycle}"));
        found.did("disk_full_cycles", 1);
    }
    world.cloud.gateway.restart();
    finish(world, case, found)
}

/// The gateway's disk is full, and not, and full: as long as it is, nothing is confirmed.
fn gateway_without_room(plan: &Plan, disk: SmallDisk, cycles: u64) -> anyhow::Result<Found> {
    let (mut found, case) = (Found::default(), "the gateway's disk is full");
    let folder = plan.folder.join("gateway");
    let pki = Pki::create(&folder.join("pki"));
    log_elsewhere(&disk.path, &folder)?;
    let cloud = Cloud::start(&disk.path, pki.server());
    let mut world = World::around(&folder, plan.seed, pki, cloud);
    for device in 0..2 {
        let device = world.add(&format!("full-{device}"), &Shape::default());
        device.input.offer(1_000)?;
        device.start();
    }
    for cycle in 0..cycles {
        disk.fill().context("fill the disk")?;
        for device in &mut world.devices {
            live(device, Duration::from_millis(200), || disk.fill())?;
            if cycle % 2 == 1 {
                device.kill();
                device.input.offer(2_000)?;
                device.start();
            }
            live(device, Duration::from_millis(200), || disk.fill())?;
        }
        for device in &world.devices {
            let early = device.early_receipts(&world.cloud)?.len() as u64;
            found.fault(Fault::EarlyReceipt, early, || format!("{case}: {early} batches are confirmed, cycle {cycle}"));
        }
        if cycle % 3 == 2 {
            world.cloud.gateway.kill();
        }
        disk.free().context("make room")?;
        if world.cloud.gateway.process.as_mut().is_none_or(|process| process.ended().is_some()) {
            world.cloud.gateway.restart();
        }
        let began = Instant::now();
        while !world.is_drained_of_lines()? && began.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_millis(20));
        }
        let goes_on = world.is_drained_of_lines()?;
        found.fault(Fault::Lost, u64::from(!goes_on), || format!("{case}: it does not recover, cycle {cycle}"));
        found.did("disk_full_cycles", 1);
    }
    let found = finish(world, case, found);
    drop(disk);
    found
}

/// What the gateway says of its full disk must not need room on it.
fn log_elsewhere(disk: &Path, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::os::unix::fs::symlink(folder.join("gateway.log"), disk.join("gateway.log"))?;
    Ok(())
}

fn finish(mut world: World, case: &str, mut found: Found) -> anyhow::Result<Found> {
    let drained = world.settle(DEADLINE)?;
    found.fault(Fault::Lost, u64::from(!drained), || format!("{case}: the backlog is not gone after {DEADLINE:?}"));
    for device in &mut world.devices {
        device.stop()?;
    }
    found.rule(case, &world.judge(Allowed::default())?);
    Ok(found)
}

/// An agent may refuse to start without room; whoever watches over it starts it again.
fn revive(device: &mut Device) {
    if device.agent.process.as_mut().is_some_and(|process| process.ended().is_some()) {
        device.input.doubt();
        device.start();
    }
}

/// Lines for a while, and whatever else is to be done meanwhile.
fn live(device: &mut Device, time: Duration, mut meanwhile: impl FnMut() -> std::io::Result<()>) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < time {
        device.input.send();
        meanwhile()?;
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// How many numbers the agent has given.
fn given(device: &Device) -> anyhow::Result<i64> {
    Ok(device.marks()?.epochs.iter().map(|(_, last)| last).sum())
}
