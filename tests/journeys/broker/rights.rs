//! Who may do what at the broker, with the access list that is shipped.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use harness::pki::Files;
use harness::{Cloud, Pki, judge, wait_for};

use super::mosquitto::{self, Mosquitto};

const PACK: &str = r#"[{"n":"glucose","u":"mg/dL","bt":1790000000,"v":104}]"#;

/// One of Mosquitto's clients, for five seconds at most. None where it is not installed.
fn client(program: &str, port: u16, files: &Files, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new("timeout");
    command.args(["5", program, "-h", "localhost", "-p", &port.to_string(), "-q", "1"]);
    command.arg("--cafile").arg(&files.authority).arg("--cert").arg(&files.certificate).arg("--key").arg(&files.key);
    if Command::new(program).arg("--help").output().is_err() {
        println!("skipped: {program} is not installed (mosquitto-clients)");
        return None;
    }
    Some(command.args(arguments).output().unwrap())
}

#[test]
fn a_device_cannot_publish_as_another_nor_hear_another_nor_take_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let server = pki.server();
    let Some(broker) = Mosquitto::start(&folder.path().join("broker"), &server) else { return };
    let cloud = Cloud::start_with(&folder.path().join("cloud"), server, &broker.table(&pki));
    wait_for("the gateway to subscribe", Duration::from_secs(10), || {
        cloud.gateway.process.as_ref()?.log_text().contains("connected to the broker").then_some(())
    });
    let (port, thief, victim) = (broker.port, pki.device("thief"), pki.device("victim"));
    let publish = |version: &str, topic: &str, more: &[&str]| {
        let arguments = [&["-V", version, "-t", topic, "-m", PACK], more].concat();
        client("mosquitto_pub", port, &thief, &arguments)
    };
    // Under 3.1.1 the client is told that all is well; a device cannot notice that it is denied.
    let Some(denied) = publish("mqttv311", "trib/1/victim/senml", &[]) else { return };
    assert!(denied.status.success() && denied.stderr.is_empty(), "{denied:?}");
    let denied = publish("mqttv5", "trib/1/victim/senml", &[]).unwrap();
    assert!(String::from_utf8_lossy(&denied.stderr).contains("Not authorized"), "{denied:?}");
    // The other's client id gives none of its rights, and does not end its connection.
    let mut listening = client_that_stays(port, &victim);
    wait_for("the victim to connect", Duration::from_secs(10), || broker.said().contains(" victim ").then_some(()));
    publish("mqttv311", "trib/1/victim/senml", &["-i", "victim"]).unwrap();
    assert!(publish("mqttv311", "trib/1/thief/senml", &["-i", "victim"]).unwrap().status.success());

    // What came after all of this has arrived, so the rest never will.
    wait_for("its own pack", Duration::from_secs(10), || {
        let stored = judge::stored(&cloud.gateway.database(), "thief").ok()?;
        (stored.len() == 1).then_some(())
    });
    let devices = cloud.gateway.get("/api/v1/devices").unwrap();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1, "{devices}");
    assert_eq!(listening.try_wait().unwrap(), None, "the victim is still connected:\n{}", broker.said());
    assert!(!broker.said().contains("victim already connected"), "{}", broker.said());
    listening.kill().unwrap();
    listening.wait().unwrap();

    // On its own topic, in another's name: acknowledged, kept aside and alarmed.
    let misnamed = PACK.replace("glucose", "victim/glucose");
    client("mosquitto_pub", port, &victim, &["-t", "trib/1/victim/senml", "-m", PACK]).unwrap();
    wait_for("the victim to be heard of", Duration::from_secs(10), || {
        (judge::stored(&cloud.gateway.database(), "victim").ok()?.len() == 1).then_some(())
    });
    client("mosquitto_pub", port, &thief, &["-t", "trib/1/thief/senml", "-m", &misnamed]).unwrap();
    wait_for("the pack in quarantine", Duration::from_secs(20), || {
        let entries = cloud.gateway.get("/api/v1/quarantine?device=thief").ok()?["entries"].clone();
        let reason = entries[0]["reason"].as_str()?;
        (entries.as_array()?.len() == 1 && reason.contains("identity: its names are those of victim")).then_some(())
    });
    let ledger = cloud.gateway.get("/api/v1/devices/thief/ledger").unwrap();
    assert_eq!(ledger["alarms"][0]["kind"], "identity_mismatch", "{ledger}");
    assert_eq!(judge::stored(&cloud.gateway.database(), "thief").unwrap().len(), 1, "nothing of it is stored");

    let hearing = std::thread::scope(|scope| {
        // Mosquitto lets everyone subscribe to anything, and then delivers what they may read. -d tells all packets.
        let topics = ["-W", "2", "-d", "-t", "trib/1/victim/senml", "-t", "trib/1/+/senml", "-t", "#"];
        let hearing = scope.spawn(move || client("mosquitto_sub", port, &thief, &topics).unwrap());
        while !hearing.is_finished() {
            client("mosquitto_pub", port, &victim, &["-t", "trib/1/victim/senml", "-m", PACK]).unwrap();
        }
        String::from_utf8(hearing.join().unwrap().stdout).unwrap()
    });
    assert!(hearing.contains("received SUBACK") && !hearing.contains("received PUBLISH"), "{hearing}");
    wait_for("the victim's own pack", Duration::from_secs(10), || {
        let stored = judge::stored(&cloud.gateway.database(), "victim").ok()?;
        (stored.len() == 1).then_some(())
    });
}

