//! What happens in a drill, one step after the other.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use harness::device::{Device, Shape};
use harness::hours::{Entrance, Hours};
use harness::oracle::Allowed;
use harness::servers::Missing;
use harness::{Gateway, Pki, World};

use super::{AWAY, DEADLINE, HOURS, Keep, RUNNING, STOLEN, wait};
use crate::rig::{Fault, Found, Plan};

/// A world with a gateway that is to be copied, and what was found in it so far.
pub(super) struct Scene {
    world: World,
    keep: Box<dyn Keep>,
    stolen: Device,
    /// What the cloud has of it, as long as it is cut off.
    of_stolen: usize,
    /// Batches that were confirmed and that the copy lacks, of the agent that has fewest.
    uncovered: usize,
    /// Rows of each file, each time.
    rows: usize,
    /// The present, if it is not now.
    present: Option<Hours>,
    found: Found,
}

impl Scene {
    /// All devices have sent something, and one of them is off again.
    pub(super) fn begin(plan: &Plan, folder: &Path, keep: Box<dyn Keep>) -> anyhow::Result<Self> {
        let pki = Pki::create(&folder.join("pki"));
        let mut gateway = Gateway::prepare(&folder.join("cloud"), pki.server(), "");
        gateway.crl = Some(pki.crl());
        keep.furnish(&mut gateway);
        gateway.restart();
        let mut cloud = harness::Cloud::around(&folder.join("cloud"), gateway);
        cloud.database = keep.database(&cloud.gateway);
        let mut stolen =
            Device::new(&folder.join(STOLEN), STOLEN, cloud.port(), &pki.device(STOLEN), &Shape::default());
        let mut world = World::around(folder, plan.seed, pki, cloud);
        let rows = usize::try_from(plan.amount(200, 3_000, 20_000))?;
        for device in RUNNING.into_iter().chain([AWAY]) {
            world.add(device, &Shape::default()).input.offer(rows)?;
        }
        world.devices.iter_mut().for_each(Device::start);
        stolen.input.offer(rows)?;
        stolen.start();
        let (of_stolen, uncovered, present, found) = (0, usize::MAX, None, Found::default());
        let mut scene = Self { world, keep, stolen, of_stolen, uncovered, rows, present, found };
        scene.lines(20);
        scene.drain("the first readings")?;
        wait("the readings of the one to be cut off", || scene.stolen.is_drained(&scene.world.cloud))?;
        let away = scene.world.devices.last_mut().context("there is one that is away")?;
        away.stop()?;
        scene.drain("the last readings of the one that is off")?;
        scene.stolen.stop()?;
        wait("all of the one to be cut off", || scene.stolen.is_drained(&scene.world.cloud))?;
        scene.of_stolen = scene.readings_of(STOLEN)?;
        scene.found.did("readings_before_copy", scene.readings()?);
        Ok(scene)
    }

    /// A copy is made while readings come in.
    pub(super) fn copy(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut copying = self.keep.copying(&self.world.cloud.gateway).spawn().context("start the copy")?;
        let status = loop {
            self.lines(1);
            if let Some(status) = copying.try_wait()? {
                break status;
            }
            if began.elapsed() > DEADLINE {
                copying.kill()?;
                copying.wait()?;
                bail!("the copy is not done after {DEADLINE:?}");
            }
        };
        ensure!(status.success(), "the copy ended with {status}");
        self.found.did("copies", 1);
        self.found.did("copy_ms", u64::try_from(began.elapsed().as_millis())?);
        self.found.did("copy_bytes", self.keep.copy_bytes());
        self.drain("what came while the copy was made")
    }

    /// It is `hours` after the beginning: all are started in that time, and what comes is confirmed.
    pub(super) fn pass(&mut self, hours: u32, leg: u32) -> anyhow::Result<()> {
        let killed = usize::try_from(leg)? % RUNNING.len();
        for (index, device) in self.world.devices[..RUNNING.len()].iter_mut().enumerate() {
            if index == killed { device.kill() } else { device.stop()? }
        }
        self.stolen.stop()?;
        self.world.cloud.stop()?;
        if leg == 1 {
            self.world.pki.revoke(STOLEN);
        }
        self.world.cloud.gateway.crl = Some(self.world.pki.crl());
        self.travel(hours)?;
        self.world.cloud.gateway.restart();
        for device in &mut self.world.devices[..RUNNING.len()] {
            device.input.offer(self.rows)?;
            device.start();
        }
        self.stolen.start();
        self.lines(20);
        self.drain("what came since the copy")
    }

