//! Clocks that are wrong, and clocks that are set right: real agents and gateways under libfaketime, each case in a world
//! of its own. Readings of the file have times of their own, which nothing may shift; lines are stamped by the device.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use harness::device::{Device, Shape, now_us};
use harness::oracle::Allowed;
use harness::pki::{Files, Pki, YEAR_S};
use harness::wrong_clock::WrongClock;
use harness::{Cloud, World};

use crate::rig::{Fault, Found, Plan, Size};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Cases at once: they mostly wait.
const THREADS: usize = 3;
const SECOND_US: i64 = 1_000_000;
/// What arrives more than this before it was taken is flagged.
const FUTURE_US: i64 = 300 * SECOND_US;

/// A case: how many clock faults it has, and whether it is in the short form.
type Case = (&'static str, u64, bool, fn(&'static str, &Path, u64) -> anyhow::Result<Found>);

const CASES: &[Case] = &[
    ("a source's times jump back", 2, true, source_jumps_back),
    ("an agent at 1970 learns the time", 2, true, begins_in_1970),
    ("steps while the agent runs", 4, true, steps_while_running),
    ("steps between starts", 3, false, steps_between_starts),
    ("three years ahead from the start", 2, false, ahead_from_the_start),
    ("three years behind from the start", 1, false, never_set),
    ("ninety days behind from the start", 1, true, out_of_a_drawer),
    ("a gateway two years ahead", 1, false, gateway_is_ahead),
    ("a gateway two years behind", 1, false, gateway_is_behind),
];

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let rounds = plan.amount(1, 3, 30);
    let chosen = CASES.iter().filter(|case| plan.size != Size::Short || case.2);
    let jobs: Vec<(PathBuf, u64, &Case)> = (0..rounds)
        .flat_map(|round| chosen.clone().enumerate().map(move |(index, case)| (round, index, case)))
        .map(|(round, index, case)| (plan.folder.join(format!("{round}-{index}")), plan.seed.wrapping_add(round), case))
        .collect();
    let (jobs, sum) = (Arc::new(Mutex::new(jobs)), Arc::new(Mutex::new(Found::default())));
    let has_faketime = WrongClock::new(&plan.folder).is_some();
    let work = || -> anyhow::Result<()> {
        loop {
            let Some((folder, seed, (name, faults, _, play))) = jobs.lock().expect("no thread panics with it").pop()
            else {
                return Ok(());
            };
            let mut found = Found::default();
            if has_faketime || *name == CASES[0].0 {
                found = play(name, &folder, seed).with_context(|| format!("{name}, seed {seed}"))?;
                found.did("clock_faults", *faults);
            } else {
                found.skip(name, "libfaketime is not installed (apt-get install faketime)");
            }
            sum.lock().expect("no thread panics with it").add(found);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a case panicked")))
    })?;
    let found = sum.lock().expect("no thread panics with it").clone();
    Ok(found)
}

/// A world with one device, and what was found in it so far.
struct Scene {
    name: &'static str,
    world: World,
    clock: Option<WrongClock>,
    found: Found,
}

impl Scene {
    /// The certificates are for the present, and the device has a clock of its own.
    fn with_a_wrong_clock(name: &'static str, folder: &Path, seed: u64) -> anyhow::Result<Self> {
        let pki = Pki::create_for_years(&folder.join("pki"));
        let cloud = Cloud::start(&folder.join("cloud"), pki.server());
        let mut world = World::around(folder, seed, pki, cloud);
        let clock = WrongClock::new(folder).context("libfaketime is gone")?;
        world.add("clock-1", &Shape::default()).agent.environment = clock.environment();
        Ok(Self { name, world, clock: Some(clock), found: Found::default() })
    }

    fn device(&mut self) -> &mut Device {
        &mut self.world.devices[0]
    }

    fn set_clock(&self, setting: &str) -> anyhow::Result<()> {
        ensure!(self.clock.as_ref().is_some_and(|clock| clock.set(setting)), "the clock's file cannot be written");
        Ok(())
    }

