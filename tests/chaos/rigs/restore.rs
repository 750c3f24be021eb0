//! What people do with copies: an older buffer put back, two agents started from one disk image, the gateway's database
//! restored to an older day. Nothing is lost that any agent still holds, nothing is doubled, and somebody is told.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use harness::World;
use harness::cloud::copy_database;
use harness::device::Shape;
use harness::oracle::{self, Allowed, Holdings};

use crate::rig::{Fault, Found, Plan};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long two agents of one device contend.
const CONTEST: Duration = Duration::from_secs(2);
/// A copy and what is left of it.
type Case = fn(&Path, u64) -> anyhow::Result<Found>;

const CASES: [Case; 4] = [older_buffer_put_back, two_agents_of_one_image, gateway_restored, gateway_restored_too_late];

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let mut found = Found::default();
    for round in 0..plan.amount(1, 3, 30) {
        let folder = |case: usize| plan.folder.join(format!("{round}-{case}"));
        let results: Vec<anyhow::Result<Found>> = std::thread::scope(|scope| {
            let start = |(index, case): (usize, &'static Case)| {
                let (folder, seed) = (folder(index), plan.seed.wrapping_add(round));
                scope.spawn(move || case(&folder, seed))
            };
            let threads: Vec<_> = CASES.iter().enumerate().map(start).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|_| bail!("a case panicked"))
            };
            threads.into_iter().map(join).collect()
        });
        for part in results {
            found.add(part?);
            found.did("restores", 1);
        }
    }
    Ok(found)
}

/// A world with one device, whose file and first lines have arrived.
fn begin(folder: &Path, seed: u64) -> anyhow::Result<World> {
    let mut world = World::start(folder, seed);
    let device = world.add("copied-1", &Shape::default());
    device.input.offer(500)?;
    device.start();
    lines(&mut world, 0, 30)?;
    drain(&world)?;
    Ok(world)
}

fn lines(world: &mut World, which: usize, count: usize) -> anyhow::Result<()> {
    for _ in 0..count {
        world.devices[which].input.send();
        std::thread::sleep(Duration::from_millis(4));
    }
    wait("the line to be read", || Ok(world.devices[which].input.is_line_read()))
}

fn drain(world: &World) -> anyhow::Result<()> {
    wait("an empty backlog", || world.is_drained())
}

/// These waits are before a copy is used: without them there is nothing to test.
fn wait(what: &str, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !done()? {
        anyhow::ensure!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}, in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Everything has to be there, and `alarm` as well.
fn judged(mut world: World, case: &str, alarm: Option<&str>, allowed: Allowed) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let drained = world.settle(DEADLINE)?;
    found.fault(Fault::Lost, u64::from(!drained), || format!("{case}: the backlog is not gone after {DEADLINE:?}"));
    for device in &mut world.devices {
        device.stop()?;
    }
    found.rule(case, &world.judge(allowed)?);
    told(&world, case, alarm, &mut found)?;
    Ok(found)
}

/// The alarms of a copy are raised where there was one, and no others.
fn told(world: &World, case: &str, alarm: Option<&str>, found: &mut Found) -> anyhow::Result<()> {
    let alarms = world.cloud.ledger("copied-1")?.alarms;
    for kind in ["buffer_copied", "device_twice", "unexplained_gap"] {
        let is_raised = alarms.contains_key(kind);
        let untold = alarm == Some(kind) && !is_raised;
        found.fault(Fault::WrongGap, u64::from(untold), || format!("{case}: no alarm {kind}, only {alarms:?}"));
        let false_alarm = alarm.is_none() && is_raised;
        found.fault(Fault::WrongGap, u64::from(false_alarm), || format!("{case}: a false alarm {kind}"));
    }
    Ok(())
}

/// The device's disk is put back to how it was before the last batches were sealed.
fn older_buffer_put_back(folder: &Path, seed: u64) -> anyhow::Result<Found> {
    let mut world = begin(folder, seed)?;
    world.devices[0].stop()?;
    drain(&world)?;
    let (buffer, copy) = (world.devices[0].buffer().to_path_buf(), folder.join("older.db"));
    copy_database(&buffer, &copy)?;
    for _ in 0..2 {
        world.devices[0].start();
        lines(&mut world, 0, 40)?;
        drain(&world)?;
        world.devices[0].stop()?;
    }
    copy_database(&copy, &buffer)?;
    world.devices[0].start();
    lines(&mut world, 0, 40)?;
    judged(world, "an older buffer was put back", Some("buffer_copied"), Allowed::default())
}

