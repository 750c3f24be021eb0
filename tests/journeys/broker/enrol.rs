//! Enrolment behind Mosquitto, with the access list that is shipped: a shared claim may ask and hear, and nothing else.

use std::process::{Command, Output};
use std::time::Duration;

use harness::issuing::SOURCE;
use harness::mqtt::{Packet, Stream};
use harness::pki::Files;
use harness::process::Process;
use harness::{Agent, Gateway, Pki, wait_for};
use proto::enrol::{Enrol, Enrolled};
use proto::{DeviceId, Nonce};

use super::metric_of;
use super::mosquitto::Mosquitto;

const PATIENCE: Duration = Duration::from_secs(30);
const PACK: &str = r#"[{"n":"glucose","u":"mg/dL","bt":1790000000,"v":104}]"#;
const DAY_S: i64 = 86_400;

/// A gateway that issues certificates, and a broker before it.
pub(super) struct Stage {
    folder: tempfile::TempDir,
    pub(super) pki: Pki,
    pub(super) broker: Mosquitto,
    pub(super) gateway: Gateway,
}

impl Stage {
    /// None where there is no Mosquitto.
    pub(super) fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create_for_years(&folder.path().join("pki"));
        let server = pki.server();
        let broker = Mosquitto::start(&folder.path().join("broker"), &server)?;
        let made = Command::new("openssl").args(["genpkey", "-algorithm", "ed25519"]).output().unwrap();
        let key = folder.path().join("receipts.key");
        certs::key_file::create_private(&key, &made.stdout).unwrap();
        let authority = pki.anchor();
        let tables = format!(
            "[authority]\npath = {:?}\n[receipts]\nkey_file = {key:?}\n{}",
            authority.parent().unwrap(),
            broker.table(&pki)
        );
        let gateway = Gateway::start(&folder.path().join("gateway"), server, &tables);
        let stage = Self { folder, pki, broker, gateway };
        wait_for("the gateway to subscribe", PATIENCE, || {
            stage.gateway.process.as_ref()?.log_text().contains("connected to the broker").then_some(())
        });
        Some(stage)
    }

    /// An agent that knows the broker and whom to trust, and has no certificate.
    fn newcomer(&self, device: &str) -> Agent {
        let folder = self.folder.path().join(device);
        let file = |name: &str| folder.join(name);
        let files = Files { authority: file("ca.crt"), certificate: file("device.crt"), key: file("device.key") };
        let agent = Agent::new(&folder, device, Some(self.broker.port), &files, SOURCE);
        agent.set_uplink("receipt_key_file", &format!("{:?}", file("receipts.pub")));
        std::fs::copy(self.pki.anchor(), file("ca.crt")).unwrap();
        agent
    }

    pub(super) fn stored(&self, device: &str) -> i64 {
        let db = rusqlite::Connection::open(self.gateway.database()).unwrap();
        let sql = "select count(*) from reading join series on series.id = reading.series
                   join device on device.id = series.device where device.name = ?";
        db.query_row(sql, [device], |row| row.get(0)).unwrap_or(0)
    }

    /// What Mosquitto's own client says when it publishes; none where it is not installed.
    fn publish(&self, files: &Files, version: &str, topic: &str) -> Option<Output> {
        let mut command = Command::new("timeout");
        command.args(["5", "mosquitto_pub", "-h", "localhost", "-p", &self.broker.port.to_string(), "-q", "1"]);
        command.arg("--cafile").arg(&files.authority).arg("--cert").arg(&files.certificate);
        command.arg("--key").arg(&files.key).args(["-V", version, "-t", topic, "-m", PACK]);
        if Command::new("mosquitto_pub").arg("--help").output().is_err() {
            println!("skipped: mosquitto_pub is not installed (mosquitto-clients)");
            return None;
        }
        Some(command.output().unwrap())
    }
}

fn enrol(agent: &Agent, claim: &Files) -> Output {
    let (certificate, key) = (claim.certificate.to_str().unwrap(), claim.key.to_str().unwrap());
    agent.command(&["enrol", "--minutes", "2", "--claim-certificate", certificate, "--claim-key", key])
}

pub(super) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A client that listens to what it may and may not hear.
pub(super) fn listening(port: u16, files: &Files, name: &str, filters: &[&str]) -> Stream {
    let mut stream = Stream::connect(port, files).unwrap();
    stream.send(&Packet::Connect { client: name.to_owned(), clean: true, keep_alive_s: 600 }).unwrap();
    assert!(matches!(stream.wait(PATIENCE).unwrap(), Packet::ConnAck { code: 0, .. }));
    let filters = filters.iter().map(|filter| ((*filter).to_owned(), 0)).collect();
    stream.send(&Packet::Subscribe { id: 1, filters }).unwrap();
    assert!(matches!(stream.wait(PATIENCE).unwrap(), Packet::SubAck { .. }));
    stream
}

