//! A device that was cut off while its broker has not heard of it: Mosquitto lets it in and takes what it sends, as before.

use std::time::{Duration, Instant};

use harness::issuing::CUT_OFF_WITHIN;
use harness::mqtt::{Packet, Stream};
use harness::wait_for;
use proto::enrol::Enrol;
use proto::message::{Held, Hello, Notice, Receipt};
use proto::{Epoch, Nonce, VERSION};

use super::enrol::{Stage, listening, said};
use super::metric_of;

const PATIENCE: Duration = Duration::from_secs(30);
const KEPT_OUT: &str = "tributary_cut_off_total";

/// A device that goes on sending.
struct Meter {
    stream: Stream,
    name: &'static str,
    last: u16,
}

impl Meter {
    fn new(stage: &Stage, name: &'static str) -> Self {
        let filters = ["receipt", "enrol/answer"].map(|channel| format!("trib/1/{name}/{channel}"));
        let stream =
            listening(stage.broker.port, &stage.pki.device(name), name, &filters.each_ref().map(String::as_str));
        Self { stream, name, last: 1 }
    }

    fn publish(&mut self, channel: &str, payload: Vec<u8>) {
        self.last += 1;
        let topic = format!("trib/1/{}/{channel}", self.name);
        self.stream.send(&Packet::Publish { topic, id: Some(self.last), dup: false, retain: false, payload }).unwrap();
    }

    /// A reading of a time of its own. The broker acknowledges it.
    fn read(&mut self) {
        let time = 1_790_000_000 + u32::from(self.last);
        self.publish("senml", format!(r#"[{{"n":"glucose","u":"mg/dL","bt":{time},"v":104}}]"#).into_bytes());
        loop {
            match self.answer() {
                Packet::PubAck(id) if id == self.last => return, // the broker lets it
                Packet::PubAck(_) => {}
                other => panic!("it hears {other:?}"),
            }
        }
    }

    /// Asks what has been settled.
    fn hello(&mut self, nonce: u8) {
        let held = Held { epoch: Epoch([7; 8]), ranges: vec![], next: 1 };
        let hello = Hello { nonce: Nonce([nonce; 8]), versions: (1, VERSION), epochs: vec![held] };
        self.publish("hello", Notice::Hello(hello).encode());
    }

    /// Asks for its next certificate.
    fn enrol(&mut self) {
        let key = certs::signing_request::new_key().unwrap();
        let request = certs::signing_request::request(&key, self.name).unwrap();
        let device = self.name.parse().unwrap();
        self.publish("enrol", Enrol { nonce: Nonce([9; 8]), device, request }.encode());
    }

    fn answer(&mut self) -> Packet {
        self.stream.wait(PATIENCE).unwrap()
    }

    /// The next receipt that it hears, past acknowledgements.
    fn receipt(&mut self) -> Receipt {
        loop {
            if let Packet::Publish { payload, .. } = self.answer() {
                return Receipt::decode(&payload).unwrap();
            }
        }
    }
}

fn is_connected(stage: &Stage, device: &str) -> bool {
    let devices = stage.gateway.get("/api/v1/devices").unwrap();
    devices["devices"].as_array().unwrap().iter().any(|it| it["id"] == device && it["connected"] == true)
}

/// Waits until so many messages more than `before` were kept out.
fn kept_out(stage: &Stage, before: f64, more: f64) {
    wait_for("messages to be kept out", PATIENCE, || {
        (metric_of(&stage.gateway, KEPT_OUT) >= before + more).then_some(())
    });
}

#[test]
fn a_device_that_its_broker_lets_in_still_is_neither_stored_nor_answered_once_it_is_cut_off_until_it_is_taken_back() {
    let Some(mut stage) = Stage::new() else { return };
    let (mut taken, mut other) = (Meter::new(&stage, "meter-7"), Meter::new(&stage, "meter-8"));
    taken.read();
    taken.hello(1);
    assert_eq!(taken.receipt().nonce, Some(Nonce([1; 8])));
    wait_for("its reading", PATIENCE, || (stage.stored("meter-7") == 1).then_some(()));
    assert!(is_connected(&stage, "meter-7"));

    let revoked = stage.gateway.ask(&["devices", "revoke", "meter-7", "--reason", "key-compromise"]);
    assert!(revoked.status.success(), "{}", said(&revoked));
    let began = Instant::now();
    while metric_of(&stage.gateway, KEPT_OUT) < 1.0 {
        assert!(began.elapsed() < CUT_OFF_WITHIN, "it is heard for too long");
        taken.read();
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("kept out after {:.1} s", began.elapsed().as_secs_f64());
    let (stored, before) = (stage.stored("meter-7"), metric_of(&stage.gateway, KEPT_OUT));
    (0..20).for_each(|_| taken.read());
    taken.publish("batch", b"no frame".to_vec());
    taken.hello(2);
    taken.enrol();
    kept_out(&stage, before, 22.0);
    other.read();
    wait_for("another device's reading", PATIENCE, || (stage.stored("meter-8") == 1).then_some(()));
    assert!(!is_connected(&stage, "meter-7") && is_connected(&stage, "meter-8"));

    // What it sends while no gateway is there waits at the broker, and is not let in by the next one either.
    stage.gateway.kill();
    (0..5).for_each(|_| taken.read());
    stage.gateway.restart();
    kept_out(&stage, 0.0, 5.0);
    other.read();
    wait_for("another device's reading", PATIENCE, || (stage.stored("meter-8") == 2).then_some(()));
    assert_eq!(stage.stored("meter-7"), stored);
    let db = rusqlite::Connection::open(stage.gateway.database()).unwrap();
    let aside: i64 = db.query_row("select count(*) from quarantine", [], |row| row.get(0)).unwrap();
    assert_eq!(aside, 0, "nor is anything of it kept aside");
    let trail = said(&stage.gateway.ask(&["audit", "list", "--device", "meter-7"]));
    let entries = trail.lines().filter(|line| line.contains("denied_publish")).count();
    assert!((1..=4).contains(&entries) && trail.contains("was cut off"), "an entry and a count: {trail}");

    let back = stage.gateway.ask(&["devices", "reinstate", "meter-7"]);
    assert!(back.status.success(), "{}", said(&back));
    wait_for("it to be heard again", PATIENCE, || {
        taken.read();
        (stage.stored("meter-7") > stored).then_some(())
    });
    taken.hello(3);
    assert_eq!(taken.receipt().nonce, Some(Nonce([3; 8])), "and of all that it asked meanwhile it heard nothing");
}
