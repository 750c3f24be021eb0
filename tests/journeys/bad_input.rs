//! Bad input gets an error that names file, line or field, and costs nothing else.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use harness::{Agent, Gateway, Pki, binary, judge, wait_for};

/// Runs a program that should refuse; its complaint.
fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "it should refuse: {output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn file_source(path: &Path, series: &str) -> String {
    format!(
        "[[source]]\nname = \"file\"\ntype = \"file\"\npath = {path:?}\ntime_zone = \"Etc/UTC\"\n\
         time = {{ column = \"datetime\", format = \"%Y-%m-%d %H:%M:%S\" }}\n\
         series = [{{ column = \"glucose\", name = \"glucose\", {series} }}]\n"
    )
}

#[test]
fn malformed_rows_are_kept_aside_with_their_line_and_the_import_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), "");
    let csv = folder.path().join("readings.csv");
    let rows = [
        "datetime,glucose",
        "2026-03-24 09:51:00,104",
        "2026-03-24 09:56:00,ninety",
        "2026-13-24 09:56:00,105",
        "2026-03-24 10:01:00,105,what is this",
        "2026-03-24 10:06:00,99999",
        "2099-03-24 10:11:00,106",
        "2026-03-24 10:16:00,107",
    ];
    std::fs::write(&csv, rows.join("\n") + "\n").unwrap();
    let source = file_source(&csv, "unit = \"mg/dL\", min = 20, max = 600");
    let files = pki.device("cgm-9");
    let mut agent = Agent::new(&folder.path().join("agent"), "cgm-9", Some(gateway.mqtt_port), &files, &source);
    agent.start();
    let stored = wait_for("the good rows", Duration::from_secs(20), || {
        let stored = judge::stored(&gateway.database(), "cgm-9").ok()?;
        (stored.len() >= 3).then_some(stored)
    });
    let mut values: Vec<f64> = stored.iter().map(|key| f64::from_bits(key.bits)).collect();
    values.sort_by(f64::total_cmp);
    assert_eq!(values, [104.0, 106.0, 107.0], "the one of 2099 is kept");

    let rejected = String::from_utf8(agent.command(&["buffer", "rejected"]).stdout).unwrap();
    for (line, field) in [(3, "glucose"), (4, "datetime"), (5, "3"), (6, "glucose")] {
        let expected = format!("line {line}");
        let found = rejected.lines().find(|text| text.contains(&expected));
        assert!(
            found.is_some_and(|text| text.contains("readings.csv") && text.contains(field)),
            "line {line}: {rejected}"
        );
    }
    assert_eq!(rejected.lines().count(), 4, "{rejected}");
    let id = gateway.get("/api/v1/series?device=cgm-9").unwrap()["series"][0]["id"].clone();
    let path = format!("/api/v1/series/{id}/readings?from_us=4000000000000000&to_us=5000000000000000");
    let readings = gateway.get(&path).unwrap();
    assert_eq!(readings["points"][0]["future"], true, "flagged: {readings}");
}

#[test]
fn configurations_that_cannot_work_are_refused_before_anything_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let files = pki.device("cgm-9");
    let csv = folder.path().join("readings.csv");
    let check = |name: &str, source: &str, more: &str| {
        let agent = Agent::new(&folder.path().join(name), "cgm-9", Some(8883), &files, source);
        let text = std::fs::read_to_string(agent.config()).unwrap() + more;
        std::fs::write(agent.config(), text).unwrap();
        (agent.command(&["check-config"]), agent)
    };
    let good = file_source(&csv, "unit = \"mg/dL\"");
    assert!(check("good", &good, "").0.status.success());

    let unknown_key = complaint(&check("key", "lingerie = 3\n", "").0);
    assert!(unknown_key.contains("agent.toml") && unknown_key.contains("lingerie"), "{unknown_key}");
    let unknown_unit = complaint(&check("unit", &file_source(&csv, "unit = \"bananas\""), "").0);
    assert!(unknown_unit.contains("bananas") && unknown_unit.contains("unit"), "{unknown_unit}");
    let no_zone = complaint(&check("zone", &good.replace("time_zone = \"Etc/UTC\"\n", ""), "").0);
    assert!(no_zone.contains("time_zone"), "{no_zone}");

    std::fs::set_permissions(&files.key, Permissions::from_mode(0o644)).unwrap();
    let open_key = complaint(&check("open", &good, "").0);
    assert!(open_key.contains("cgm-9.key") && open_key.contains("chmod 600"), "{open_key}");
    std::fs::remove_file(&files.key).unwrap();
    let (output, agent) = check("missing", &good, "");
    let missing = complaint(&output);
    assert!(missing.contains("cgm-9.key"), "{missing}");
    assert!(!agent.buffer().exists(), "nothing was opened");
}

