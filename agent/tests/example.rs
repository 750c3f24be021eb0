//! The example configuration is the documentation: it must parse, name every setting, and state the true defaults.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::Path;

use tributary_agent::config::Config;

fn read(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, text).unwrap();
    Config::read(&path).unwrap()
}

#[test]
fn the_example_states_the_defaults() {
    let example = Config::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("agent.example.toml")).unwrap();
    // The same with everything left out that may be left out.
    let bare = read(
        r#"
        [device]
        id = "meter-7"
        [buffer]
        path = "/var/lib/tributary/buffer.db"
        [uplink]
        host = "gateway.example"
        authority_file = "/etc/tributary/ca.crt"
        certificate_file = "/etc/tributary/device.crt"
        key_file = "/etc/tributary/device.key"
        [[source]]
        name = "greenhouse"
        type = "serial"
        port = "/dev/serial/by-id/usb-Example_Board_0001-if00"
        format = "key_value"
        series = [{ column = "t", name = "temperature", unit = "Cel" }]
        "#,
    );
    assert_eq!(example, bare);
}

#[test]
fn the_example_names_every_setting() {
    // What it only offers stands behind a # and no space.
    let line = |line: &'static str| match line.strip_prefix('#') {
        Some(offered) if !offered.is_empty() && !offered.starts_with(' ') => offered,
        _ => line,
    };
    let whole = include_str!("../agent.example.toml").lines().map(line).collect::<Vec<_>>().join("\n");
    let example: toml::Table = toml::from_str(&whole).unwrap();
    // serde lists the settings it knows when it meets one that it does not.
    for table in ["device", "buffer", "sealer", "uplink"] {
        let mut probe = example.clone();
        probe[table].as_table_mut().unwrap().insert("no_such_setting".into(), true.into());
        let error = toml::from_str::<Config>(&toml::to_string(&probe).unwrap()).unwrap_err().to_string();
        let known: Vec<&str> = error.split('`').skip(1).step_by(2).filter(|word| *word != "no_such_setting").collect();
        let known: Vec<&str> =
            known.into_iter().filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_')).collect();
        assert!(!known.is_empty(), "{error}");
        for setting in known {
            assert!(
                example[table].as_table().unwrap().contains_key(setting),
                "[{table}] {setting} is not in the example"
            );
        }
    }
}

#[test]
fn the_name_of_a_provisioning_template_is_one_that_aws_iot_takes() {
    let of = |name: &str| {
        let example = include_str!("../agent.example.toml");
        let text =
            example.replace("#provisioning_template = \"tributary\"", &format!("provisioning_template = {name:?}"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path)
    };
    let config = of("fleet_1-A").unwrap();
    assert_eq!(config.uplink().unwrap().provisioning_template.as_deref(), Some("fleet_1-A"));
    assert!(of(&"x".repeat(36)).is_ok());
    for wrong in ["", "a/b", "#", "+", "ä", &"x".repeat(37)] {
        assert!(of(wrong).unwrap_err().to_string().contains("uplink.provisioning_template"), "{wrong}");
    }
}
