//! Stopping and starting in good order.

use std::time::Duration;

use harness::pty::Port;
use harness::{Agent, Gateway, Pki, judge, wait_for};

/// A meter that prints `p=<watts>` on a serial line, without times of its own.
fn meter_source(port: &Port) -> String {
    format!(
        "[sealer]\nlinger_ms = 30000\n[[source]]\nname = \"meter\"\ntype = \"serial\"\nport = {:?}\nformat = \"key_value\"\n\
         trust_first_line = true\nseries = [{{ column = \"p\", name = \"power.active\", unit = \"W\" }}]\n",
        port.path
    )
}

#[test]
fn what_was_taken_in_when_the_agent_is_stopped_is_stored_and_arrives_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let mut port = Port::open(&folder.path().join("port")).unwrap();
    let mut gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), "");
    let files = pki.device("meter-7");
    let source = meter_source(&port);
    let mut agent = Agent::new(&folder.path().join("agent"), "meter-7", Some(gateway.mqtt_port), &files, &source);
    gateway.kill();
    for watts in 0..20 {
        assert!(port.send(&format!("p={watts}.5")));
    }
    wait_for("the lines to reach the port", Duration::from_secs(10), || (!port.is_drained()).then_some(()));
    agent.start();
    // With a linger of 30 s nothing is sealed yet: stopping must do it.
    wait_for("the lines to be read", Duration::from_secs(10), || port.is_drained().then_some(()));
    agent.stop();
    let status = String::from_utf8(agent.command(&["status"]).stdout).unwrap();
    assert!(status.contains("held readings    20"), "{status}");
    assert!(status.contains("to be sent     1"), "{status}");

    gateway.restart();
    agent.start();
    let stored = wait_for("twenty readings", Duration::from_secs(20), || {
        let stored = judge::stored(&gateway.database(), "meter-7").ok()?;
        (stored.len() >= 20).then_some(stored)
    });
    let mut values: Vec<f64> = stored.iter().map(|key| f64::from_bits(key.bits)).collect();
    values.sort_by(f64::total_cmp);
    assert_eq!(values, (0..20).map(|watts| f64::from(watts) + 0.5).collect::<Vec<_>>());
    wait_for("the agent to note the receipt", Duration::from_secs(10), || {
        agent.stop();
        let status = String::from_utf8(agent.command(&["status"]).stdout).ok()?;
        status.contains("to be sent     0").then_some(()).or_else(|| {
            agent.start();
            std::thread::sleep(Duration::from_millis(500));
            None
        })
    });
}

#[test]
fn readings_stamped_by_the_device_get_the_time_at_which_they_were_taken() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let mut port = Port::open(&folder.path().join("port")).unwrap();
    let gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), "");
    let source = meter_source(&port).replace("linger_ms = 30000", "linger_ms = 50");
    let files = pki.device("meter-7");
    let mut agent = Agent::new(&folder.path().join("agent"), "meter-7", Some(gateway.mqtt_port), &files, &source);
    agent.start();
    wait_for("the agent to connect", Duration::from_secs(10), || {
        agent.process.as_ref()?.log_text().contains("connected").then_some(())
    });
    let before = now_us();
    assert!(port.send("p=7"));
    let stored = wait_for("the reading", Duration::from_secs(10), || {
        let stored = judge::stored(&gateway.database(), "meter-7").ok()?;
        stored.first().cloned()
    });
    let after = now_us();
    // Boot times are floored to milliseconds.
    assert!((before - 1_000..=after).contains(&stored.time_us), "{before} {stored:?} {after}");
}

fn now_us() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "compared with what another process saw on the same clock")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}
