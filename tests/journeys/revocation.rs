//! A certificate that is revoked while the gateway runs; and lists that come to their end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::issuing::{CUT_OFF_WITHIN, Issuing, PATIENCE, SOURCE, enrol, said};
use harness::mqtt::{Packet, Stream};
use harness::pki::Files;
use harness::{Agent, Gateway, Pki, wait_for};

#[test]
fn a_revoked_device_is_cut_off_within_seconds_and_not_let_in_again_while_others_never_notice() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let files = [pki.device("good-1"), pki.device("stolen-1")];
    let mut gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), "");
    gateway.crl = Some(pki.crl());
    gateway.restart();
    let mut agents = ["good-1", "stolen-1"].into_iter().zip(&files).map(|(name, files)| {
        let mut agent = Agent::new(&folder.path().join(name), name, Some(gateway.mqtt_port), files, SOURCE);
        agent.start();
        agent
    });
    let _running: Vec<Agent> = agents.by_ref().collect();
    let connected = |name: &str| {
        let devices = gateway.get("/api/v1/devices").ok()?;
        let device = devices["devices"].as_array()?.iter().find(|device| device["id"] == name)?.clone();
        device["connected"].as_bool()
    };
    for name in ["good-1", "stolen-1"] {
        wait_for("both to connect", Duration::from_secs(20), || connected(name)?.then_some(()));
    }
    pki.revoke("stolen-1");
    wait_for("the revoked one to be cut off", CUT_OFF_WITHIN, || (!connected("stolen-1")?).then_some(()));
    // It tries again every half second at most, and is not let in; the other one never notices.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!((connected("stolen-1"), connected("good-1")), (Some(false), Some(true)));
}

/// Whether a gateway lets `device` in, which shows the certificate of `files`.
fn is_let_in(gateway: &Gateway, files: &Files, device: &str) -> bool {
    let mut stream = Stream::connect(gateway.mqtt_port, files).unwrap();
    let connect = Packet::Connect { client: device.to_owned(), clean: true, keep_alive_s: 60 };
    let is_in = stream.send(&connect).is_ok() && matches!(stream.wait(PATIENCE), Ok(Packet::ConnAck { code: 0, .. }));
    let _ = stream.send(&Packet::Disconnect);
    is_in
}

/// The contents of several files in one.
fn together(path: &Path, parts: [PathBuf; 2]) -> PathBuf {
    let text: String = parts.iter().map(|part| std::fs::read_to_string(part).unwrap()).collect();
    std::fs::write(path, text).unwrap();
    path.into()
}

#[test]
fn a_device_of_an_older_authority_that_is_trusted_still_is_cut_off_too_and_comes_back_by_a_new_certificate_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Issuing::prepare(folder.path());
    let old = Pki::create_for_years(&folder.path().join("old"));
    stage.gateway.files.authority = together(&folder.path().join("both.crt"), [stage.pki.anchor(), old.anchor()]);
    stage.gateway.crl = Some(together(&folder.path().join("both.crl"), [stage.pki.crl(), old.crl()]));
    stage.gateway.restart();
    let of_old = |name: &str| Files { authority: stage.pki.anchor(), ..old.device(name) };
    let (files, others) = (of_old("old-1"), of_old("old-2"));
    let mut agent = stage.member("old-1", &files);
    agent.start();
    stage.flows("old-1");

    // The authority that is configured has never heard of it.
    let nobody = stage.try_devices(&["revoke", "old-3"]);
    assert!(!nobody.status.success() && said(&nobody).contains("nobody here has heard of"), "{}", said(&nobody));
    stage.tell(&["revoke", "old-1", "--reason", "key-compromise"]);
    wait_for("it to be cut off", CUT_OFF_WITHIN, || (!stage.is_connected("old-1")?).then_some(()));
    assert!(!is_let_in(&stage.gateway, &files, "old-1") && is_let_in(&stage.gateway, &others, "old-2"));
    assert!(stage.lists("old-1", "cut off"));
    agent.stop();
    stage.gateway.restart();
    assert!(!is_let_in(&stage.gateway, &files, "old-1"), "it is known from the first handshake on");

    let claim = stage.claim("again", "old-1");
    let mut agent = stage.newcomer("again", "old-1");
    let output = enrol(&agent, &claim);
    assert!(output.status.success(), "{}", said(&output));
    agent.start();
    stage.flows("old-1");
    assert!(!is_let_in(&stage.gateway, &files, "old-1"), "not by what it had");
    stage.tell(&["revoke", "old-1"]);
    wait_for("it to be cut off again", CUT_OFF_WITHIN, || (!stage.is_connected("old-1")?).then_some(()));
}

