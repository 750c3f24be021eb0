//! Settings, clock, audit trail; and what cannot be looked at.

use serde_json::Value;
use tributary_gateway::store::{Batch, Item, Ledger as _, sqlite};

use crate::batches::batch;
use crate::bed::{Bed, Said, doctor};

#[test]
fn readings_that_cross_a_network_in_the_clear_are_a_fault() {
    let mut bed = Bed::new();
    let token = bed.write("token", "6f1d0c53a4b8e29b7d\n", 0o600);
    for (url, is_fault) in [
        ("http://192.0.2.1:8086", true),
        ("http://influx.local:8086", true),
        ("http://127.0.0.1:8086", false),
        ("http://[::1]:8086", false),
        ("http://localhost", false),
        ("https://influx.local", false),
    ] {
        bed.tables = format!(
            "[timeseries]\ntype = \"influx-2\"\nurl = \"{url}\"\norg = \"o\"\nbucket = \"b\"\ntoken_file = {token:?}\n\
             plain_http = true\n"
        );
        if is_fault {
            bed.assert_finds("fault", "settings", &format!("go to {url} unencrypted"));
        } else {
            bed.assert_well();
        }
    }
}

#[test]
fn unsigned_receipts_behind_a_broker_are_a_fault_and_a_broker_without_a_canary_is_not_proven() {
    let mut bed = Bed::new();
    // Nobody listens there.
    bed.tables = "[broker]\naddress = \"localhost:1\"\ntls = false\n".to_owned();
    bed.assert_finds("fault", "settings", "receipts are not signed");
    let made = std::process::Command::new("openssl").args(["genpkey", "-algorithm", "ed25519"]).output().unwrap();
    let key = bed.write("receipts.key", std::str::from_utf8(&made.stdout).unwrap(), 0o600);
    bed.tables += &format!("[receipts]\nkey_file = {key:?}\n");
    bed.assert_finds("unknown", "broker", "set `broker.canary_certificate_file`");
    assert!(!bed.doctor(&[]).text.contains("receipts are not signed"));
}

#[test]
fn a_batch_that_arrived_after_now_says_that_a_clock_was_set_back() {
    let bed = Bed::new();
    let record = |number: u64, ahead_s: i64| {
        let mut store = sqlite::Store::open(&bed.path("gateway.db"), tributary_gateway::now).unwrap();
        let arrived = proto::Instant(tributary_gateway::now().0 + ahead_s * 1_000_000);
        let batch = Batch { arrived, ..batch(number, &[(arrived.0, 100.0)]) };
        store.writer.record(&[Item::Batch(batch)]).unwrap();
    };
    record(1, -10);
    bed.assert_well();
    record(2, 30);
    bed.assert_finds("warning", "clock", "s after now: a clock was set back");
    record(3, 3_600);
    bed.assert_finds("fault", "clock", "s after now: a clock was set back");
}

#[test]
fn an_audit_trail_that_was_changed_is_a_fault_and_so_is_one_without_checkpoints() {
    let bed = Bed::new();
    let db = rusqlite::Connection::open(bed.path("gateway.db")).unwrap();
    let original = std::fs::read(bed.path("gateway.audit")).unwrap();
    std::fs::remove_file(bed.path("gateway.audit")).unwrap();
    bed.assert_finds("fault", "audit", "gateway.audit is missing");
    std::fs::write(bed.path("gateway.audit"), original).unwrap();
    crate::bed::chmod(&bed.path("gateway.audit"), 0o600);
    bed.assert_well();
    db.execute_batch("drop trigger audit_is_not_changed; update audit set subject = 'meter-9' where sequence = 3")
        .unwrap();
    bed.assert_finds("fault", "audit", "entry 3 was edited");
}

#[test]
fn what_cannot_be_looked_at_is_said_and_is_no_success() {
    let bed = Bed::new();
    std::fs::remove_file(bed.path("own.crt")).unwrap();
    bed.assert_finds("unknown", "certificates", "own.crt");
    let bed = Bed::new();
    for name in ["gateway.db", "gateway.db-wal", "gateway.db-shm"] {
        let _ = std::fs::remove_file(bed.path(name));
    }
    bed.assert_finds("unknown", "database", "could not be examined");
    let wrong = bed.write("wrong.toml", "[listener]\n", 0o644);
    let Said { code, text } = doctor(&wrong, &[]);
    assert!(code == Some(2) && text.starts_with("unknown  settings ") && text.contains("certificate_file"), "{text}");
    // Beyond loopback there is no plain HTTP: such settings are not even read.
    let mut bed = Bed::new();
    bed.tables = "[http]\naddress = \"0.0.0.0:8080\"\n".to_owned();
    bed.assert_finds("unknown", "settings", "http.address");
}

#[test]
fn json_says_the_same_as_the_lines() {
    let mut bed = Bed::new();
    bed.listener.clear();
    let (lines, json) = (bed.doctor(&[]), bed.doctor(&["--json"]));
    assert_eq!((lines.code, lines.text.lines().count()), (json.code, json.text.lines().count()));
    for (line, object) in lines.text.lines().zip(json.text.lines()) {
        let object: Value = serde_json::from_str(object).unwrap();
        let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
        let parts = [text("level"), text("check"), text("what"), text("remedy")];
        assert!(parts.iter().all(|part| line.contains(part.as_str())), "{line}\n{object}");
        assert_eq!(object["remedy"].is_null(), text("level") == "ok", "{object}");
    }
}
