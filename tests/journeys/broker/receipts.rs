//! A man at the broker, who may write receipts there: what he says frees nothing, whatever he heard before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use harness::device::Shape;
use harness::mqtt::{Packet, Stream};
use harness::pki::Files;
use harness::{Cloud, Device, Pki, World, wait_for};
use proto::message::{Notice, Receipt, Settled, Settlement, Signature};
use proto::{Channel, DeviceId, Epoch, Nonce, Range};
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

use super::mosquitto::Mosquitto;
use super::{Behind, SOON, seed};

/// His rights at the broker: those of whoever runs it.
const RIGHTS: &str =
    "\nuser mallory\ntopic read trib/1/+/receipt\ntopic read trib/1/+/hello\ntopic write trib/1/+/receipt\n";
/// For Mosquitto to answer.
const PATIENCE: Duration = Duration::from_secs(10);
const DEVICES: [&str; 2] = ["cgm-1", "meter-1"];

/// An Ed25519 key, made as the documents say, and its public half as an agent has it.
struct Key {
    file: PathBuf,
    public: PathBuf,
}

impl Key {
    fn make(folder: &Path, name: &str) -> Self {
        let (file, public) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.pub")));
        let openssl = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            output.stdout
        };
        certs::key_file::create_private(&file, &openssl(&["genpkey", "-algorithm", "ed25519"])).unwrap();
        let der = openssl(&["pkey", "-pubout", "-outform", "DER", "-in", file.to_str().unwrap()]);
        let digits: String = der[der.len() - 32..].iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(&public, digits).unwrap();
        Self { file, public }
    }

    fn sign(&self, device: &DeviceId, receipt: &Receipt) -> Receipt {
        let key = PrivatePkcs8KeyDer::from_pem_file(&self.file).unwrap();
        let signer = any_eddsa_type(&key).unwrap().choose_scheme(&[SignatureScheme::ED25519]).unwrap();
        let signature = signer.sign(&receipt.to_be_signed(device)).unwrap();
        let (first, second) = signature.split_at(32);
        let signature = Signature(first.try_into().unwrap(), second.try_into().unwrap());
        Receipt { signature: Some(signature), ..receipt.clone() }
    }
}

/// The man, connected: what he hears of each device.
struct Man {
    stream: Stream,
    receipts: BTreeMap<String, Vec<Vec<u8>>>,
    /// The last question of each device, and the epochs that it asks about.
    hellos: BTreeMap<String, (Nonce, Vec<Epoch>)>,
}

impl Man {
    fn connect(port: u16, files: &Files) -> Self {
        let mut stream = Stream::connect(port, files).unwrap();
        stream.send(&Packet::Connect { client: "mallory".to_owned(), clean: true, keep_alive_s: 600 }).unwrap();
        assert!(matches!(stream.wait(PATIENCE).unwrap(), Packet::ConnAck { code: 0, .. }));
        let filters = ["trib/1/+/receipt", "trib/1/+/hello"].map(|filter| (filter.to_owned(), 0)).to_vec();
        stream.send(&Packet::Subscribe { id: 1, filters }).unwrap();
        assert!(matches!(stream.wait(PATIENCE).unwrap(), Packet::SubAck { .. }));
        Self { stream, receipts: BTreeMap::new(), hellos: BTreeMap::new() }
    }

    /// Listens until `is_enough` of what was heard.
    fn listen(&mut self, what: &str, mut is_enough: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + SOON;
        while !is_enough(self) {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            if let Some(Packet::Publish { topic, payload, .. }) = self.stream.poll().unwrap() {
                self.heard(&topic.parse().unwrap(), payload);
            }
        }
    }

    fn heard(&mut self, topic: &proto::Topic, payload: Vec<u8>) {
        let device = topic.device.to_string();
        match topic.channel {
            Channel::Receipt => self.receipts.entry(device).or_default().push(payload),
            Channel::Hello => {
                if let Ok(Notice::Hello(hello) | Notice::HelloPart(hello)) = Notice::decode(&payload) {
                    let epochs = hello.epochs.iter().map(|held| held.epoch).collect();
                    self.hellos.insert(device, (hello.nonce, epochs));
                }
            }
            _ => {}
        }
    }

    fn say(&mut self, device: &str, payload: &[u8]) {
        let (topic, payload) = (format!("trib/1/{device}/receipt"), payload.to_vec());
        self.stream.send(&Packet::Publish { topic, id: None, dup: false, retain: false, payload }).unwrap();
    }

    /// Says `payloads` to `device`, and waits until Mosquitto has passed them on: he hears them too.
    fn insist(&mut self, device: &str, payloads: &[Vec<u8>]) {
        let before = self.receipts.get(device).map_or(0, Vec::len);
        payloads.iter().for_each(|payload| self.say(device, payload));
        let count = before + payloads.len();
        self.listen("his own words", |man| man.receipts.get(device).map_or(0, Vec::len) >= count);
    }
}

