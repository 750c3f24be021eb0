//! What the log of an agent says of a gateway that is away, or does not want it: whom it dialled, once, and not with each try.

use harness::issuing::{Issuing, PATIENCE};
use harness::{Agent, wait_for};

/// The lines of its log that say that it is not connected, once there are `count` of them, those for developers included.
fn not_connected(agent: &Agent, count: usize) -> Vec<String> {
    wait_for("more tries", PATIENCE, || {
        let log = agent.process.as_ref()?.log_text();
        let lines: Vec<String> = log.lines().filter(|line| line.contains("not connected")).map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
}

fn at<'a>(lines: &'a [String], level: &str) -> Vec<&'a String> {
    lines.iter().filter(|line| line.contains(level)).collect()
}

#[test]
fn a_gateway_that_is_away_is_named_warned_of_once_and_its_return_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Issuing::start(folder.path());
    stage.gateway.kill();
    let mut agent = stage.member("meter-7", &stage.pki.device("meter-7"));
    agent.environment.push(("TRIBUTARY_LOG".into(), "debug,rumqttc=error".into()));
    agent.start();
    let lines = not_connected(&agent, 9);
    let place = format!("nobody answers at localhost:{}: ", stage.gateway.mqtt_port);
    assert!(lines.iter().all(|line| line.contains(&place)), "{lines:#?}");
    assert_eq!([at(&lines, " INFO ").len(), at(&lines, " WARN ").len()], [1, 1], "{lines:#?}");
    stage.gateway.restart();
    wait_for("it to be connected", PATIENCE, || {
        let log = agent.process.as_ref()?.log_text();
        let said = format!(" connected host=localhost port={} failed_before=", stage.gateway.mqtt_port);
        log.lines().any(|line| line.contains(" INFO ") && line.contains(&said)).then_some(())
    });
}

#[test]
fn an_agent_with_anothers_certificate_is_told_by_its_check_and_once_as_a_fault_when_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Issuing::start(folder.path());
    let mut agent = stage.member("meter-8", &stage.pki.device("meter-7"));
    let checked = agent.command(&["check-config"]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(!checked.status.success() && said.contains("is the certificate of meter-7"), "{said}");
    agent.environment.push(("TRIBUTARY_LOG".into(), "debug,rumqttc=error".into()));
    agent.start();
    let lines = not_connected(&agent, 6);
    let faults = at(&lines, "ERROR ");
    assert!(faults.len() == 1 && faults[0].contains("refused the client id"), "{lines:#?}");
    assert!(at(&lines, " INFO ").is_empty() && at(&lines, " WARN ").is_empty(), "{lines:#?}");
}
