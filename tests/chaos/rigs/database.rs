//! PostgreSQL dies under two gateways, again and again, many times in the middle of COMMIT; and in another world it is away
//! for a while: nothing is acknowledged that it does not have, no memory grows, no device is sent away, and all of it
//! drains after.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::database::Shared;
use harness::device::Shape;
use harness::oracle::Allowed;
use harness::proxy::{Plan as Passage, Proxy};
use harness::servers::postgres::Settings;
use harness::servers::{Edition, Missing, Mosquitto, Postgres};
use harness::{Cloud, Pki, World};

use super::gateways::table;
use super::kills::live;
use crate::rig::{Fault, Found, Plan, Size};

mod away;
mod crowd;

/// The database's name.
const DATABASE: &str = "cloud";
const GATEWAYS: usize = 2;
/// Worlds whose server is killed, at once.
const KILLING_WORLDS: u64 = 2;
/// Devices at once.
const DEVICES: usize = 3;
/// How long the backlog may take once nothing fails any more.
const BACKLOG_DEADLINE: Duration = Duration::from_secs(60);
/// How often the devices' clients ping: two pings without an answer, or one and a half of these without a sign of life
/// while something is under way, end a connection. While the database is away, nothing but pings is answered.
const KEEP_ALIVE_S: u64 = 5;
/// Each COMMIT takes at least so many microseconds, so that many are met by a kill.
const COMMIT_DELAY_US: u32 = 5_000;

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    // To die and to come back is mostly waiting, and to be away is nothing else: each world has a server of its own.
    let worlds = plan.amount(1, KILLING_WORLDS, KILLING_WORLDS);
    let kills = plan.amount(3, 100, 1_000) / worlds;
    let away = Duration::from_secs(plan.amount(5, 35, 600));
    // In the short form no device asks a second time, so behind a broker there would be nothing to see.
    let aways: &[Door] = if plan.size == Size::Short { &[Door::Balancer] } else { &[Door::Balancer, Door::Broker] };
    std::thread::scope(|scope| {
        let away = aways.iter().map(|door| scope.spawn(move || live_through(plan, *door, 0, |stage| stage.away(away))));
        let die = |world| scope.spawn(move || live_through(plan, Door::Balancer, world, |stage| stage.die(kills)));
        let parts: Vec<_> = away.chain((1..=worlds).map(die)).collect();
        let mut found = Found::default();
        for part in parts {
            found.add(part.join().map_err(|_| anyhow::anyhow!("a world panicked"))??);
        }
        Ok(found)
    })
}

/// How devices reach gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// A connection goes to the next gateway that takes it.
    Balancer,
    /// A message goes to any gateway that listens, by Mosquitto's shared subscription.
    Broker,
}

/// A world from its beginning to its judgement, with `fate` in between.
fn live_through(
    plan: &Plan,
    door: Door,
    world: u64,
    fate: impl FnOnce(&mut Stage) -> anyhow::Result<()>,
) -> anyhow::Result<Found> {
    let folder = plan.folder.join(format!("{door:?}-{world}"));
    let mut stage = match Stage::set(&folder, plan.seed.wrapping_add(world), door) {
        Ok(stage) => stage,
        Err(error) => {
            let mut found = Found::default();
            let Some(missing) = error.downcast_ref::<Missing>() else { return Err(error) };
            found.skip(if world == 0 { "database_away" } else { "database_kills" }, &missing.0);
            return Ok(found);
        }
    };
    fate(&mut stage).with_context(|| format!("world {world} behind a {door:?}"))?;
    stage.judge()
}

/// How the server goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Death {
    /// SIGKILL to all of it.
    Killed,
    /// A fast restart, as when another takes over.
    Restarted,
}

/// Everything that runs.
struct Stage {
    world: World,
    found: Found,
    proxy: Proxy,
    server: Postgres,
    door: Door,
    _broker: Option<Mosquitto>,
}

impl Stage {
    fn set(folder: &Path, seed: u64, door: Door) -> anyhow::Result<Self> {
        let pki = Pki::create(&folder.join("pki"));
        let lines = vec![format!("commit_delay = {COMMIT_DELAY_US}"), "commit_siblings = 0".to_owned()];
        let settings = Settings { lines, ..Settings::default() };
        let server = Postgres::start_with(&folder.join("server"), Edition::Plain15, &settings)?;
        let files = pki.server();
        let shared = Shared::prepare(&server, DATABASE, &folder.join("shared"), &files)?;
        let names: Vec<String> = (0..GATEWAYS).map(|place| format!("gateway-{place}")).collect();
        let broker = match door {
            Door::Balancer => None,
            Door::Broker => Some(Mosquitto::start_shipped(&folder.join("broker"), &files, &names)?),
        };
        let table = |name: &String| broker.as_ref().map_or_else(String::new, |broker| table(broker, &pki.device(name)));
        let tables: Vec<String> = names.iter().map(table).collect();
        let mut cloud = Cloud::start_many(&folder.join("cloud"), &files, &shared, &tables);
        let ports = match &broker {
            None => cloud.gateways().map(|gateway| gateway.mqtt_port).collect(),
            Some(broker) => vec![broker.port],
        };
        let proxy = Proxy::start(0).context("start a balancer")?;
        proxy.balance(&ports);
        proxy.open(Passage::default());
        cloud.door = Some(proxy.port);
        let mut world = World::around(folder, seed, pki, cloud);
        let shape = Shape { uplink_settings: format!("keep_alive_s = {KEEP_ALIVE_S}"), ..Shape::default() };
        for device in 0..DEVICES {
            let device = world.add(&format!("device-{device}"), &shape);
            device.input.offer(500)?;
            device.start();
        }
        for device in &world.devices {
            world.cloud.wait_for_first(&device.agent.device, BACKLOG_DEADLINE);
        }
        Ok(Self { world, found: Found::default(), proxy, server, door, _broker: broker })
    }

    /// The server is killed so many times, and restarted now and then in between.
    fn die(&mut self, kills: u64) -> anyhow::Result<()> {
        for _ in 0..kills {
            self.strike(Death::Killed).context("kill the server")?;
            if self.world.random.one_in(10) {
                self.strike(Death::Restarted).context("restart the server")?;
            }
        }
        Ok(())
    }

    /// The server goes under load and comes back; then what agents were told is held against what it has.
    fn strike(&mut self, death: Death) -> anyhow::Result<()> {
        let load = self.world.random.millis(20, 250);
        live(&mut self.world, load);
        let settled = self.settled()?;
        if death == Death::Killed {
            self.server.kill()?;
            self.found.did("database_kills", 1);
            self.found.did("kills", 1);
            let down = self.world.random.millis(1, 200);
            live(&mut self.world, down);
        } else {
            self.found.did("database_restarts", 1);
        }
        self.server.restart()?;
        // Marks of receipts ride in the next append.
        live(&mut self.world, Duration::from_millis(60));
        self.check_receipts()?;
        let began = Instant::now();
        while self.settled()? <= settled && began.elapsed() < BACKLOG_DEADLINE {
            live(&mut self.world, Duration::from_millis(10));
        }
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
        self.reader()?.number("select coalesce(sum(last - first + 1), 0)::bigint from settled")
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
