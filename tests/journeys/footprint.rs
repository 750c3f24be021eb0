//! How little there is of it.

use std::collections::HashSet;
use std::time::Duration;

use harness::twenty::{READINGS_PER_S, SOURCES, Twenty};
use harness::{Agent, Gateway, Pki, shipped, wait_for};

/// For a gateway that makes its database first.
const UP_WITHIN: Duration = Duration::from_secs(2);
/// For one of them to be so quick.
const STARTS_MAX: usize = 10;

#[test]
fn an_idle_agent_is_small_and_listens_nowhere_and_the_gateway_is_up_soon() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    // Again and again with a new database, until this machine leaves one the time: syncs wait for what others write.
    let gateway = (0..STARTS_MAX)
        .map(|number| Gateway::start(&folder.path().join(format!("gateway-{number}")), pki.server(), ""))
        .inspect(|gateway| println!("a gateway is ready after {:?}", gateway.started_in))
        .find(|gateway| gateway.started_in < UP_WITHIN)
        .unwrap_or_else(|| panic!("none of {STARTS_MAX} is up within {UP_WITHIN:?}"));
    let gateway_kib = gateway.process.as_ref().unwrap().resident_kib();
    println!("gateway: {gateway_kib} KiB");
    assert!(gateway_kib > 0 && gateway_kib < 60 * 1024, "{gateway_kib} KiB");

    let source = "[[source]]\nname = \"person\"\ntype = \"simulate\"\nwhat = \"person\"\n";
    let files = pki.device("idle-1");
    let mut agent = Agent::new(&folder.path().join("agent"), "idle-1", Some(gateway.mqtt_port), &files, source);
    agent.program = shipped("tributary-agent");
    agent.start();
    wait_for("a first receipt", Duration::from_secs(20), || {
        let devices = gateway.get("/api/v1/devices").ok()?;
        (devices["devices"][0]["readings"].as_u64()? > 0).then_some(())
    });
    let process = agent.process.as_ref().unwrap();
    let kib = process.resident_kib();
    println!("agent: {kib} KiB");
    assert!(kib > 0 && kib <= 8 * 1024, "{kib} KiB");

    let sockets = sockets_of(process.id());
    assert!(!sockets.is_empty(), "it is connected, so it has a socket");
    let listening = listening_inodes();
    assert!(listening.len() > 1, "the gateway listens, so the table is not empty");
    assert_eq!(sockets.intersection(&listening).count(), 0, "the agent listens");
}

#[test]
fn twenty_sources_with_a_hundred_readings_a_second_leave_the_agent_small_and_none_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), "");
    let twenty = Twenty::start(folder.path()).unwrap();
    let files = pki.device("twenty");
    let mut agent = Agent::new(&folder.path().join("agent"), "twenty", Some(gateway.mqtt_port), &files, &twenty.tables);
    agent.program = shipped("tributary-agent");
    agent.start();
    let arrived = || gateway.get("/api/v1/devices").ok()?["devices"][0]["readings"].as_u64();
    wait_for("five seconds' worth of readings", Duration::from_secs(40), || {
        (arrived()? >= 5 * u64::from(READINGS_PER_S)).then_some(())
    });
    let kib = agent.process.as_ref().unwrap().resident_kib();
    println!("agent with {SOURCES} sources: {kib} KiB, {} lines sent", twenty.sent());
    assert!(kib > 0 && kib <= 12 * 1024, "{kib} KiB");
    let log = agent.process.as_ref().unwrap().log_text();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

/// Inodes of a process's sockets.
fn sockets_of(id: u32) -> HashSet<u64> {
    let links = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap();
    let targets = links.flatten().filter_map(|link| std::fs::read_link(link.path()).ok());
    targets.filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
}

/// Inodes of all sockets that listen or are bound: TCP in state LISTEN (0A), and any UDP.
fn listening_inodes() -> HashSet<u64> {
    let table = |name: &str| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    let mut inodes = HashSet::new();
    for (name, every_state) in [("tcp", false), ("tcp6", false), ("udp", true), ("udp6", true)] {
        for line in table(name).lines().skip(1) {
            let cells: Vec<&str> = line.split_whitespace().collect();
            if every_state || cells[3] == "0A" {
                inodes.insert(cells[9].parse().unwrap());
            }
        }
    }
    inodes
}