/// All numbers of an epoch are stored, in answer to a question or unasked.
fn all_stored(epoch: Epoch, nonce: Option<Nonce>) -> Receipt {
    let range = Range::new(1, 1_000_000).unwrap();
    Receipt {
        nonce,
        gateway_time: proto::Instant(1_700_000_000_000_000),
        epoch,
        ranges: vec![Settled { range, state: Settlement::Stored }],
        continued: false,
        refused: Vec::new(),
        signature: None,
    }
}

/// What `status` says of `name`.
fn status(device: &Device, name: &str) -> u64 {
    let text = String::from_utf8(device.agent.command(&["status"]).stdout).unwrap();
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

/// Ends all agents in good order, side by side: without a gateway, each waits for a while for its last receipts.
fn stop_all(behind: &mut Behind) {
    std::thread::scope(|scope| {
        for device in &mut behind.world.devices {
            scope.spawn(|| device.stop().unwrap());
        }
    });
}

#[test]
fn whoever_writes_receipts_at_the_broker_frees_no_reading_and_is_noticed_and_the_gateways_own_free_them() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let server = pki.server();
    let Some(mut broker) = Mosquitto::start(&folder.path().join("broker"), &server) else { return };
    broker.allow(|shipped| format!("{shipped}{RIGHTS}"));
    let (true_key, other_key) = (Key::make(folder.path(), "receipts"), Key::make(folder.path(), "other"));
    let tables = format!("{}[receipts]\nkey_file = {:?}\n", broker.table(&pki), true_key.file);
    let cloud = Cloud::start_with(&folder.path().join("cloud"), server, &tables);
    let mut man = Man::connect(broker.port, &pki.device("mallory"));
    let mut behind = Behind { world: World::around(folder.path(), seed(), pki, cloud), broker };
    let shape = Shape { uplink_settings: format!("receipt_key_file = {:?}", true_key.public), ..Shape::default() };
    for id in DEVICES {
        let files = behind.world.pki.device(id);
        let mut device = Device::new(&folder.path().join(id), id, behind.broker.port, &files, &shape);
        device.input.offer(500).unwrap();
        device.start();
        behind.world.devices.push(device);
    }
    behind.wait_for_first_readings();
    behind.go_on();
    man.listen("receipts for both", |man| DEVICES.iter().all(|id| man.receipts.contains_key(*id)));
    let genuine = man.receipts.clone();
    let noticed = |device: &Device| status(device, "forged receipts");
    assert!(behind.world.devices.iter().all(|device| noticed(device) == 0), "{}", behind.logs());

    // With the gateway away, more is held; and then nothing changes any more but by what the man says.
    behind.world.cloud.gateway.kill();
    behind.go_on();
    stop_all(&mut behind);
    let held: Vec<u64> = behind.world.devices.iter().map(|device| status(device, "to be sent")).collect();
    println!("held without the gateway: {held:?}");
    assert!(held.iter().all(|held| *held > 0), "{held:?}\n{}", behind.logs());
    man.hellos.clear();
    behind.world.devices.iter_mut().for_each(Device::start);
    man.listen("questions of both", |man| DEVICES.iter().all(|id| man.hellos.contains_key(*id)));
    let said = [(DEVICES[0], DEVICES[1]), (DEVICES[1], DEVICES[0])].map(|(id, other)| {
        let ((nonce, epochs), device) = (man.hellos[id].clone(), id.parse::<DeviceId>().unwrap());
        let said: Vec<Receipt> =
            epochs.iter().flat_map(|epoch| [None, Some(nonce)].map(|nonce| all_stored(*epoch, nonce))).collect();
        let unsigned: Vec<_> = said.iter().map(Receipt::encode).collect();
        let by_another: Vec<_> = said.iter().map(|said| other_key.sign(&device, said).encode()).collect();
        let other: DeviceId = other.parse().unwrap();
        let to_another: Vec<_> = said.iter().map(|said| true_key.sign(&other, said).encode()).collect();
        let forged = [unsigned, by_another, to_another, genuine[other.as_str()].clone()].concat();
        man.insist(id, &forged);
        man.insist(id, &genuine[id]);
        forged.len() as u64
    });
    for (device, forged) in behind.world.devices.iter().zip(said) {
        // The first at once, the others in a sum within seconds.
        wait_for("all to be noticed", SOON, || (noticed(device) >= forged).then_some(()));
        assert!(device.agent.process.as_ref().unwrap().log_text().contains("receipts that the gateway did not sign"));
    }
    stop_all(&mut behind);
    for (device, forged) in behind.world.devices.iter().zip(said) {
        assert_eq!(noticed(device), forged, "those of the gateway are not among them");
    }
    let still: Vec<u64> = behind.world.devices.iter().map(|device| status(device, "to be sent")).collect();
    assert_eq!(still, held, "nothing was freed:\n{}", behind.logs());
    behind.world.cloud.gateway.restart();
    behind.judge();
}
