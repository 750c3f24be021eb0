//! From a claim to readings that are committed, and to the end by revocation.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use harness::pki::Files;
use harness::{Agent, Gateway, Pki, binary, wait_for};

const SOURCE: &str = "[[source]]\nname = \"meter\"\ntype = \"simulate\"\nwhat = \"meter\"\n";
/// Whatever is waited for comes well within this, or never.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway that issues certificates.
pub(super) struct Stage {
    pub(super) folder: tempfile::TempDir,
    pub(super) pki: Pki,
    pub(super) gateway: Gateway,
}

impl Stage {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create_for_years(&folder.path().join("pki"));
        let authority = format!("[authority]\npath = {:?}\n", pki.anchor().parent().unwrap());
        let mut gateway = Gateway::prepare(&folder.path().join("gateway"), pki.server(), &authority);
        gateway.crl = Some(pki.crl());
        gateway.restart();
        Self { folder, pki, gateway }
    }

    /// `tributary-gateway devices …`, which must succeed.
    pub(super) fn devices(&self, arguments: &[&str]) -> String {
        let output = self.try_devices(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn try_devices(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary("tributary-gateway"));
        command.arg("devices").args(arguments).arg("--config").arg(self.gateway.config()).output().unwrap()
    }

    /// A claim file for `device`.
    pub(super) fn claim(&self, device: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{device}.claim"));
        self.devices(&["claim", "--device", device, "--out", path.to_str().unwrap()]);
        path
    }

    /// An agent that has nothing yet: not even whom to trust.
    fn newcomer(&self, device: &str) -> Agent {
        self.newcomer_in(device, device)
    }

    fn newcomer_in(&self, name: &str, device: &str) -> Agent {
        let folder = self.folder.path().join(name);
        let file = |name: &str| folder.join(name);
        let files = Files { authority: file("ca.crt"), certificate: file("device.crt"), key: file("device.key") };
        Agent::new(&folder, device, Some(self.gateway.mqtt_port), &files, SOURCE)
    }

    fn is_connected(&self, device: &str) -> Option<bool> {
        let devices = self.gateway.get("/api/v1/devices").ok()?;
        let found = devices["devices"].as_array()?.iter().find(|found| found["id"] == device)?.clone();
        found["connected"].as_bool()
    }

    pub(super) fn stored(&self, device: &str) -> Option<i64> {
        let db = rusqlite::Connection::open(self.gateway.database()).ok()?;
        let sql = "select count(*) from reading join series on series.id = reading.series
                   join device on device.id = series.device where device.name = ?";
        db.query_row(sql, [device], |row| row.get(0)).ok()
    }
}

fn enrol(agent: &Agent, claim: &Path) -> Output {
    agent.command(&["enrol", "--claim", claim.to_str().unwrap()])
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_device_with_nothing_but_a_claim_gets_its_certificate_and_its_readings_are_committed_until_it_is_revoked() {
    let stage = Stage::new();
    let claim = stage.claim("new-1");
    let mut agent = stage.newcomer("new-1");
    let output = enrol(&agent, &claim);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("new-1 is enrolled"), "{}", said(&output));
    agent.start();
    wait_for("readings to be committed", PATIENCE, || (stage.stored("new-1")? > 0).then_some(()));
    assert!(stage.devices(&["list"]).contains("certificate"));

    // The same claim is good for nobody else.
    let thief = stage.newcomer_in("thief", "new-1");
    let output = enrol(&thief, &claim);
    assert!(!output.status.success() && said(&output).contains("used already"), "{}", said(&output));

    let began = std::time::Instant::now();
    stage.devices(&["revoke", "new-1", "--reason", "key-compromise"]);
    wait_for("it to be cut off", Duration::from_secs(5), || (!stage.is_connected("new-1")?).then_some(()));
    println!("revoked and cut off within {:.1} s", began.elapsed().as_secs_f64());
    std::thread::sleep(Duration::from_millis(1_500)); // it tries again twice a second
    assert_eq!(stage.is_connected("new-1"), Some(false));
}

