//! Devices that connect to a broker: real agents, a real Mosquitto with the shipped configuration, a real gateway.

use std::path::Path;
use std::time::Duration;

use harness::device::Shape;
use harness::oracle::Allowed;
use harness::{Cloud, Device, Pki, World};

mod mosquitto;

use mosquitto::Mosquitto;

/// For all that was offered to arrive once faults are over.
const SOON: Duration = Duration::from_secs(40);

/// A gateway behind a broker; devices connect to the broker only.
struct Behind {
    world: World,
    broker: Mosquitto,
}

impl Behind {
    fn start(folder: &Path, change: impl Fn(&str) -> String) -> Option<Self> {
        let pki = Pki::create(&folder.join("pki"));
        let server = pki.server();
        let broker = Mosquitto::start(&folder.join("broker"), &server, change)?;
        let cloud = Cloud::start_with(&folder.join("cloud"), server, &broker.table(&pki));
        Some(Self { world: World::around(folder, seed(), pki, cloud), broker })
    }

    /// Adds a device that sends to the broker, and starts it.
    fn add(&mut self, id: &str) {
        let shape = Shape { line: None, ..Shape::default() };
        let files = self.world.pki.device(id);
        let mut device = Device::new(&self.world.folder.join(id), id, self.broker.port, &files, &shape);
        device.input.offer(200).unwrap();
        device.start();
        self.world.devices.push(device);
    }

    /// Offers more, and has the agents read it.
    fn offer_more(&mut self, count: usize) {
        for device in &mut self.world.devices {
            device.stop().unwrap();
            device.input.offer(count).unwrap();
            device.start();
        }
    }

    /// All that was offered is there once, and the agents know.
    fn judge(&mut self) {
        let settled = self.world.settle(SOON).unwrap();
        let logs = || {
            let device = self.world.devices[0].log_tail();
            let gateway = self.world.cloud.gateway.process.as_ref().map(|process| process.log_text());
            format!("{device}\n{}\n{}", gateway.unwrap_or_default(), self.broker.log())
        };
        assert!(settled, "not all arrived:\n{}", logs());
        let ruling = self.world.judge(Allowed::default()).unwrap();
        assert!(ruling.is_clean(), "{ruling:?}\n{}", logs());
        println!("{ruling:?}");
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
    let Some(mut behind) = Behind::start(folder.path(), str::to_owned) else { return };
    for id in ["cgm-1", "cgm-2", "meter-1"] {
        behind.add(id);
    }
    behind.judge();
}