#[test]
fn the_list_of_the_gateways_own_authority_counts_where_none_is_named_and_says_nothing_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Issuing::prepare(folder.path());
    let old = Pki::create_for_years(&folder.path().join("old"));
    stage.gateway.files.authority = together(&folder.path().join("both.crt"), [stage.pki.anchor(), old.anchor()]);
    stage.gateway.crl = None;
    stage.gateway.restart();
    let of_old = Files { authority: stage.pki.anchor(), ..old.device("old-1") };
    let [stolen, good] = ["stolen-1", "good-1"].map(|name| stage.pki.device(name));
    let is_in = |files, device| is_let_in(&stage.gateway, files, device);
    assert!(is_in(&of_old, "old-1") && is_in(&stolen, "stolen-1") && is_in(&good, "good-1"));
    // By `tributary-certs revoke`, as it were: the gateway is told by the list alone.
    stage.pki.revoke("stolen-1");
    wait_for("it to be refused", Duration::from_secs(20), || (!is_in(&stolen, "stolen-1")).then_some(()));
    assert!(is_in(&of_old, "old-1") && is_in(&good, "good-1"));
}

#[test]
fn a_revocation_list_is_renewed_by_the_gateway_before_it_runs_out_and_nobody_is_ever_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    std::thread::scope(|scope| {
        scope.spawn(|| runs_out_and_nobody_notices(&place("runs-out")));
        scope.spawn(|| is_renewed_at_half_its_life(&place("half")));
    });
}

/// How long lists live here.
const LIST_S: i64 = 86_400;

/// The first and the last second of a list.
fn life(list: &Path) -> (i64, i64) {
    let facts = certs::inspect::list(&certs::read_crls(list).unwrap()[0]).unwrap();
    (facts.from, facts.until.unwrap())
}

fn runs_out_and_nobody_notices(folder: &Path) {
    let mut stage = Issuing::prepare(folder);
    let files = stage.pki.device("meter-7");
    // It was written so long ago that it runs out within seconds; half its life is over since long.
    let list = stage.pki.crl_at(1, 9 - LIST_S);
    let before = life(&list);
    stage.gateway.restart();
    let left = |stage: &Issuing| -> Option<f64> {
        let text = stage.gateway.text("/metrics").ok()?;
        text.lines().find_map(|line| line.strip_prefix("tributary_revocation_list_seconds_left "))?.parse().ok()
    };
    wait_for("the list to be renewed", PATIENCE, || (life(&list) > before).then_some(()));
    wait_for("the listener to go by it", PATIENCE, || (left(&stage)? > 6.9 * 86_400.0).then_some(()));
    assert!(harness_now() < before.1, "this machine is too slow: the old list has run out before anything was seen");
    wait_for("the old one to run out", PATIENCE, || {
        assert!(is_let_in(&stage.gateway, &files, "meter-7"), "at every moment");
        std::thread::sleep(Duration::from_millis(100));
        (harness_now() > before.1 + 1).then_some(())
    });
    assert!(is_let_in(&stage.gateway, &files, "meter-7"), "by the new list");
    let trail = said(&stage.gateway.ask(&["audit", "list"]));
    assert_eq!(trail.matches("the revocation list was renewed").count(), 1, "{trail}");
}

fn is_renewed_at_half_its_life(folder: &Path) {
    /// A list's life begins so much before it is written.
    const BACKDATED_S: i64 = 300;
    let stage = Issuing::start(folder);
    let list = stage.pki.crl_at(1, 6 + BACKDATED_S / 2 - LIST_S / 2);
    let before = life(&list);
    let half = before.0 + (before.1 - before.0) / 2;
    wait_for("the list to be renewed", PATIENCE, || {
        let now = life(&list);
        let is_early = harness_now() < half; // looked at after the list
        assert!(!is_early || now == before, "not before half its life");
        (now > before).then_some(())
    });
}

/// Seconds since 1970.
fn harness_now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "lists run out by the clock")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}
