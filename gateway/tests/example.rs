//! The example configuration is the documentation: it must parse, name every setting, and state the true defaults.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::Path;

use tributary_gateway::config::{Config, TimeSeries};

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
    for path in ["listener", "http", "store", "store.postgres"] {
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
fn each_time_series_store_of_the_example_is_one_that_can_be_set() {
    let example = include_str!("../gateway.example.toml");
    let commented: Vec<&str> =
        example.lines().skip_while(|line| *line != "# [timeseries]").take_while(|line| line.starts_with('#')).collect();
    let mut seen = Vec::new();
    for block in commented.split(|line| *line == "#") {
        let lines: Vec<&str> = block.iter().map(|line| line.trim_start_matches("# ")).collect();
        let config: Config = toml::from_str(&format!("{example}\n{}", lines.join("\n"))).unwrap();
        seen.push(match config.timeseries.unwrap() {
            TimeSeries::Influx1(_) => "influx-1",
            TimeSeries::Influx2(_) => "influx-2",
            TimeSeries::Timestream(_) => "timestream",
        });
    }
    assert_eq!(seen, ["influx-1", "influx-2", "timestream"]);
}
