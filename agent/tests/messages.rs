//! What a person who writes a source's settings is told when they cannot be: which one, and what to do.

#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![cfg(all(
    feature = "energy",
    feature = "environment",
    feature = "files",
    feature = "glucose",
    feature = "mqtt",
    feature = "nightscout",
    feature = "programs",
    feature = "vitals"
))]

use tributary_agent::config::Config;

/// What is said of one `[[source]]` named `it`.
fn said(source: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    let head = "[device]\nid = \"meter-7\"\n[buffer]\npath = \"/b.db\"\n[[source]]\nname = \"it\"\n";
    std::fs::write(&path, format!("{head}{source}")).unwrap();
    Config::read(&path).expect_err(source).to_string()
}

const SERIES: &str = "series = [{ column = \"v\", name = \"v\" }]";

#[test]
fn a_setting_that_cannot_be_is_named_with_what_would_be_right() {
    let registers = |register: &str| {
        let port = "type = \"modbus\"\nport = \"tcp://127.0.0.1:502\"\n[[source.registers]]\nname = \"a\"\naddress = 1";
        format!("{port}\n{register}")
    };
    let serial = |more: &str| format!("type = \"serial\"\nport = \"/dev/x\"\nformat = \"json\"\n{more}");
    for (source, setting, advice) in [
        (
            "type = \"sds011\"\nport = \"ttyUSB0\"".to_owned(),
            "source.it.port",
            "absolute path such as /dev/serial/by-id/",
        ),
        ("type = \"sds011\"\nport = \"\"".to_owned(), "source.it.port", "/dev/serial/by-id/"),
        ("type = \"nmea\"\nport = \"tcp://box\"".to_owned(), "source.it.port", "a host and a port"),
        (serial(&format!("baud = 12\n{SERIES}")), "source.it.baud", "50 to 4000000"),
        ("type = \"nmea\"\nport = \"/dev/x\"\nbaud = 1".to_owned(), "source.it.baud", "most receivers have 4800"),
        (
            serial("series = [{ column = \"v\", name = \"v\", unit = \"mgdl\" }]"),
            "source.it.series[0].unit",
            "UCUM code, such as mg/dL",
        ),
        (serial(&format!("pattern = \"x\"\n{SERIES}")), "source.it.pattern", "format = \"pattern\""),
        (registers("kind = \"holding\"\ntype = \"float\""), "source.it.registers[0].type", "u16, i16"),
        (registers("kind = \"analog\"\ntype = \"u16\""), "source.it.registers[0].kind", "input, holding"),
        (registers("kind = \"holding\"\ntype = \"u16\"\nunit = \"Volt\""), "source.it.registers[0].unit", "such as V"),
        ("type = \"modbus\"\nport = \"/dev/x\"\nmap = \"sdm120\"".to_owned(), "source.it.map", "there is sdm630"),
        ("type = \"dsmr\"\nport = \"/dev/x\"\nversion = 6".to_owned(), "source.it.version", "2 to 5"),
        ("type = \"nightscout\"\nurl = \"http://my.site\"".to_owned(), "source.it.url", "use https"),
        ("type = \"mqtt\"\nhost = \"10.0.0.1\"\ntopics = []".to_owned(), "source.it.authority_file", "allow_plain"),
        ("type = \"folder\"\npath = \"in\"\nformat = \"csv\"".to_owned(), "source.it.path", "absolute path"),
        (
            format!("type = \"exec\"\ncommand = [\"meter\"]\nformat = \"json\"\n{SERIES}"),
            "source.it.command",
            "absolute path",
        ),
    ] {
        let said = said(&source);
        assert!(said.contains(&format!("`{setting}` ")) && said.contains(advice), "{source}\n{said}");
        assert_eq!(said.matches(setting).count(), 1, "it is named once: {said}");
    }
}

#[test]
fn what_is_not_there_not_known_or_of_another_kind_says_so_in_plain_words() {
    for (source, what, advice) in [
        ("type = \"sds011\"", "missing field `port`", "set it in the table"),
        ("port = \"/dev/x\"", "missing field `type`", "set it in the table"),
        ("type = \"glucose_meter\"\nport = \"/dev/x\"\nmodel = \"taidoc\"", "missing field `time_zone`", "set it"),
        ("type = \"sds01\"\nport = \"/dev/x\"", "`sds011`", "use one of these"),
        ("type = \"glucose_meter\"\nport = \"/dev/x\"\nmodel = \"abacus\"", "`onetouch_ultra2`", "use one of these"),
        ("type = \"sds011\"\nport = \"/dev/x\"\nbaud = 9600", "unknown field `baud`", "leave it out"),
        ("type = \"sds011\"\nport = \"/dev/x\"\nevery_s = \"ten\"", "expected a whole number", "quotes"),
        (
            "type = \"mqtt\"\nhost = \"a\"\nport = 188831\ntopics = []",
            "expected a whole number from 0 to 65535",
            "set what",
        ),
        (
            "type = \"sds011\"\nport = \"/dev/x\"\nevery_s = -1",
            "expected a whole number from 0 to 4294967295",
            "set what",
        ),
        ("type = \"exec\"\ncommand = \"/bin/meter\"\nformat = \"json\"", "invalid type", "brackets"),
        ("type = \"sds011\nport = 1", "line", "check how it is written"),
    ] {
        let said = said(source);
        assert!(said.contains(what) && said.contains(advice), "{source}\n{said}");
        assert!(said.contains("agent.example.toml") && !said.contains("u32"), "{said}");
    }
}
