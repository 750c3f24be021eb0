//! Three gateways on one PostgreSQL, and devices that reach any of them: through a TCP balancer, and through Mosquitto's
//! shared subscription. Gateways are killed, paused, and paused or killed between lock and COMMIT; a device says
//! everything to two of them at once.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use harness::database::Shared;
use harness::device::Shape;
use harness::oracle::Allowed;
use harness::pki::Files;
use harness::proxy::{Plan as Passage, Proxy};
use harness::servers::{Edition, Missing, Mosquitto, Postgres, Sql};
use harness::{Cloud, Pki, World};

use super::kills::live;
use crate::rig::{Fault, Found, Plan};

mod held;
mod twin;

use twin::Twin;

const GATEWAYS: usize = 3;
/// Devices at once, so that there is load on whatever dies.
const DEVICES: usize = 3;
/// How long the backlog may take once nothing fails any more: an agent whose hello met no gateway asks again after 10 s,
/// then after 20, 40 and 80.
const BACKLOG_DEADLINE: Duration = Duration::from_secs(160);
/// How long to wait for load, where there is none: a kill without it does not count.
const LOAD_DEADLINE: Duration = Duration::from_millis(500);

pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let mut found = Found::default();
    for (door, kills) in [(Door::Balancer, plan.amount(6, 60, 600)), (Door::Broker, plan.amount(4, 40, 400))] {
        match Stage::set(&plan.folder.join(format!("{door:?}")), plan.seed, door) {
            Ok(stage) => found.add(stage.play(plan, kills).with_context(|| format!("behind a {door:?}"))?),
            Err(error) => match error.downcast_ref::<Missing>() {
                Some(missing) => found.skip("gateway_kills", &missing.0),
                None => return Err(error),
            },
        }
    }
    Ok(found)
}

/// How devices reach gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// A connection goes to the next gateway that takes it.
    Balancer,
    /// A message goes to any gateway that listens.
    Broker,
}

/// Everything that runs.
struct Stage {
    world: World,
    twin: Twin,
    found: Found,
    shared: Shared,
    proxy: Proxy,
    _broker: Option<Mosquitto>,
    _server: Postgres,
    door: Door,
}

impl Stage {
    fn set(folder: &Path, seed: u64, door: Door) -> anyhow::Result<Self> {
        let pki = Pki::create(&folder.join("pki"));
        let files = pki.server();
        let server = Postgres::start(&folder.join("server"), Edition::Plain15)?;
        let shared = Shared::prepare(&server, "cloud", &folder.join("shared"), &files)?;
        let names: Vec<String> = (0..GATEWAYS).map(|place| format!("gateway-{place}")).collect();
        let broker = match door {
            Door::Balancer => None,
            Door::Broker => Some(Mosquitto::start_shipped(&folder.join("broker"), &files, &names)?),
        };
        let table = |name: &String| broker.as_ref().map_or_else(String::new, |broker| table(broker, &pki.device(name)));
        let tables: Vec<String> = names.iter().map(table).collect();
        let mut cloud = Cloud::start_many(&folder.join("cloud"), &files, &shared, &tables);
        let proxy = Proxy::start(broker.as_ref().map_or(0, |broker| broker.port)).context("start a balancer")?;
        let ports: Vec<u16> = cloud.gateways().map(|gateway| gateway.mqtt_port).collect();
        if door == Door::Balancer {
            proxy.balance(&ports);
        }
        proxy.open(Passage::default());
        cloud.door = Some(proxy.port);
        let doors = broker.as_ref().map_or(ports, |broker| vec![broker.port]);
        let twin = Twin::start(doors, pki.device(twin::DEVICE))?;
        let mut world = World::around(folder, seed, pki, cloud);
        for device in 0..DEVICES {
            let device = world.add(&format!("device-{device}"), &Shape::default());
            device.input.offer(500)?;
            device.start();
        }
        let (found, _broker, _server) = (Found::default(), broker, server);
        Ok(Self { world, twin, found, shared, proxy, _broker, _server, door })
    }