#[test]
fn a_system_without_zones_still_has_utc() {
    let folder = tempfile::tempdir().unwrap();
    let zones = folder.path().join("zones"); // one that no test names: an empty folder would be passed over
    std::fs::create_dir(&zones).unwrap();
    std::fs::copy("/usr/share/zoneinfo/Asia/Kathmandu", zones.join("Elsewhere")).unwrap();
    let files = Pki::create(&folder.path().join("pki")).device("cgm-9");
    let check = |zone: &str| {
        let source = file_source(&folder.path().join("readings.csv"), "unit = \"mg/dL\"").replace("Etc/UTC", zone);
        let agent = Agent::new(&folder.path().join(zone.replace('/', "-")), "cgm-9", None, &files, &source);
        let mut command = Command::new(binary("tributary-agent"));
        command.args(["check-config", "--config"]).arg(agent.config()).env("TZDIR", &zones);
        command.output().expect("run the agent")
    };
    for utc in ["UTC", "Etc/UTC"] {
        let output = check(utc);
        assert!(output.status.success(), "{utc}: {output:?}");
    }
    let unknown = complaint(&check("Europe/Berlin"));
    assert!(unknown.contains("Europe/Berlin") && unknown.contains("time zone"), "{unknown}");
}

#[test]
fn a_buffer_of_a_newer_agent_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let agent = Agent::new(&folder.path().join("agent"), "cgm-9", None, &pki.device("cgm-9"), "");
    let make = |version: u32| {
        let newer = rusqlite::Connection::open(agent.buffer()).unwrap();
        let sql = format!("pragma application_id = {}; pragma user_version = {version};", 0x5452_4942);
        newer.execute_batch(&format!("{sql} create table if not exists kept (it text);")).unwrap();
    };
    make(7);
    let refused = complaint(&agent.command(&["run"]));
    assert!(
        refused.contains("buffer.db") && refused.contains("version 7") && refused.contains("newer agent"),
        "{refused}"
    );
    let kept = rusqlite::Connection::open(agent.buffer()).unwrap();
    assert!(kept.execute("insert into kept values ('untouched')", []).is_ok());
}

#[test]
fn a_port_in_use_a_foreign_address_and_an_unknown_key_stop_the_gateway_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"));
    let gateway = Gateway::start(&folder.path().join("gateway"), pki.server(), "");
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let run = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let run = Command::new(binary("tributary-gateway")).args(["run", "--config"]).arg(&path).output().unwrap();
        complaint(&run)
    };
    let elsewhere = text.replace("gateway.db", "other.db");
    let taken = elsewhere.replacen("127.0.0.1:0", &format!("127.0.0.1:{}", gateway.mqtt_port), 1);
    let taken = run("taken.toml", &taken);
    assert!(taken.contains(&gateway.mqtt_port.to_string()) && taken.contains("in use"), "{taken}");
    let locked = run("locked.toml", &text);
    assert!(locked.contains("another gateway"), "{locked}");
    let open = elsewhere.replace("[http]\naddress = \"127.0.0.1:0\"", "[http]\naddress = \"0.0.0.0:0\"");
    let open = run("open.toml", &open);
    assert!(open.contains("http.address") && open.contains("loopback") || open.contains("127.0.0.1"), "{open}");
    let unknown = run("unknown.toml", &format!("{text}\n[htpp]\n"));
    assert!(unknown.contains("htpp") && unknown.contains("unknown.toml"), "{unknown}");
    let key = folder.path().join("pki/gateway.key");
    std::fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    let open_key = run("key.toml", &elsewhere);
    assert!(open_key.contains("gateway.key") && open_key.contains("chmod 600"), "{open_key}");
}