#[test]
fn an_enrolment_that_is_killed_at_any_moment_is_gone_on_with_and_ends_well() {
    let stage = Stage::new();
    let claim = stage.claim("cut-1");
    let mut agent = stage.newcomer("cut-1");
    let mut interrupted = 0;
    // From before the key is made until after all is done: the steps are some milliseconds each.
    for millis in [1, 3, 6, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 130] {
        let mut command = Command::new(&agent.program);
        command.args(["enrol", "--claim"]).arg(&claim).arg("--config").arg(agent.config());
        let mut run = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        interrupted += u32::from(run.try_wait().unwrap().is_none());
        run.kill().unwrap();
        run.wait().unwrap();
    }
    println!("{interrupted} runs were killed before they ended");
    assert!(interrupted >= 5, "only {interrupted} were");
    let output = enrol(&agent, &claim);
    assert!(output.status.success(), "{}", said(&output));
    agent.start();
    wait_for("readings to be committed", PATIENCE, || (stage.stored("cut-1")? > 0).then_some(()));
}

#[test]
fn a_shared_claim_waits_for_the_operators_word_or_a_rule_and_never_takes_over_a_device() {
    let stage = Stage::new();
    let shared = stage.pki.device("claim-fleet");
    let enrol = |agent: &Agent, minutes: &str| {
        std::fs::copy(&shared.authority, agent.folder.join("ca.crt")).unwrap();
        let mut command = Command::new(&agent.program);
        command.args(["enrol", "--minutes", minutes, "--claim-certificate"]).arg(&shared.certificate);
        command.arg("--claim-key").arg(&shared.key).arg("--config").arg(agent.config());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    stage.devices(&["allow", "--rule", "meter-*"]);
    let ruled = stage.newcomer("meter-7");
    let output = enrol(&ruled, "1").wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));

    // Not of the rule, and one that takes the name of a device that lives: both wait.
    let other = stage.newcomer("pump-1");
    let thief = stage.newcomer_in("thief", "meter-7");
    let mut runs = [enrol(&other, "1"), enrol(&thief, "1")];
    let waits = |device: &str| {
        let list = stage.devices(&["list"]);
        list.lines().any(|line| line.starts_with(device) && line.contains("waits")).then_some(())
    };
    wait_for("both to wait", PATIENCE, || waits("pump-1").and_then(|()| waits("meter-7")));
    stage.devices(&["allow", "pump-1"]);
    stage.devices(&["refuse", "meter-7"]);
    let nobody = stage.try_devices(&["allow", "nobody-1"]);
    assert!(!nobody.status.success() && said(&nobody).contains("no device nobody-1 waits"), "{}", said(&nobody));
    wait_for("both to end", Duration::from_secs(60), || {
        runs.iter_mut().all(|run| run.try_wait().unwrap().is_some()).then_some(())
    });
    let [allowed, refused] = runs.map(|run| run.wait_with_output().unwrap());
    assert!(allowed.status.success(), "{}", said(&allowed));
    assert!(!refused.status.success() && said(&refused).contains("does not want this device"), "{}", said(&refused));
}

#[test]
fn a_certificate_is_renewed_over_the_live_connection_and_the_old_one_stays_until_the_new_one_has_connected() {
    const DAY: i64 = 86_400;
    let stage = Stage::new();
    // 25 of its 30 days are over.
    let files = stage.pki.device_at("old-1", -25 * DAY);
    let old = std::fs::read(&files.certificate).unwrap();
    let mut agent =
        Agent::new(&stage.folder.path().join("old-1"), "old-1", Some(stage.gateway.mqtt_port), &files, SOURCE);
    agent.start();
    wait_for("it to connect", PATIENCE, || stage.is_connected("old-1")?.then_some(()));
    wait_for("a new certificate to take its place", Duration::from_secs(40), || {
        (std::fs::read(&files.certificate).ok()? != old).then_some(())
    });
    let before = stage.stored("old-1").unwrap();
    wait_for("more readings", PATIENCE, || (stage.stored("old-1")? > before).then_some(()));
    let log = agent.process.as_ref().unwrap().log_text();
    assert_eq!(log.matches(" connected host=").count(), 2, "connected anew once: {log}");
    assert_eq!(log.matches("connecting with the next certificate").count(), 1, "{log}");
    assert!(!files.key.with_extension("key.next").exists() && !files.certificate.with_extension("crt.next").exists());
    // What it had is good until it ends: it is in nobody else's hands.
    assert!(stage.devices(&["list"]).contains("old-1"));
    agent.stop();
}