    fn play(mut self, plan: &Plan, kills: u64) -> anyhow::Result<Found> {
        let mut counted = 0;
        while counted < kills {
            let load = self.world.random.millis(5, 200);
            live(&mut self.world, load);
            counted += self.strike()?;
        }
        self.found.did("kills", counted);
        self.found.did("gateway_kills", counted);
        if self.door == Door::Balancer {
            for _ in 0..plan.amount(1, 3, 30) {
                self.hold_up()?;
            }
        }
        self.judge()
    }

    /// Kills or pauses a gateway, or some. Answers how many were killed with batches in flight.
    fn strike(&mut self) -> anyhow::Result<u64> {
        let which = self.world.random.index(GATEWAYS);
        match self.world.random.below(8) {
            0 | 1 => {
                let time = self.world.random.millis(20, 500);
                self.found.did("pauses", 1);
                self.gateway(which).freeze();
                live(&mut self.world, time);
                self.gateway(which).thaw();
                Ok(0)
            }
            2 | 3 => {
                let commits = self.halt_commits()?;
                self.kill(&[which], Some(commits))
            }
            4 => self.kill(&[which, (which + 1) % GATEWAYS], None),
            5 => self.kill(&[0, 1, 2], None),
            _ => self.kill(&[which], None),
        }
    }

    fn gateway(&mut self, which: usize) -> &mut harness::Gateway {
        self.world.cloud.gateways().nth(which).expect("there are so many")
    }

    /// Kills some gateways, perhaps in the middle of their commits, and starts them again after a while.
    fn kill(&mut self, which: &[usize], commits: Option<Sql>) -> anyhow::Result<u64> {
        let in_flight = self.wait_for_load()?;
        for place in which {
            self.gateway(*place).kill();
        }
        drop(commits);
        // What agents were told until now is in the database, or it was told too early. Marks of receipts ride in the
        // next append.
        let time = self.world.random.millis(60, 300);
        live(&mut self.world, time);
        self.check_receipts()?;
        for place in which {
            self.gateway(*place).restart();
        }
        Ok(if in_flight { which.len() as u64 } else { 0 })
    }

    fn check_receipts(&mut self) -> anyhow::Result<()> {
        for device in &self.world.devices {
            let early = device.early_receipts(&self.world.cloud)?;
            self.found.fault(Fault::EarlyReceipt, early.len() as u64, || {
                format!("{}: batch {} was confirmed and is not in the database", device.agent.device, early[0].1)
            });
        }
        Ok(())
    }

    /// Gives load its chance. Answers whether there is any.
    fn wait_for_load(&mut self) -> anyhow::Result<bool> {
        let began = Instant::now();
        while began.elapsed() < LOAD_DEADLINE {
            for device in &self.world.devices {
                if device.has_batches_in_flight(&self.world.cloud)? {
                    return Ok(true);
                }
            }
            live(&mut self.world, Duration::from_millis(5));
        }
        Ok(false)
    }

    fn judge(mut self) -> anyhow::Result<Found> {
        let door = self.door;
        let drained = self.world.settle(BACKLOG_DEADLINE).context("after the kills")?;
        self.found.fault(Fault::Lost, u64::from(!drained), || {
            format!("behind a {door:?}: the backlog is not gone after {BACKLOG_DEADLINE:?}")
        });
        for device in &mut self.world.devices {
            device.stop()?;
        }
        self.check_receipts()?;
        self.found.rule(&format!("behind a {door:?}"), &self.world.judge(Allowed::default())?);
        let (frames, ruling) = self.twin.judge(&self.world.cloud)?;
        self.found.did("frames_to_two_gateways", frames);
        self.found.rule(&format!("said to two gateways behind a {door:?}"), &ruling);
        Ok(self.found)
    }
}

/// A gateway's `[broker]` table.
pub(super) fn table(broker: &Mosquitto, files: &Files) -> String {
    let Files { authority, certificate, key } = files;
    format!(
        "[broker]\naddress = \"localhost:{}\"\nauthority_file = {authority:?}\ncertificate_file = {certificate:?}\n\
         key_file = {key:?}\nreconnect_s_min = 0.02\nreconnect_s_max = 0.2\n",
        broker.port
    )
}
