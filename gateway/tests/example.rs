//! The example configuration is the documentation: it must parse, name every setting, and state the true defaults.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::Path;

use tributary_gateway::config::Config;

#[test]
fn the_example_states_the_defaults() {
    let example = Config::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway.example.toml")).unwrap();
    // The same with everything left out that has a default.
    let bare: Config = toml::from_str(
        r#"
        [listener]
        certificate_file = "/etc/tributary/gateway.crt"
        key_file = "/etc/tributary/gateway.key"
        authority_file = "/etc/tributary/ca.crt"
        crl_file = "/etc/tributary/ca.crl"
        [store.postgres]
        password_file = "/etc/tributary/ingest.password"
        migrate_password_file = "/etc/tributary/migrate.password"
        ca_file = "/etc/tributary/database-ca.crt"
        [[subject]]
        id = "person-1"
        display_name = "Someone"
        zone = "Europe/Berlin"
        devices = ["cgm-1"]
        "#,
    )
    .unwrap();
    assert_eq!(example, bare);
}

#[test]
fn the_example_names_every_setting() {
    let example: toml::Table = toml::from_str(include_str!("../gateway.example.toml")).unwrap();
    // serde lists the settings it knows when it meets one that it does not.
    for path in ["listener", "http", "store", "store.postgres", "rollup"] {
        fn table<'t>(whole: &'t mut toml::Table, path: &str) -> &'t mut toml::Table {
            path.split('.').fold(whole, |table, name| table[name].as_table_mut().unwrap())
        }
        let mut probe = example.clone();
        table(&mut probe, path).insert("no_such_setting".into(), true.into());
        let error = toml::from_str::<Config>(&toml::to_string(&probe).unwrap()).unwrap_err().to_string();
        let known: Vec<&str> = error.split('`').skip(1).step_by(2).filter(|word| *word != "no_such_setting").collect();
        let known: Vec<&str> =
            known.into_iter().filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_')).collect();
        assert!(!known.is_empty(), "{error}");
        for setting in known {
            assert!(
                table(&mut example.clone(), path).contains_key(setting),
                "[{path}] {setting} is not in the example"
            );
        }
    }
}

#[test]
fn the_example_shows_how_readings_are_removed_but_removes_none() {
    let text = include_str!("../gateway.example.toml");
    let example: toml::Table = toml::from_str(text).unwrap();
    assert!(example["retention"].as_table().unwrap().is_empty());
    let with: Config = toml::from_str(&text.replace("# raw_days", "raw_days")).unwrap();
    assert_eq!(with.retention.raw_days, Some(400));
}