/// Two agents with one certificate, at once, from one image. Each has a line of its own.
fn two_agents_of_one_image(folder: &Path, seed: u64) -> anyhow::Result<Found> {
    let (mut found, case) = (Found::default(), "two agents were started from one image");
    let mut world = begin(folder, seed)?;
    world.devices[0].stop()?;
    let (files, image) = (world.devices[0].files.clone(), world.devices[0].buffer().to_path_buf());
    let shape = Shape { line: Some("line.other"), file: false, ..Shape::default() };
    let twin = world.add_with("copied-1", &files, &shape);
    copy_database(&image, twin.buffer())?;
    world.devices.iter_mut().for_each(harness::Device::start);
    let began = Instant::now();
    while began.elapsed() < CONTEST {
        lines(&mut world, 0, 5)?;
        lines(&mut world, 1, 5)?;
    }
    // Each alone can send what is left.
    world.devices.iter_mut().try_for_each(harness::Device::stop)?;
    for which in 0..2 {
        world.devices[which].start();
        let began = Instant::now();
        while !world.devices[which].is_drained(&world.cloud)? && began.elapsed() < DEADLINE {
            std::thread::sleep(Duration::from_millis(20));
        }
        let drained = world.devices[which].is_drained(&world.cloud)?;
        found.fault(Fault::Lost, u64::from(!drained), || format!("{case}: the backlog of one stays"));
        world.devices[which].stop()?;
    }
    let ledger = world.cloud.ledger("copied-1")?;
    let offers = [world.devices[0].accepted()?, world.devices[1].accepted()?].concat();
    let held = Holdings::read(world.devices[0].buffer()).context("read a buffer")?;
    found.rule(case, &oracle::judge(&offers, &ledger, Some(&held), Allowed::default()));
    let early = world.devices[1].early_receipts(&world.cloud)?.len() as u64;
    found.fault(Fault::EarlyReceipt, early, || format!("{case}: {early} batches of the other"));
    told(&world, case, Some("device_twice"), &mut found)?;
    Ok(found)
}

/// The gateway's database is put back to an older day, under an agent that still has what came since.
fn gateway_restored(folder: &Path, seed: u64) -> anyhow::Result<Found> {
    let mut world = begin(folder, seed)?;
    restore_after(&mut world)?;
    world.cloud.gateway.restart();
    lines(&mut world, 0, 20)?;
    judged(world, "the gateway was restored", None, Allowed::default())
}

/// The same, and the agent has let go of some that were confirmed: that is a gap, and an alarm.
fn gateway_restored_too_late(folder: &Path, seed: u64) -> anyhow::Result<Found> {
    let mut world = begin(folder, seed)?;
    restore_after(&mut world)?;
    world.devices[0].stop()?;
    let buffer = rusqlite::Connection::open(world.devices[0].buffer())?;
    let newest: i64 = buffer.query_row("select max(row) from batch", [], |row| row.get(0))?;
    let gone = newest - 3;
    buffer.execute("delete from batch where row <= ?", [gone])?;
    drop(buffer);
    world.cloud.gateway.restart();
    world.devices[0].start();
    lines(&mut world, 0, 20)?;
    let allowed = Allowed { unexplained: true, ..Allowed::default() };
    judged(world, "the gateway was restored too late", Some("unexplained_gap"), allowed)
}

/// A copy of the gateway's database, more readings, and the copy put back; the gateway does not run then.
fn restore_after(world: &mut World) -> anyhow::Result<()> {
    world.cloud.stop()?;
    let copy = world.cloud.back_up()?;
    world.cloud.gateway.restart();
    for _ in 0..3 {
        lines(world, 0, 40)?;
        drain(world)?;
    }
    world.cloud.stop()?;
    world.cloud.restore(&copy)
}