    fn wait(&mut self, what: &str, mut done: impl FnMut(&World) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let began = Instant::now();
        while !done(&self.world)? {
            if began.elapsed() > DEADLINE {
                let name = self.name;
                self.found.fault(Fault::Lost, 1, || format!("{name}: {what} has not come about in {DEADLINE:?}"));
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Sends lines, and waits until the agent has read them: capture waits for no clock.
    fn lines(&mut self, count: usize) -> anyhow::Result<()> {
        for _ in 0..count {
            self.device().input.send();
            std::thread::sleep(Duration::from_millis(2));
        }
        self.wait("reading the line", |world| Ok(world.devices[0].input.is_line_read()))
    }

    fn drain(&mut self) -> anyhow::Result<()> {
        self.wait("an empty backlog", World::is_drained)
    }

    /// A certificate from so many seconds from now for the gateway, which is started again with it.
    fn use_certificate_of(&mut self, seconds: i64) -> anyhow::Result<()> {
        let files = self.world.pki.server_at(seconds);
        self.use_certificate(files)
    }

    fn use_certificate(&mut self, files: Files) -> anyhow::Result<()> {
        self.world.cloud.stop()?;
        self.world.cloud.gateway.files = files;
        self.world.cloud.gateway.restart();
        Ok(())
    }

    /// Readings of the future are flagged, others are not, by a gateway whose clock is so far ahead.
    fn check_flags(&mut self, ahead_us: i64) -> anyhow::Result<()> {
        let ledger = self.world.cloud.ledger("clock-1")?;
        let limit = now_us() + ahead_us + FUTURE_US;
        // What lies near the limit depends on when it came.
        let clear = ledger.readings.iter().filter(|row| row.time_us.abs_diff(limit) > 60_000_000);
        let wrong = clear.filter(|row| row.is_future != (row.time_us > limit)).count() as u64;
        let name = self.name;
        self.found
            .fault(Fault::Mutated, wrong, || format!("{name}: {wrong} readings have a wrong flag for the future"));
        Ok(())
    }

    /// Everything has to arrive, with its time.
    fn judge(mut self) -> anyhow::Result<Found> {
        let (name, drained) = (self.name, self.world.settle(DEADLINE)?);
        self.found.fault(Fault::Lost, u64::from(!drained), || format!("{name}: the backlog stays"));
        self.device().stop()?;
        self.found.rule(name, &self.world.judge(Allowed::default())?);
        Ok(self.found)
    }
}

/// No wrong clock at all, but a source that repeats its instants, and has some of 1971 and of 2100.
fn source_jumps_back(name: &'static str, folder: &Path, seed: u64) -> anyhow::Result<Found> {
    let mut scene = Scene { name, world: World::start(folder, seed), clock: None, found: Found::default() };
    let device = scene.world.add("clock-1", &Shape::default());
    let hour = |from_us: i64| (0..60).map(|minute| from_us + minute * 60 * SECOND_US).collect::<Vec<i64>>();
    let (then, long_ago, far_ahead) = (1_790_000_000_000_000, 31_536_000_000_000, 4_102_444_800_000_000);
    device.input.offer_at(&hour(then))?;
    device.input.offer_at(&hour(then))?;
    device.start();
    scene.drain()?;
    for from_us in [then, far_ahead, long_ago, then - 30 * 60 * SECOND_US] {
        let device = scene.device();
        device.stop()?;
        device.input.offer_at(&hour(from_us))?;
        device.start();
    }
    scene.drain()?;
    scene.check_flags(0)?;
    scene.judge()
}

/// The agent has never known the time, has no gateway, and is started again meanwhile: its readings get their true time.
fn begins_in_1970(name: &'static str, folder: &Path, seed: u64) -> anyhow::Result<Found> {
    let mut scene = Scene::with_a_wrong_clock(name, folder, seed)?;
    scene.set_clock("@1970-01-01 00:10:00")?;
    scene.world.cloud.gateway.kill();
    for _ in 0..2 {
        let device = scene.device();
        device.stop()?;
        device.input.offer(50)?;
        device.start();
        scene.lines(30)?;
    }
    scene.world.cloud.gateway.restart();
    scene.drain()?;
    scene.lines(30)?;
    scene.judge()
}

/// The clock is stepped by years while the agent runs. While its clock is wrong it must not trust the gateway's
/// certificate; once it is right everything arrives, with its true time.
fn steps_while_running(name: &'static str, folder: &Path, seed: u64) -> anyhow::Result<Found> {
    let mut scene = Scene::with_a_wrong_clock(name, folder, seed)?;
    scene.device().input.offer(50)?;
    scene.device().start();
    scene.drain()?;
    for setting in ["+5y", "-5y", "+90d", "+0"] {
        scene.set_clock(setting)?;
        scene.lines(20)?;
        scene.world.cloud.kill_and_restart();
        scene.lines(20)?;
    }
    scene.judge()
}

/// The agent is started with another time again and again, within one boot, whose offset the gateway knows already.
fn steps_between_starts(name: &'static str, folder: &Path, seed: u64) -> anyhow::Result<Found> {
    let mut scene = Scene::with_a_wrong_clock(name, folder, seed)?;
    scene.device().start();
    scene.lines(20)?;
    scene.drain()?;
    for setting in ["+2y", "-90d", "+0"] {
        scene.device().stop()?;
        scene.set_clock(setting)?;
        scene.device().input.offer(50)?;
        scene.device().start();
        scene.lines(20)?;
    }
    scene.judge()
}

/// Whether time servers discipline this machine's clock. Agents then believe it before any gateway, however wrong it
/// seems to them here.
fn is_disciplined() -> bool {
    Path::new("/run/systemd/timesync/synchronized").exists()
}

/// An agent whose clock is ahead from the beginning, and a gateway with a certificate for that time. The answer to the
/// first hello puts the clock right before anything is sent. One that is disciplined is believed: readings are kept as
/// they are stamped, and flagged, and the boot's offset stays as it came first, also when the clock is set right.
fn ahead_from_the_start(name: &'static str, folder: &Path, seed: u64) -> anyhow::Result<Found> {
    let mut scene = Scene::with_a_wrong_clock(name, folder, seed)?;
    scene.set_clock("+3y")?;
    scene.use_certificate_of(3 * YEAR_S)?;
    scene.device().input.ahead_us = if is_disciplined() { 3 * YEAR_S * SECOND_US } else { 0 };
    scene.device().input.offer(50)?;
    scene.device().start();
    scene.lines(30)?;
    scene.drain()?;
    scene.device().stop()?;
    scene.use_certificate_of(-60)?;
    scene.set_clock("+0")?;
    scene.device().start();
    scene.lines(30)?;
    scene.drain()?;
    scene.check_flags(0)?;
    scene.judge()
}

/// A clock before the first release was never set: the time comes from the gateway.
fn never_set(name: &'static str, folder: &Path, seed: u64) -> anyhow::Result<Found> {
    let scene = Scene::with_a_wrong_clock(name, folder, seed)?;
    scene.set_clock("-3y")?;
    behind_from_the_start(scene)
}

/// A device without a battery lay in a drawer: its clock goes on from the day that it was put there, on which the
/// gateway's certificate was valid already.
fn out_of_a_drawer(name: &'static str, folder: &Path, seed: u64) -> anyhow::Result<Found> {
    if is_disciplined() {
        let mut found = Found::default();
        found.skip(name, "time servers discipline this machine's clock, so agents believe it");
        return Ok(found);
    }
    let mut scene = Scene::with_a_wrong_clock(name, folder, seed)?;
    scene.set_clock("-90d")?;
    let lasting = scene.world.pki.server_since(100);
    scene.use_certificate(lasting)?;
    behind_from_the_start(scene)
}

fn behind_from_the_start(mut scene: Scene) -> anyhow::Result<Found> {
    scene.device().input.offer(50)?;
    scene.device().start();
    scene.lines(30)?;
    scene.drain()?;
    scene.judge()
}

fn gateway_is_ahead(name: &'static str, folder: &Path, seed: u64) -> anyhow::Result<Found> {
    gateway_is_wrong(name, folder, seed, 2 * YEAR_S)
}

fn gateway_is_behind(name: &'static str, folder: &Path, seed: u64) -> anyhow::Result<Found> {
    gateway_is_wrong(name, folder, seed, -2 * YEAR_S)
}

/// Only the gateway's clock is wrong, and the device's certificate is for that time. A clock that nobody disciplines
/// follows a gateway that has a time at all.
fn gateway_is_wrong(name: &'static str, folder: &Path, seed: u64, ahead_s: i64) -> anyhow::Result<Found> {
    let pki = Pki::create_for_years(&folder.join("pki"));
    let clock = WrongClock::new(folder).context("libfaketime is gone")?;
    ensure!(clock.set(&format!("{ahead_s:+}")), "the clock's file cannot be written");
    let cloud = Cloud::start_in(&folder.join("cloud"), pki.server(), clock.environment());
    let files = pki.device_at("clock-1", ahead_s);
    let world = World::around(folder, seed, pki, cloud);
    let mut scene = Scene { name, world, clock: Some(clock), found: Found::default() };
    let follows = ahead_s > 0 && !is_disciplined();
    let input = &mut scene.world.add_with("clock-1", &files, &Shape::default()).input;
    input.ahead_us = if follows { ahead_s * SECOND_US } else { 0 };
    input.offer(50)?;
    scene.device().start();
    scene.lines(30)?;
    scene.world.cloud.kill_and_restart();
    scene.lines(30)?;
    scene.drain()?;
    scene.check_flags(ahead_s * SECOND_US)?;
    scene.judge()
}
