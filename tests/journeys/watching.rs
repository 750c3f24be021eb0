//! What people are told of by alarms, held against a gateway that has a reason to raise them.

use std::path::Path;
use std::time::Duration;

use harness::{Agent, Gateway, Pki, judge, wait_for};

/// The series that the alarm on losses looks at, as those who watch are given it.
fn series_of_losses() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/containers/compose/alarms.yaml");
    let alarms = std::fs::read_to_string(file).unwrap();
    let (_, rule) = alarms.split_once("- alert: ReadingsLost\n").expect("an alarm on losses");
    let (_, counter) = rule.split_once("expr: increase(").expect("it looks at the increase of a counter");
    counter.split('[').next().unwrap().to_owned()
}

/// The value of one series, as somebody who watches reads it.
fn value(gateway: &Gateway, series: &str) -> Option<f64> {
    let text = gateway.text("/metrics").ok()?;
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?.parse().ok()
}

#[test]
fn a_batch_that_nobody_has_any_more_moves_what_the_alarm_on_losses_looks_at_and_is_told_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let mut gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), "");
    let files = pki.device("meter-7");
    let source = harness::issuing::SOURCE;
    let mut agent = Agent::new(&folder.path().join("agent"), "meter-7", Some(gateway.mqtt_port), &files, source);
    agent.start();
    wait_for("readings to be stored", Duration::from_secs(20), || {
        (judge::stored(&gateway.database(), "meter-7").ok()?.len() >= 20).then_some(())
    });
    agent.stop();
    gateway.kill();

    // Of the two that had the oldest batch, the gateway loses all, and the agent that one.
    for file in ["gateway.db", "gateway.db-wal", "gateway.db-shm", "gateway.audit"] {
        let gone = std::fs::remove_file(gateway.database().with_file_name(file));
        assert!(gone.is_ok() || file.starts_with("gateway.db-"), "{file}: {gone:?}");
    }
    let buffer = rusqlite::Connection::open(agent.buffer()).unwrap();
    let gone = buffer.execute("delete from batch where row = (select min(row) from batch)", []).unwrap();
    assert_eq!(gone, 1);
    drop(buffer);

    gateway.restart();
    let losses = series_of_losses();
    assert_eq!(
        value(&gateway, &losses),
        Some(0.0),
        "{losses} is there before anything is lost: else it has no increase"
    );
    agent.start();
    wait_for("the alarm to be raised", Duration::from_secs(30), || (value(&gateway, &losses)? == 1.0).then_some(()));
    assert_eq!(value(&gateway, "tributary_gaps"), Some(1.0));
    let log = gateway.process.as_ref().unwrap().log_text();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("alarm=\"unexplained_gap\"")).collect();
    assert!(matches!(told[..], [line] if line.contains("WARN") && line.contains("meter-7")), "{log}");
    assert!(value(&gateway, "tributary_certificate_seconds_left{of=\"listener\"}").unwrap() > 0.0);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/watching.md");
    let page = std::fs::read_to_string(page).unwrap();
    let text = gateway.text("/metrics").unwrap();
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        assert!(page.contains(&format!("\n| `{name}")), "docs/watching.md does not say what {name} is");
    }
}