    /// Whoever starts from now on lives that many hours later.
    fn travel(&mut self, hours: u32) -> anyhow::Result<()> {
        let folder = self.world.folder.join(format!("hour-{hours}"));
        match Hours::after(&folder, hours) {
            Ok(present) => self.present = Some(present),
            Err(error) => {
                let missing = error.downcast::<Missing>()?;
                self.found.skip("moved clocks", &missing.to_string());
            }
        }
        let entrance = self.present.as_ref().map_or_else(Entrance::default, Hours::entrance);
        let ahead_us = self.present.as_ref().map_or(0, Hours::ahead_us);
        self.world.cloud.gateway.entrance = entrance.clone();
        for device in self.world.devices.iter_mut().chain([&mut self.stolen]) {
            device.agent.entrance = entrance.clone();
            device.input.ahead_us = ahead_us;
        }
        Ok(())
    }

    /// The agents run on meanwhile.
    pub(super) fn destroy_and_put_back(&mut self) -> anyhow::Result<()> {
        let had = self.readings()?;
        self.world.cloud.gateway.kill();
        self.keep.destroy(&self.world.cloud.gateway)?;
        // With it they note what was confirmed.
        self.lines(20);
        self.keep.put_back(&mut self.world.cloud.gateway)?;
        self.world.cloud.database = self.keep.database(&self.world.cloud.gateway);
        for device in &self.world.devices[..RUNNING.len()] {
            let uncovered = device.early_receipts(&self.world.cloud)?.len();
            self.found.did("confirmed_batches_that_the_copy_lacks", u64::try_from(uncovered)?);
            self.uncovered = self.uncovered.min(uncovered);
        }
        let copied = self.readings()?;
        ensure!(copied < had, "the copy is no older");
        self.found.did("readings_that_the_copy_lacks", had - copied);
        self.found.did("hours_between", if self.present.is_some() { HOURS.into() } else { 0 });
        let began = Instant::now();
        self.world.cloud.gateway.restart();
        self.lines(20);
        self.drain("what the copy lacks")?;
        self.found.did("refill_ms", u64::try_from(began.elapsed().as_millis())?);
        self.found.did("restores", 1);
        Ok(())
    }

    /// The one that was off comes back, and everything has to be there.
    pub(super) fn end(mut self) -> anyhow::Result<Found> {
        let case = format!("the copy of {} was put back", self.keep.name());
        self.world.devices.last_mut().context("there is one that is away")?.input.offer(self.rows)?;
        let drained = self.world.settle(DEADLINE)?;
        self.found.fault(Fault::Lost, u64::from(!drained), || format!("{case}: the backlog stays"));
        self.found.rule(&case, &self.world.judge(Allowed::default())?);
        self.found.did("readings_in_the_end", self.readings()?);
        for device in RUNNING.into_iter().chain([AWAY]) {
            let alarms = self.world.cloud.ledger(device)?.alarms;
            let is_false = alarms.contains_key("unexplained_gap") || alarms.contains_key("device_twice");
            self.found.fault(Fault::WrongGap, u64::from(is_false), || format!("{case}: false alarms {alarms:?}"));
        }
        // Without such there is nothing to be shown.
        ensure!(self.uncovered > 0 || !self.found.is_clean(), "{case}: no agent holds what was confirmed and is lost");
        // It has tried all the while, and was told why not.
        let told = self.stolen.log_tail();
        ensure!(told.contains("Revoked"), "{case}: one that was cut off was not told so:\n{told}");
        let now = self.readings_of(STOLEN)?;
        ensure!(now == self.of_stolen, "{case}: one that was cut off since has got in: {now} readings");
        ensure!(
            self.stolen.has_batches_in_flight(&self.world.cloud)?,
            "{case}: one that was cut off has nothing to send"
        );
        self.stolen.stop()?;
        let verified = self.world.cloud.gateway.ask(&["audit", "verify"]);
        let words = String::from_utf8_lossy(&verified.stderr).into_owned();
        ensure!(verified.status.success(), "{case}: the audit trail cannot be verified: {words}");
        Ok(self.found)
    }

    /// Sends lines to all that run.
    fn lines(&mut self, count: usize) {
        for _ in 0..count {
            let running = self.world.devices.iter_mut().chain([&mut self.stolen]);
            for device in running.filter(|device| device.agent.process.is_some()) {
                device.input.send();
            }
            std::thread::sleep(Duration::from_millis(4));
        }
    }

    fn drain(&self, what: &str) -> anyhow::Result<()> {
        wait(what, || self.world.is_drained())
    }

    /// Readings that the cloud has of all but the one that is cut off.
    fn readings(&self) -> anyhow::Result<u64> {
        let counts = RUNNING.into_iter().chain([AWAY]).map(|device| self.readings_of(device));
        Ok(u64::try_from(counts.sum::<anyhow::Result<usize>>()?)?)
    }

    fn readings_of(&self, device: &str) -> anyhow::Result<usize> {
        Ok(self.world.cloud.ledger(device)?.readings.len())
    }
}
