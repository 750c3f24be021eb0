//! PostgreSQL dies under two gateways, again and again, many times in the middle of COMMIT; and it is away for a while:
//! nothing is acknowledged that it does not have, no memory grows, no device is sent away, and all of it drains after.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::database::Shared;
use harness::device::Shape;
use harness::oracle::Allowed;
use harness::proxy::{Plan as Passage, Proxy};
use harness::servers::postgres::Settings;
use harness::servers::{Edition, Missing, Postgres};
use harness::{Cloud, Pki, World};

use super::kills::live;
use crate::rig::{Fault, Found, Plan, Size};

const GATEWAYS: usize = 2;
/// Devices at once.
const DEVICES: usize = 3;
/// How long the backlog may take once nothing fails any more.
const BACKLOG_DEADLINE: Duration = Duration::from_secs(60);
/// What comes in meanwhile must drain so many times as fast as it came.
const DRAIN_TIMES_LIVE: u32 = 5;
/// For a gateway to find its database again, and for an agent to ask its gateway again: no part of draining.
const FOUND_AGAIN: Duration = Duration::from_secs(15);
/// What a gateway's memory may grow by while its database is away: what is under way to it is bounded.
const GROWTH_KIB_MAX: u64 = 24 * 1024;
/// Each COMMIT takes at least so many microseconds, so that many are met by a kill.
const COMMIT_DELAY_US: u32 = 5_000;

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let mut stage = match Stage::set(&plan.folder, plan.seed) {
        Ok(stage) => stage,
        Err(error) => {
            let mut found = Found::default();
            let Some(missing) = error.downcast_ref::<Missing>() else { return Err(error) };
            found.skip("database_kills", &missing.0);
            return Ok(found);
        }
    };
    for _ in 0..plan.amount(3, 100, 1_000) {
        stage.kill().context("kill the server")?;
    }
    let away = Duration::from_secs(plan.amount(5, 20, 600));
    stage.away(away, plan.size).context("stop the server")?;
    stage.judge()
}

/// Everything that runs.
struct Stage {
    world: World,
    found: Found,
    proxy: Proxy,
    server: Postgres,
}

impl Stage {
    fn set(folder: &Path, seed: u64) -> anyhow::Result<Self> {
        let pki = Pki::create(&folder.join("pki"));
        let lines = vec![format!("commit_delay = {COMMIT_DELAY_US}"), "commit_siblings = 0".to_owned()];
        let settings = Settings { lines, ..Settings::default() };
        let server = Postgres::start_with(&folder.join("server"), Edition::Plain15, &settings)?;
        let files = pki.server();
        let shared = Shared::prepare(&server, "cloud", &folder.join("shared"), &files)?;
        let mut cloud = Cloud::start_many(&folder.join("cloud"), &files, &shared, &vec![String::new(); GATEWAYS]);
        let proxy = Proxy::start(0).context("start a balancer")?;
        let ports: Vec<u16> = cloud.gateways().map(|gateway| gateway.mqtt_port).collect();
        proxy.balance(&ports);
        proxy.open(Passage::default());
        cloud.door = Some(proxy.port);
        let mut world = World::around(folder, seed, pki, cloud);
        for device in 0..DEVICES {
            let device = world.add(&format!("device-{device}"), &Shape::default());
            device.input.offer(500)?;
            device.start();
        }
        for device in &world.devices {
            world.cloud.wait_for_first(&device.agent.device, BACKLOG_DEADLINE);
        }
        Ok(Self { world, found: Found::default(), proxy, server })
    }

    /// SIGKILL to all of the server under load, sometimes a fast restart as when another takes over; then what agents
    /// were told is held against what it has.
    fn kill(&mut self) -> anyhow::Result<()> {
        let load = self.world.random.millis(20, 250);
        live(&mut self.world, load);
        let settled = self.settled()?;
        if self.world.random.one_in(5) {
            self.server.restart()?;
            self.found.did("database_restarts", 1);
        } else {
            self.server.kill()?;
            self.found.did("database_kills", 1);
            self.found.did("kills", 1);
            let down = self.world.random.millis(1, 200);
            live(&mut self.world, down);
            self.server.restart()?;
        }
        // Marks of receipts ride in the next append.
        live(&mut self.world, Duration::from_millis(60));
        self.check_receipts()?;
        let began = Instant::now();
        while self.settled()? <= settled && began.elapsed() < BACKLOG_DEADLINE {
            live(&mut self.world, Duration::from_millis(20));
        }
        Ok(())
    }

