//! A certificate that is revoked while the gateway runs.

use std::time::Duration;

use harness::{Agent, Gateway, Pki, wait_for};

#[test]
fn a_revoked_device_is_cut_off_within_seconds_and_not_let_in_again_while_others_never_notice() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let files = [pki.device("good-1"), pki.device("stolen-1")];
    let mut gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), "");
    gateway.crl = Some(pki.crl());
    gateway.restart();
    let source = "[[source]]\nname = \"meter\"\ntype = \"simulate\"\nwhat = \"meter\"\n";
    let mut agents = ["good-1", "stolen-1"].into_iter().zip(&files).map(|(name, files)| {
        let mut agent = Agent::new(&folder.path().join(name), name, Some(gateway.mqtt_port), files, source);
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
    wait_for("the revoked one to be cut off", Duration::from_secs(5), || (!connected("stolen-1")?).then_some(()));
    // It tries again every half second at most, and is not let in; the other one never notices.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!((connected("stolen-1"), connected("good-1")), (Some(false), Some(true)));
}
