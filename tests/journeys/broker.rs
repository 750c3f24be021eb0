//! Devices that connect to a broker: real agents, a real Mosquitto with the shipped configuration, a real gateway.

use std::path::Path;
use std::time::Duration;

use harness::device::Shape;
use harness::oracle::Allowed;
use harness::process::Process;
use harness::{Cloud, Device, Gateway, Pki, World, wait_for};

mod enrol;
mod mosquitto;
mod receipts;
mod revoked;
mod rights;

use mosquitto::Mosquitto;

/// For all that was offered to arrive once faults are over. An agent whose hello met no gateway asks again after 10 s,
/// and then after 20.
const SOON: Duration = Duration::from_secs(60);

/// A gateway behind a broker; devices connect to the broker only.
struct Behind {
    world: World,
    broker: Mosquitto,
}

impl Behind {
    /// Two agents that run, each with readings to send. None where there is no Mosquitto.
    fn start(folder: &Path) -> Option<Self> {
        let pki = Pki::create(&folder.join("pki"));
        let server = pki.server();
        let broker = Mosquitto::start(&folder.join("broker"), &server)?;
        let cloud = Cloud::start_with(&folder.join("cloud"), server, &broker.table(&pki));
        let mut behind = Self { world: World::around(folder, seed(), pki, cloud), broker };
        for id in ["cgm-1", "meter-1"] {
            let files = behind.world.pki.device(id);
            let mut device = Device::new(&folder.join(id), id, behind.broker.port, &files, &Shape::default());
            device.input.offer(500).unwrap();
            device.start();
            behind.world.devices.push(device);
        }
        Some(behind)
    }

    /// Readings come in for some hundred milliseconds.
    fn go_on(&mut self) {
        let steps = 5 + self.world.random.below(30);
        for _ in 0..steps {
            for device in &mut self.world.devices {
                device.input.send();
            }
            std::thread::sleep(self.world.random.millis(5, 25));
        }
    }

    fn wait_for_first_readings(&self) {
        for device in &self.world.devices {
            self.world.cloud.wait_for_first(&device.agent.device, SOON);
        }
    }

    /// Everything that was offered is there once, and the agents know: nothing waits to be sent any more.
    fn judge(mut self) {
        let settled = self.world.settle(SOON).unwrap();
        assert!(settled, "not all arrived:\n{}", self.logs());
        let ruling = self.world.judge(Allowed::default()).unwrap();
        println!("{ruling:?}");
        assert!(ruling.is_clean() && ruling.named == 0, "{ruling:?}\n{}", self.logs());
        for device in &mut self.world.devices {
            wait_for("the receipts to be noted", SOON, || {
                let status = String::from_utf8(device.agent.command(&["status"]).stdout).ok()?;
                status.contains("to be sent     0").then_some(()).or_else(|| {
                    device.start();
                    std::thread::sleep(Duration::from_millis(500));
                    device.stop().unwrap();
                    None
                })
            });
        }
    }

    fn logs(&self) -> String {
        let gateway = self.world.cloud.gateway.process.as_ref().map(Process::log_text);
        let agents = self.world.devices.iter().map(Device::log_tail).collect::<Vec<_>>().join("\n");
        format!("{agents}\n{}\n{}", gateway.unwrap_or_default(), self.broker.said())
    }
}

fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
    println!("SEED={seed} repeats this run");
    seed
}

#[test]
fn what_agents_send_through_mosquitto_is_stored_once_and_receipts_come_back_the_same_way() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut behind) = Behind::start(folder.path()) else { return };
    behind.wait_for_first_readings();
    behind.go_on();
    behind.judge();
}

#[test]
fn mosquitto_killed_again_and_again_loses_nothing_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut behind) = Behind::start(folder.path()) else { return };
    for _ in 0..6 {
        behind.go_on();
        behind.broker.kill().unwrap();
        behind.go_on();
        behind.broker.restart().unwrap();
    }
    behind.judge();
}

#[test]
fn mosquitto_that_forgets_all_it_had_for_the_gateway_costs_nothing_because_no_puback_frees_a_buffer() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut behind) = Behind::start(folder.path()) else { return };
    behind.wait_for_first_readings();
    for _ in 0..2 {
        // With the gateway away, Mosquitto acknowledges what it keeps for it, and then it keeps nothing.
        behind.world.cloud.gateway.kill();
        behind.go_on();
        behind.broker.kill().unwrap();
        behind.broker.forget().unwrap();
        behind.broker.restart().unwrap();
        behind.world.cloud.gateway.restart();
        behind.go_on();
    }
    behind.judge();
}

#[test]
fn a_gateway_killed_with_messages_in_flight_gets_them_again_and_stores_them_once() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut behind) = Behind::start(folder.path()) else { return };
    behind.wait_for_first_readings();
    let mut again = 0.0;
    for _ in 0..6 {
        behind.go_on();
        // Frozen first: then Mosquitto has delivered what is never acknowledged.
        behind.world.cloud.gateway.process.as_ref().unwrap().freeze();
        behind.go_on();
        behind.world.cloud.kill_and_restart();
        behind.go_on();
        again += metric(&behind, "tributary_broker_messages_again_total");
    }
    println!("{again} messages were delivered again");
    assert!(again > 0.0, "the kills met nothing in flight");
    behind.judge();
}

fn metric(behind: &Behind, name: &str) -> f64 {
    metric_of(&behind.world.cloud.gateway, name)
}

/// What a gateway's `/metrics` says of `name`.
fn metric_of(gateway: &Gateway, name: &str) -> f64 {
    let url = format!("{}/metrics", gateway.http);
    let text = ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::trim);
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}
