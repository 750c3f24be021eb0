//! What systemd is told: readiness, how it goes, and that readings could be stored now. Its watchdog is fed on that alone.

use std::net::TcpStream;
use std::time::Duration;

use harness::manager::{HungDisk, Manager};
use harness::pki::Files;
use harness::{Agent, Gateway, Pki, wait_for};

/// After so long without a word, a program would be taken for dead.
const BITE: Duration = Duration::from_millis(1_500);
/// A reading each half second.
const SOURCE: &str = "[[source]]\nname = \"person\"\ntype = \"simulate\"\nwhat = \"person\"\nspeed = 600.0\n";

const NO_STRACE: &str = "skipped: strace is not there, or may not trace: `.ci/install` installs it";

/// Nothing is said for several bites, once what was on its way has come.
fn starves(manager: &Manager) -> bool {
    wait_for("the last words", Duration::from_secs(20), || (manager.fed_within(BITE) == 0).then_some(()));
    manager.fed_within(2 * BITE) == 0
}

#[test]
fn an_agent_is_taken_for_alive_while_it_can_store_readings_whatever_the_network_does_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let files = Pki::create(&folder.path().join("pki")).device("meter-7");
    let manager = Manager::listen(folder.path());
    // Nobody listens on port 1: the uplink never comes up.
    let mut agent = Agent::new(&folder.path().join("agent"), "meter-7", Some(1), &files, SOURCE);
    agent.environment = manager.environment(BITE);
    agent.start();
    let ready = manager.waits_for("READY=1");
    assert!(ready.contains("STATUS=sources: 1; readings stored since the start: 0"), "{ready}");
    assert!(agent.buffer().exists(), "ready with a buffer");
    assert!(manager.fed_within(3 * BITE) >= 6, "without a network, capture goes on, and so does the feeding");
    let words = manager.waits_for("WATCHDOG=1");
    assert!(!words.ends_with("start: 0"), "{words}");

    let Some(hung) = HungDisk::of(agent.process.as_ref().unwrap(), folder.path()) else {
        return println!("{NO_STRACE}");
    };
    assert!(starves(&manager), "the disk hangs: nothing can be stored");
    drop(hung);
    manager.waits_for("WATCHDOG=1");
    agent.stop();
    assert_eq!(manager.heard().last().map(String::as_str), Some("STOPPING=1\nSTATUS=stopping"));
}

#[test]
fn a_gateway_is_taken_for_alive_while_it_can_record_or_waits_for_its_database_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let manager = Manager::listen(folder.path());
    let mut gateway = Gateway::prepare(&folder.path().join("gateway"), pki.server(), "");
    gateway.environment = manager.environment(BITE);
    gateway.restart();
    manager.waits_for("READY=1");
    TcpStream::connect(("127.0.0.1", gateway.mqtt_port)).expect("ready, it listens");
    assert!(manager.fed_within(2 * BITE) >= 4, "idle is not dead");

    let files = pki.device("meter-7");
    let mut agent = Agent::new(&folder.path().join("agent"), "meter-7", Some(gateway.mqtt_port), &files, SOURCE);
    agent.start();
    wait_for("readings", Duration::from_secs(20), || {
        let words = manager.waits_for("WATCHDOG=1");
        (!words.ends_with("start: 0")).then_some(())
    });

    assert!(gateway.command("health").status.success(), "asked at the port that it has");
    // Another program has the database, as a careless backup would.
    let other = rusqlite::Connection::open(gateway.database()).unwrap();
    other.execute_batch("begin immediate").unwrap();
    wait_for("word of it", Duration::from_secs(40), || {
        manager.heard().iter().any(|words| words.contains("the store takes nothing")).then_some(())
    });
    let health = gateway.ask(&["health", "--ready"]);
    let said = String::from_utf8_lossy(&health.stdout).into_owned();
    assert!(!health.status.success() && said.contains("the store takes nothing"), "{said}");
    assert!(gateway.ask(&["health"]).status.success(), "it lives");
    other.execute_batch("rollback").unwrap();
    wait_for("the end of it", Duration::from_secs(40), || {
        manager.heard().iter().any(|words| words.contains("STATUS") && !words.contains("takes nothing")).then_some(())
    });

    let Some(hung) = HungDisk::of(gateway.process.as_ref().unwrap(), folder.path()) else {
        return println!("{NO_STRACE}");
    };
    assert!(starves(&manager), "a commit hangs");
    drop(hung);
    manager.waits_for("WATCHDOG=1");
    agent.stop();
    let ended = gateway.process.take().unwrap().terminate();
    assert!(ended.success(), "{ended}");
    assert!(manager.heard().iter().any(|words| words.starts_with("STOPPING=1")));
}

#[test]
fn health_is_asked_with_a_deadline_by_http_and_by_https() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let files = pki.server();
    let mut gateway = Gateway::start(&folder.path().join("gateway"), files.clone(), "");
    let ask = |gateway: &Gateway, words: &[&str]| {
        let answer = gateway.ask(words);
        (answer.status.code(), String::from_utf8_lossy(&answer.stdout).into_owned())
    };
    // It is asked where the configuration says: with the port that it has.
    gateway.restart();
    assert_eq!(ask(&gateway, &["health"]), (Some(0), "healthy\n".to_owned()));
    assert_eq!(ask(&gateway, &["health", "--ready"]), (Some(0), "ready\n".to_owned()));

    gateway.freeze();
    let (code, line) = ask(&gateway, &["health"]);
    assert!(code == Some(1) && line.contains("no answer within 4 s") && line.lines().count() == 1, "{line}");
    gateway.thaw();

    let (certificate, key) = (folder.path().join("http.crt"), folder.path().join("http.key"));
    std::fs::copy(&files.certificate, &certificate).unwrap();
    std::fs::copy(&files.key, &key).unwrap();
    let people = Files { certificate, key, ..files };
    gateway.http_files = Some(people.clone());
    gateway.restart();
    assert_eq!(ask(&gateway, &["health"]), (Some(0), "healthy\n".to_owned()));
    // Whoever else has taken its place does not have its certificate.
    let other = Pki::create(&folder.path().join("other")).server();
    std::fs::copy(&other.certificate, &people.certificate).unwrap();
    let (code, line) = ask(&gateway, &["health"]);
    assert!(code == Some(1) && line.contains("TLS"), "{line}");

    gateway.kill();
    let (code, line) = ask(&gateway, &["health"]);
    assert!(code == Some(1) && line.contains("nobody listens there"), "{line}");
}