#[test]
fn the_doctor_finds_each_hole_in_an_access_list_and_none_in_the_one_that_is_shipped() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let server = pki.server();
    let Some(mut broker) = Mosquitto::start(&folder.path().join("broker"), &server) else { return };
    let Files { certificate, key, .. } = pki.device("canary");
    let canary = format!("canary_certificate_file = {certificate:?}\ncanary_key_file = {key:?}\n");
    let made = Command::new("openssl").args(["genpkey", "-algorithm", "ed25519"]).output().unwrap();
    let receipts = folder.path().join("receipts.key");
    certs::key_file::create_private(&receipts, &made.stdout).unwrap();
    let table = format!("{}{canary}[receipts]\nkey_file = {receipts:?}\n", broker.table(&pki));
    let mut cloud = Cloud::start_with(&folder.path().join("cloud"), server.clone(), &table);
    cloud.stop().unwrap();
    let (config, shipped, port) = (cloud.gateway.config(), mosquitto::shipped("acl"), broker.port);
    // Of a broker that has this access list. An examination waits, for what must not come: all of them at once.
    let examine_with = |acl: &str| {
        let place = tempfile::tempdir_in(folder.path()).unwrap();
        let broker = Mosquitto::start_with(place.path(), &server, acl).unwrap();
        let text = std::fs::read_to_string(&config).unwrap();
        let other = place.path().join("gateway.toml");
        let ports = [port, broker.port].map(|port| format!("\"localhost:{port}\""));
        assert!(text.contains(&ports[0]), "{text}");
        std::fs::write(&other, text.replace(&ports[0], &ports[1])).unwrap();
        examine(&other)
    };
    let holes: [(&str, &[&str]); 9] = [
        (
            "pattern write trib/1/+/status\n",
            &[
                "canary can publish as canary-victim: status;",
                "canary can leave a status at the broker that is canary-victim's;",
                "canary can have a last will that is canary-victim's;",
            ],
        ),
        // Who could write on the first, would get another's certificate.
        (
            "pattern write trib/1/+/enrol\npattern write trib/1/+/batch\npattern write trib/1/+/command/result\n",
            &["canary can publish as canary-victim: batch, command/result, enrol;"],
        ),
        ("pattern write trib/1/+/senml\n", &["canary can publish as canary-victim: senml;"]),
        ("pattern read trib/1/+/receipt\n", &["canary can hear what is meant for canary-victim: receipt;"]),
        ("pattern read trib/1/+/config\n", &["canary can hear what is meant for canary-victim: config;"]),
        ("pattern read trib/1/+/senml\n", &["canary can hear what devices send: senml;"]),
        ("pattern read $SYS/#\n", &["canary can hear what the broker says of itself;"]),
        ("pattern write trib/1/%u/receipt\n", &["canary can write what only the gateway may: receipt;"]),
        ("pattern write trib/1/%u/enrol/answer\n", &["canary can write what only the gateway may: enrol/answer;"]),
    ];
    let unreadable = shipped.replace("topic read trib/1/+/status", "");
    assert_ne!(unreadable, shipped);
    std::thread::scope(|scope| {
        let examine_with = &examine_with;
        let good = scope.spawn(|| examine(&config));
        // Where nothing can be tried, nothing is proven.
        let blind = scope.spawn(|| examine_with(&unreadable));
        let of_holes = holes.map(|(hole, findings)| {
            let acl = format!("{hole}{shipped}");
            (hole, findings, scope.spawn(move || examine_with(&acl)))
        });
        let (code, said) = good.join().unwrap();
        assert!(code == Some(0) && said.contains("a device cannot publish as another"), "{said}");
        for (hole, findings, examined) in of_holes {
            let (code, said) = examined.join().unwrap();
            assert_eq!(code, Some(1), "{hole}: {said}");
            for finding in findings {
                assert!(said.contains(finding), "{hole}: {finding}: {said}");
            }
            assert_eq!(said.matches("canary can ").count(), findings.len(), "and nothing else: {hole}: {said}");
        }
        let (code, said) = blind.join().unwrap();
        assert!(code == Some(2) && said.contains("broker        could not be examined"), "{said}");
    });
    broker.kill().unwrap();
    let (code, said) = examine(&config);
    assert!(code == Some(2) && said.contains("broker        could not be examined"), "{said}");
}

/// What the doctor says of a gateway with these settings, and its exit code.
fn examine(config: &Path) -> (Option<i32>, String) {
    let mut doctor = Command::new(harness::binary("tributary-gateway"));
    let output = doctor.args(["doctor", "--config"]).arg(config).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn client_that_stays(port: u16, files: &Files) -> std::process::Child {
    let mut command = Command::new("mosquitto_sub");
    command.args(["-h", "localhost", "-p", &port.to_string(), "-t", "trib/1/victim/receipt"]);
    command.arg("--cafile").arg(&files.authority).arg("--cert").arg(&files.certificate).arg("--key").arg(&files.key);
    command.stdin(std::process::Stdio::null()).spawn().unwrap()
}
