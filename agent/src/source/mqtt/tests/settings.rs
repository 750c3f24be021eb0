//! Settings that cannot be, each with its name and what to do.

use super::*;

fn problem(broker: &str, topic: &str) -> String {
    let text = format!("name = \"s\"\ntype = \"mqtt\"\n{broker}\n[[topics]]\n{topic}\n");
    let configured: Configured = match toml::from_str(&text) {
        Ok(configured) => configured,
        Err(error) => return error.to_string(),
    };
    configured.validate().map_or_else(|error| error.to_string(), |()| "none".into())
}

const HERE: &str = "host = \"127.0.0.1\"";
const TOPIC: &str = "filter = \"a/+\"\nseries = [{ pointer = \"/t\", name = \"t.{1}\" }]";

#[test]
fn a_broker_that_cannot_be_is_named() {
    for (broker, field, what) in [
        ("host = \"mqtt://x\"", "s.host", "alone"),
        ("host = \"192.168.1.2\"", "s.authority_file", "allow_plain"),
        ("host = \"127.0.0.1\"\nport = 0", "s.port", "1883"),
        ("host = \"127.0.0.1\"\nkey_file = \"k\"", "s.certificate_file", "together"),
        ("host = \"127.0.0.1\"\nkey_file = \"k\"\ncertificate_file = \"c\"", "s.certificate_file", "authority_file"),
        ("host = \"127.0.0.1\"\npassword_file = \"p\"", "s.password_file", "`user`"),
        ("host = \"127.0.0.1\"\nuser = \"\"", "s.user", "256"),
        ("host = \"127.0.0.1\"\nclient_id = \"\"", "s.client_id", "128"),
        ("host = \"127.0.0.1\"\nkeep_alive_s = 1", "s.keep_alive_s", "1200"),
        ("host = \"127.0.0.1\"\nmessage_bytes_max = 9", "s.message_bytes_max", "1048576"),
        ("host = \"127.0.0.1\"\nformat = \"xml\"", "xml", "sparkplug_b"),
        ("host = \"127.0.0.1\"\nformat = \"sparkplug_b\"\nretained = \"take\"", "s.retained", "order"),
        ("host = \"127.0.0.1\"\nformat = \"sparkplug_b\"\ntime_zone = \"UTC\"", "s.time_zone", "UTC"),
    ] {
        let problem = problem(broker, TOPIC);
        assert!(problem.contains(field) && problem.contains(what), "{broker}: {problem}");
    }
    for broker in [
        "host = \"localhost\"",
        "host = \"::1\"",
        "host = \"b\"\nallow_plain = true",
        "host = \"b\"\nauthority_file = \"a\"",
    ] {
        assert_eq!(problem(broker, TOPIC), "none", "{broker}");
    }
}

#[test]
fn a_topic_that_cannot_be_is_named() {
    for (topic, field, what) in [
        ("filter = \"a/#\"\nseries = []", "topics[0].filter", "`+`"),
        ("filter = \"a\"\nseries = []", "topics[0].series", "empty"),
        ("filter = \"a\"\nseries = [{ name = \"t\" }]", "topics[0].series[0].pointer", "/temperature"),
        ("filter = \"a\"\nseries = [{ pointer = \"t\", name = \"t\" }]", "series[0].pointer", "begin with `/`"),
        ("filter = \"a\"\nseries = [{ metric = \"t\", name = \"t\" }]", "series[0].metric", "sparkplug_b"),
        ("filter = \"a/+\"\nseries = [{ pointer = \"\", name = \"t\" }]", "series[0].name", "{1}"),
        ("filter = \"a\"\nseries = [{ pointer = \"\", name = \"t\", unit = \"mg/dl\" }]", "series[0].unit", "UCUM"),
        ("filter = \"a\"\nseries = [{ pointer = \"\", name = \"t\", kind = \"number\" }]", "kind", "gauge"),
        ("filter = \"a\"\nseries = [{ pointer = \"\", name = \"t\", min = 2, max = 1 }]", "series[0].min", "max"),
        ("filter = \"a\"\nseries = [{ pointer = \"\", name = \"t\", states = { x = \"y\" } }]", "states.x", "low(39)"),
        ("filter = \"a\"\nalive = \"x\"\nseries = [{ pointer = \"\", name = \"t\" }]", "alive", "sparkplug_b"),
        (
            "filter = \"a\"\ntime = { pointer = \"x\" }\nseries = [{ pointer = \"/t\", name = \"t\" }]",
            "time.pointer",
            "/",
        ),
        (
            "filter = \"a\"\ntime = { pointer = \"/x\", format = \"%H\" }\nseries = [{ pointer = \"/t\", name = \"t\" }]",
            "time.format",
            "whole date",
        ),
        (
            "filter = \"a/+\"\nseries = [{ pointer = \"\", name = \"t.{1}\" }]\n[[topics]]\nfilter = \"+/b\"\n\
             series = [{ pointer = \"\", name = \"t.{1}\" }]",
            "topics[1].filter",
            "`a/+`",
        ),
        (
            "filter = \"a\"\nseries = [{ pointer = \"\", name = \"t\" }, { pointer = \"/x\", name = \"t\" }]",
            "topics[0].series[1].name",
            "twice",
        ),
    ] {
        let problem = problem(HERE, topic);
        assert!(problem.contains(field) && problem.contains(what), "{topic}: {problem}");
    }
    let sparkplug = "host = \"127.0.0.1\"\nformat = \"sparkplug_b\"";
    for (topic, field, what) in [
        ("filter = \"g\"\nalive = \"x\"", "topics[0].filter", "group/node"),
        ("filter = \"g/n\"\nseries = []", "topics[0].series", "metrics"),
        ("filter = \"g/n\"\nseries = [{ pointer = \"/x\", name = \"t\" }]", "series[0].pointer", "`metric`"),
        ("filter = \"g/n\"\nseries = [{ name = \"t\" }]", "series[0].metric", "Inputs"),
        ("filter = \"g/n\"\ntime = { pointer = \"/x\" }\nalive = \"x\"", "topics[0].time", "times"),
        ("filter = \"g/+\"\nalive = \"x\"", "topics[0].alive", "{1}"),
        (
            "filter = \"g/+\"\nalive = \"a.{1}\"\n[[topics]]\nfilter = \"+/n/d\"\nalive = \"b.{1}\"",
            "topics[1].filter",
            "alike",
        ),
    ] {
        let problem = problem(sparkplug, topic);
        assert!(problem.contains(field) && problem.contains(what), "{topic}: {problem}");
    }
}

#[test]
fn a_password_is_read_from_a_file_that_only_its_owner_reads() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let settings = plain(&format!("user = \"u\"\npassword_file = {file:?}"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = settings.manner("s", Vec::new()).err().unwrap();
    assert!(error.field == "password_file" && error.problem.contains("chmod 600"), "{error}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let greeting = settings.manner("s", Vec::new()).unwrap().greeting;
    // Flags for user and password; no newline.
    assert_eq!(greeting[9], 0xc0);
    assert!(greeting.ends_with(b"\0\x01u\0\x06secret"));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(settings.manner("s", Vec::new()).err().unwrap().field, "password_file");
}