#[test]
fn a_device_enrols_through_mosquitto_with_a_shared_claim_and_its_readings_are_committed_and_its_certificate_renewed() {
    let Some(stage) = Stage::new() else { return };
    let (claim, other) = (stage.pki.device("claim-fleet"), stage.pki.device("claim-other"));
    let allowed = stage.gateway.ask(&["devices", "allow", "--rule", "meter-*"]);
    assert!(allowed.status.success(), "{}", said(&allowed));
    // Somebody else with a claim listens to all that there is, and so does a device.
    let answers = ["trib/1/+/enrol/answer", "trib/1/claim-fleet/enrol/answer", "#", "trib/1/claim-other/enrol/answer"];
    let mut curious = listening(stage.broker.port, &other, "claim-other", &answers);
    let mut meter = listening(stage.broker.port, &stage.pki.device("meter-8"), "meter-8", &answers[..3]);

    let mut agent = stage.newcomer("meter-7");
    let output = enrol(&agent, &claim);
    assert!(output.status.success() && said(&output).contains("meter-7 is enrolled"), "{}", said(&output));
    assert!(agent.folder.join("receipts.pub").exists(), "it learnt whose receipts to believe");
    agent.start();
    wait_for("readings to be committed", PATIENCE, || (stage.stored("meter-7") > 0).then_some(()));
    wait_for("signed receipts to be believed", PATIENCE, || {
        let status = said(&agent.command(&["status"]));
        let confirmed = status.lines().find_map(|line| line.trim_start().strip_prefix("confirmed"))?;
        (confirmed.trim() != "0" && !status.contains("forged")).then_some(())
    });
    agent.stop();

    // It hears the answer to its own question, and heard none before it.
    let key = certs::signing_request::new_key().unwrap();
    let request = certs::signing_request::request(&key, "pump-1").unwrap();
    let nonce = Nonce([7; 8]);
    let payload = Enrol { nonce, device: "pump-1".parse::<DeviceId>().unwrap(), request }.encode();
    let topic = "trib/1/claim-other/enrol".to_owned();
    curious.send(&Packet::Publish { topic, id: None, dup: false, retain: false, payload }).unwrap();
    let first = curious.wait(PATIENCE).unwrap();
    let Packet::Publish { topic, payload, .. } = &first else { panic!("{first:?}") };
    assert_eq!((topic.as_str(), Enrolled::decode(payload).unwrap().nonce), ("trib/1/claim-other/enrol/answer", nonce));
    meter.send(&Packet::PingReq).unwrap();
    assert_eq!(meter.wait(PATIENCE).unwrap(), Packet::PingResp, "a device hears no claim's answer");

    // 25 of its 30 days are over.
    let files = stage.pki.device_at("meter-9", -25 * DAY_S);
    let old = std::fs::read(&files.certificate).unwrap();
    let mut agent =
        Agent::new(&stage.folder.path().join("meter-9"), "meter-9", Some(stage.broker.port), &files, SOURCE);
    agent.start();
    wait_for("a new certificate to take its place", Duration::from_secs(60), || {
        (std::fs::read(&files.certificate).ok()? != old).then_some(())
    });
    agent.stop();
}

#[test]
fn a_claim_publishes_nothing_but_its_request_even_where_the_access_list_has_a_hole() {
    let Some(mut stage) = Stage::new() else { return };
    let (claim, device) = (stage.pki.device("claim-fleet"), stage.pki.device("meter-7"));
    for topic in
        ["trib/1/claim-fleet/senml", "trib/1/claim-fleet/batch", "trib/1/meter-7/enrol", "trib/1/meter-7/senml"]
    {
        let Some(denied) = stage.publish(&claim, "mqttv5", topic) else { return };
        assert!(said(&denied).contains("Not authorized"), "{topic}: {}", said(&denied));
    }
    // Nor may a device ask for another's certificate.
    let denied = stage.publish(&device, "mqttv5", "trib/1/meter-8/enrol").unwrap();
    assert!(said(&denied).contains("Not authorized"), "{}", said(&denied));
    let own = stage.publish(&claim, "mqttv5", "trib/1/claim-fleet/enrol").unwrap();
    assert!(own.status.success() && !said(&own).contains("Not authorized"), "{}", said(&own));

    // An access list of one's own that forgot to deny it: the gateway takes nothing all the same.
    stage.broker.allow(|shipped| {
        let kept: Vec<&str> = shipped.lines().filter(|line| !line.starts_with("topic deny")).collect();
        kept.join("\n") + "\n"
    });
    wait_for("the gateway to be back", PATIENCE, || {
        let log = stage.gateway.process.as_ref()?.log_text();
        (log.matches("connected to the broker").count() >= 2).then_some(())
    });
    let taken = stage.publish(&claim, "mqttv5", "trib/1/claim-fleet/senml").unwrap();
    assert!(taken.status.success() && !said(&taken).contains("Not authorized"), "{}", said(&taken));
    wait_for("the gateway to refuse it", PATIENCE, || {
        (metric_of(&stage.gateway, "tributary_broker_messages_refused_total") > 0.0).then_some(())
    });
    assert!(stage.publish(&device, "mqttv5", "trib/1/meter-7/senml").unwrap().status.success());
    wait_for("a device's pack", PATIENCE, || (stage.stored("meter-7") == 1).then_some(()));
    let devices = stage.gateway.get("/api/v1/devices").unwrap();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1, "{devices}");
}

#[test]
fn a_code_says_on_both_sides_that_it_is_of_no_use_behind_a_broker() {
    let Some(stage) = Stage::new() else { return };
    let path = stage.folder.path().join("code.claim");
    let made = stage.gateway.ask(&["devices", "claim", "--device", "meter-7", "--out", path.to_str().unwrap()]);
    assert!(made.status.success() && said(&made).contains("not at the broker"), "{}", said(&made));
    let agent = stage.newcomer("meter-7");
    let mut command = Command::new(&agent.program);
    command.args(["enrol", "--minutes", "2", "--claim"]).arg(&path).arg("--config").arg(agent.config());
    let mut asking = Process::start(command, &agent.folder.join("enrol.log")).unwrap();
    wait_for("the hint", PATIENCE, || {
        let log = asking.log_text();
        (log.contains("not asked") && log.contains("behind a broker") && log.contains("--claim-certificate"))
            .then_some(())
    });
    asking.kill();
}
