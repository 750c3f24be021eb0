//! Devices that are not our agent: Mosquitto's own clients, publishing SenML.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use harness::pki::Files;
use harness::{Gateway, Pki, judge, wait_for};

const PACK: &str = r#"[{"bn":"glucose","bu":"mg/dL","bt":1790000000,"v":104},{"t":300,"v":109},{"t":600,"v":-0.0}]"#;

/// `mosquitto_pub` at QoS 1; it ends once the PUBACK is there. None where it is not installed.
fn publish(port: u16, files: &Files, id: &str, topic: &str, message: &str, more: &[&str]) -> Option<Output> {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "localhost", "-p", &port.to_string(), "-q", "1", "-i", id, "-t", topic, "-m", message]);
    command.arg("--cafile").arg(&files.authority);
    if files.certificate != Path::new("") {
        command.arg("--cert").arg(&files.certificate).arg("--key").arg(&files.key);
    }
    // It waits for a PUBACK for ever; a deadline tells that none came.
    let output = Command::new("timeout").arg("5").arg("mosquitto_pub").args(command.get_args()).args(more).output();
    match Command::new("mosquitto_pub").arg("--help").output() {
        Err(_) => {
            println!("skipped: mosquitto_pub is not installed (mosquitto-clients)");
            None
        }
        Ok(_) => Some(output.unwrap()),
    }
}

#[test]
fn mosquitto_pub_with_a_certificate_is_heard_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), "");
    let own = pki.device("pump-1");
    let topic = "trib/1/pump-1/senml";
    let port = gateway.mqtt_port;

    for (version, expected) in [("mqttv311", 3), ("mqttv5", 3)] {
        let Some(output) = publish(port, &own, "pump-1", topic, PACK, &["-V", version]) else { return };
        assert!(output.status.success(), "{version}: {output:?}");
        // The PUBACK came after the commit, so no waiting here; and the same pack again changes nothing.
        let stored = judge::stored(&gateway.database(), "pump-1").unwrap();
        assert_eq!(stored.len(), expected, "{version}: {stored:?}");
    }
    let stored = judge::stored(&gateway.database(), "pump-1").unwrap();
    let mut found: Vec<(i64, u64)> = stored.iter().map(|key| (key.time_us, key.bits)).collect();
    found.sort_unstable();
    let expected = [(1_790_000_000, 104.0_f64), (1_790_000_300, 109.0), (1_790_000_600, -0.0)];
    assert_eq!(found, expected.map(|(seconds, value)| (seconds * 1_000_000, value.to_bits())));

    // Without times, the same pack twice is two readings: each run of mosquitto_pub starts at the same packet id.
    for _ in 0..2 {
        let timeless = r#"[{"n":"button","v":1}]"#;
        assert!(publish(port, &own, "pump-1", topic, timeless, &[]).unwrap().status.success());
    }
    let stored = judge::stored(&gateway.database(), "pump-1").unwrap();
    assert_eq!(stored.iter().filter(|key| key.series == "button").count(), 2, "{stored:?}");

    let bare = Files { certificate: "".into(), key: "".into(), ..own.clone() };
    let foreign = Pki::create(&folder.path().join("foreign")).device("pump-1");
    let stranger = Files { authority: own.authority.clone(), ..foreign };
    let refused = |files: &Files, id: &str, topic: &str, version: &str| {
        let output = publish(port, files, id, topic, PACK, &["-V", version]).unwrap();
        !output.status.success() || !output.stderr.is_empty()
    };
    for version in ["mqttv311", "mqttv5"] {
        assert!(refused(&bare, "pump-1", topic, version), "without a certificate, {version}");
        assert!(refused(&stranger, "pump-1", topic, version), "with one of another authority, {version}");
        assert!(refused(&own, "pump-1", "trib/1/pump-2/senml", version), "to another's topic, {version}");
        assert!(refused(&own, "pump-2", topic, version), "under another's name, {version}");
    }
    let devices = gateway.get("/api/v1/devices").unwrap();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1, "{devices}");
}

#[test]
fn a_pack_that_cannot_be_read_is_kept_aside_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), "");
    let own = pki.device("pump-1");
    let packs = [
        (r#"[{"n":"glucose","u":"bananas","v":104}]"#, "bananas"),
        (r#"[{"n":"glucose","u":"mg/dL","v":9104}]"#, "value out of range"),
        (r#"[{"n":"glucose","u":"mg/dL","v":1"#, "JSON"),
    ];
    for (pack, _) in packs {
        let Some(output) = publish(gateway.mqtt_port, &own, "pump-1", "trib/1/pump-1/senml", pack, &[]) else { return };
        assert!(output.status.success(), "kept aside is settled: {output:?}");
    }
    let good = r#"[{"n":"glucose","u":"mg/dL","v":104,"t":4000000000}]"#;
    assert!(publish(gateway.mqtt_port, &own, "pump-1", "trib/1/pump-1/senml", good, &[]).unwrap().status.success());

    let listed = gateway.get("/api/v1/quarantine").unwrap();
    let reasons: Vec<String> =
        listed["entries"].as_array().unwrap().iter().map(|entry| entry["reason"].to_string()).collect();
    for (_, expected) in packs {
        assert!(reasons.iter().any(|reason| reason.contains(expected)), "{expected} in {reasons:?}");
    }
    // A time in the far future is kept and flagged.
    let latest = wait_for("the good pack", Duration::from_secs(5), || {
        let latest = gateway.get("/api/v1/latest?device=pump-1").ok()?;
        latest["latest"][0]["point"].is_object().then(|| latest["latest"][0]["point"].clone())
    });
    assert_eq!((latest["v"].as_f64(), latest["future"].as_bool()), (Some(104.0), Some(true)), "{latest}");
}