    /// The server ends in good order and is away for a while.
    fn away(&mut self, time: Duration, size: Size) -> anyhow::Result<()> {
        live(&mut self.world, Duration::from_secs(1));
        self.drain()?;
        let (links, memory) = (self.proxy.accepted(), self.memory());
        // Nothing is under way now.
        let settled = self.settled()?;
        self.server.stop()?;
        let began = Instant::now();
        live(&mut self.world, time);
        let grown = self.memory().saturating_sub(memory);
        let (told, links) = (self.told()?, self.proxy.accepted() - links);
        self.found.fault(Fault::EarlyReceipt, u64::from(told > settled), || {
            format!("{} numbers were confirmed while the database was away", told - settled)
        });
        // An agent whose hello finds no answer hangs up and asks again on a new connection, ever more rarely: it costs
        // nothing, but a device that stays connected would be better.
        self.found.did("connected_again", links as u64);
        self.found.fault(Fault::Lost, u64::from(grown > GROWTH_KIB_MAX), || {
            format!("gateways grew by {grown} KiB while the database was away")
        });
        let away = began.elapsed();
        self.server.restart()?;
        let back = Instant::now();
        self.drain()?;
        let took = back.elapsed();
        let allowed = away / DRAIN_TIMES_LIVE + FOUND_AGAIN;
        self.found.fault(Fault::Lost, u64::from(took > allowed), || {
            format!("what came in {away:?} took {took:?} to drain, at {size:?} size")
        });
        self.found.did("database_away_s", away.as_secs());
        self.found.did("drained_in_ms", u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        self.found.did("grown_kib", grown);
        Ok(())
    }

    /// Waits until all that came is settled.
    fn drain(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.world.is_drained_of_lines()? {
            anyhow::ensure!(
                began.elapsed() < 3 * BACKLOG_DEADLINE,
                "the backlog is not gone after {:?}",
                began.elapsed()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// How many numbers the database calls settled.
    fn settled(&self) -> anyhow::Result<i64> {
        let mut sum = 0;
        for device in &self.world.devices {
            let ledger = self.world.cloud.database.numbers(&device.agent.device)?;
            sum += ledger.settled.values().flatten().map(|(_, first, last)| last - first + 1).sum::<i64>();
        }
        Ok(sum)
    }

    /// How many numbers agents were told are settled.
    fn told(&self) -> anyhow::Result<i64> {
        let mut sum = 0;
        for device in &self.world.devices {
            sum += device.marks()?.covered.iter().map(|(_, first, last)| last - first + 1).sum::<i64>();
        }
        Ok(sum)
    }

    /// Resident memory of all gateways, in KiB.
    fn memory(&mut self) -> u64 {
        let processes = self.world.cloud.gateways().filter_map(|gateway| gateway.process.as_ref());
        processes.map(harness::process::Process::resident_kib).sum()
    }

    fn check_receipts(&mut self) -> anyhow::Result<()> {
        for device in &self.world.devices {
            let early = device.early_receipts(&self.world.cloud)?;
            self.found.fault(Fault::EarlyReceipt, early.len() as u64, || {
                format!("{}: batch {} was confirmed and died with the server", device.agent.device, early[0].1)
            });
        }
        Ok(())
    }

    fn judge(mut self) -> anyhow::Result<Found> {
        let drained = self.world.settle(BACKLOG_DEADLINE).context("after the kills")?;
        self.found
            .fault(Fault::Lost, u64::from(!drained), || format!("the backlog is not gone after {BACKLOG_DEADLINE:?}"));
        for device in &mut self.world.devices {
            device.stop()?;
        }
        self.check_receipts()?;
        self.found.rule("after PostgreSQL died", &self.world.judge(Allowed::default())?);
        Ok(self.found)
    }
}
