//! Certificates that are renewed under load, again and again: nothing is lost or doubled, each renewal connects anew once,
//! and the old certificate is good until the new one has connected.
//!
//! A round begins with certificates of which 25 of 30 days are over, as if devices had been on a shelf; each device is
//! issued as many in a day as it may be.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::device::Shape;
use harness::issuing::{Issuing, PATIENCE};
use harness::mqtt::{Packet, Stream};
use harness::oracle::Allowed;
use harness::pki::Files;
use harness::{Cloud, Device, World};

use crate::part::{Found, Plan};

const DAY: i64 = 86_400;
/// Certificates that a device may be issued in a day.
const ROUNDS: usize = 4;
/// Rows that a device's file grows by with each start: they are sent while its certificate is renewed.
const ROWS: usize = 300;

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let (devices, rounds) = (plan.amount(5, 25), plan.amount(1, ROUNDS));
    let Issuing { pki, gateway, .. } = Issuing::start(&plan.folder);
    let mut world = World::around(&plan.folder, plan.seed, pki, Cloud::around(&plan.folder, gateway));
    let mut old = Vec::new();
    for place in 0..devices {
        let name = format!("turn-{place}");
        let own = places(&plan.folder.join("tls"), &name)?;
        std::fs::copy(world.pki.anchor(), &own.authority)?;
        world.add_with(&name, &own, &Shape::default());
    }
    for round in 0..rounds {
        let before = world.devices.iter().map(Seen::of).collect::<Vec<_>>();
        old = begin(&mut world, round)?;
        turn(&mut world, &old, &before, &mut found)?;
    }
    found.count("rotations", devices * rounds);
    let drained = world.settle(Duration::from_secs(60))?;
    found.check(drained, || "the backlog is not gone after a minute".to_owned());
    let ruling = world.judge(Allowed::default())?;
    found.check(ruling.is_clean() && ruling.named == 0, || format!("after all rotations: {ruling}"));
    found.measured("rotation_readings", ruling.matched);
    found.measured("rotation_readings_lost", ruling.lost);
    found.measured("rotation_readings_doubled", ruling.doubled);
    for (device, old) in world.devices.iter().zip(&old) {
        let answer = knock(world.cloud.gateway.mqtt_port, old, &device.agent.device);
        found.check(matches!(answer, Ok(0)), || format!("{}: its old certificate: {answer:?}", device.agent.device));
    }
    Ok(found)
}

/// Where a device has its certificate.
fn places(folder: &Path, name: &str) -> anyhow::Result<Files> {
    std::fs::create_dir_all(folder)?;
    let file = |ending: &str| folder.join(format!("{name}.{ending}"));
    Ok(Files { authority: file("ca"), certificate: file("crt"), key: file("key") })
}

/// Gives each device a certificate that is to be renewed, and starts it. Those certificates.
fn begin(world: &mut World, round: usize) -> anyhow::Result<Vec<Files>> {
    let mut all = Vec::new();
    for device in &mut world.devices {
        device.stop()?;
        let made = world.pki.device_at(&device.agent.device, -25 * DAY - i64::try_from(round)?);
        certs::files::replace(&device.files.key, &std::fs::read(&made.key)?, 0o600)?;
        certs::files::replace(&device.files.certificate, &std::fs::read(&made.certificate)?, 0o644)?;
        all.push(made);
    }
    for device in &mut world.devices {
        device.input.offer(ROWS)?;
        device.start();
    }
    Ok(all)
}

/// Readings flow until each device has connected with a new certificate, and a while beyond.
fn turn(world: &mut World, old: &[Files], before: &[Seen], found: &mut Found) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut waiting: Vec<usize> = (0..world.devices.len()).collect();
    while !waiting.is_empty() {
        anyhow::ensure!(began.elapsed() < PATIENCE, "no new certificate:\n{}", world.devices[waiting[0]].log_tail());
        flow(world);
        let mut left = Vec::new();
        for place in waiting {
            let (device, was) = (&world.devices[place], std::fs::read(&old[place].certificate)?);
            let is_next_there =
                with(&device.files.certificate, ".next").exists() && with(&device.files.key, ".next").exists();
            let is_old_there = std::fs::read(&device.files.certificate)? == was;
            // Looked at in this order: the next pair only goes once it has connected.
            let is_kept = !is_next_there || is_old_there || !with(&device.files.key, ".next").exists();
            found.check(is_kept, || format!("{}: the old one went first", device.agent.device));
            if is_old_there {
                left.push(place);
            }
        }
        waiting = left;
    }
    // A device says so once it is on the disk, which takes as long as that takes.
    let due = Seen { connected: 2, tried: 1, promoted: 1, lost: 0 };
    let is_due =
        |world: &World| world.devices.iter().zip(before).all(|(device, before)| Seen::of(device).since(before) == due);
    while !is_due(world) && began.elapsed() < PATIENCE {
        flow(world);
    }
    // Who connects once more, or loses its connection, does so soon.
    let until = Instant::now() + Duration::from_millis(500);
    while Instant::now() < until {
        flow(world);
    }
    for (device, before) in world.devices.iter().zip(before) {
        let since = Seen::of(device).since(before);
        found.check(since == due, || format!("{}: {since:?} where {due:?} was due", device.agent.device));
        let again = u64::try_from(since.connected)?.saturating_sub(1);
        let most = found.figures.get("rotation_reconnects_max").copied().unwrap_or(0).max(again);
        found.measured("rotation_reconnects_max", most);
    }
    Ok(())
}

fn flow(world: &mut World) {
    world.devices.iter_mut().for_each(|device| {
        device.input.send();
    });
    std::thread::sleep(Duration::from_millis(10));
}

fn with(path: &Path, ending: &str) -> std::path::PathBuf {
    format!("{}{ending}", path.display()).into()
}

/// How often a device's log says what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    connected: usize,
    tried: usize,
    promoted: usize,
    lost: usize,
}

impl Seen {
    fn of(device: &Device) -> Self {
        let log = std::fs::read_to_string(device.agent.folder.join("agent.log")).unwrap_or_default();
        let count = |what: &str| log.matches(what).count();
        Self {
            connected: count(" connected host="),
            tried: count("connecting with the next certificate"),
            promoted: count("takes the place of the old one"),
            lost: count("not connected"),
        }
    }

    fn since(self, before: &Self) -> Self {
        Self {
            connected: self.connected - before.connected,
            tried: self.tried - before.tried,
            promoted: self.promoted - before.promoted,
            lost: self.lost - before.lost,
        }
    }
}

/// Connects as `name` with `files`; the code of the answer.
pub(crate) fn knock(port: u16, files: &Files, name: &str) -> anyhow::Result<u8> {
    let mut stream = Stream::connect(port, files)?;
    stream.send(&Packet::Connect { client: name.into(), clean: true, keep_alive_s: 60 })?;
    match stream.wait(PATIENCE).context("wait for CONNACK")? {
        Packet::ConnAck { code, .. } => Ok(code),
        other => anyhow::bail!("{other:?}"),
    }
}
