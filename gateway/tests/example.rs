//! The example configuration is the documentation: it must parse, name every setting, and state the true defaults.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::Path;

use tributary_gateway::config::authority::{Authority, Issuer};
use tributary_gateway::config::{Config, Lists, TimeSeries};

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
        crl_file = "/var/lib/tributary/authority/ca.crl"
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

/// The example with what it offers as well: lines that begin with a # and no space.
fn whole_example() -> String {
    let line = |line: &'static str| match line.strip_prefix('#') {
        Some(offered) if !offered.is_empty() && !offered.starts_with(' ') => offered,
        _ => line,
    };
    include_str!("../gateway.example.toml").lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_the_example_offers_states_the_defaults_too() {
    let whole: Config = toml::from_str(&whole_example()).unwrap();
    let bare: Config = toml::from_str(
        r#"
        [listener]
        certificate_file = "x"
        key_file = "x"
        authority_file = "x"
        [authority]
        path = "/var/lib/tributary/authority"
        days = 90
        expired_grace_days = 30
        claim_per_hour_max = 100
        claim_in_all_max = 10000
        waiting_hours = 24
        [authority.aws_iot]
        region = "eu-central-1"
        policy = "tributary-device"
        thing_type = "tributary"
        credentials_file = "/etc/tributary/aws.credentials"
        endpoint_url = "http://127.0.0.1:5000"
        [http]
        certificate_file = "/etc/tributary/http.crt"
        key_file = "/etc/tributary/http.key"
        [store]
        path = "x"
        [broker]
        address = "broker.example.org:8883"
        authority_file = "/etc/tributary/ca.crt"
        certificate_file = "/etc/tributary/broker-client.crt"
        key_file = "/etc/tributary/broker-client.key"
        username = "tributary"
        password_file = "/etc/tributary/broker.password"
        canary_certificate_file = "/etc/tributary/canary.crt"
        canary_key_file = "/etc/tributary/canary.key"
        "#,
    )
    .unwrap();
    assert_eq!((&whole.broker, &whole.authority, &whole.http), (&bare.broker, &bare.authority, &bare.http));
    assert!(whole.broker().unwrap().is_some());
}

#[test]
fn with_the_authority_that_the_example_offers_its_list_is_the_listeners_named_or_not() {
    let mut whole: Config = toml::from_str(&whole_example()).unwrap();
    let own = whole.own_list().unwrap();
    assert_eq!(whole.lists(), Some(Lists::Named(own.clone())));
    whole.listener.crl_file = None;
    assert_eq!(whole.lists(), Some(Lists::Own(own)));
    whole.authority = None;
    assert_eq!(whole.lists(), None);
}

#[test]
fn the_authority_is_our_own_for_ninety_days_unless_told_otherwise() {
    let authority: Authority = toml::from_str("path = \"/a\"").unwrap();
    assert_eq!(authority.issuer().unwrap(), Issuer::Own(Path::new("/a"), 90));
    let stated = "path = \"/a\"\nclaim_per_hour_max = 100\nclaim_in_all_max = 10_000\nwaiting_hours = 24";
    assert_eq!(authority.bounds(), toml::from_str::<Authority>(stated).unwrap().bounds());
}

#[test]
fn settings_of_the_authority_that_cannot_work_are_named() {
    let aws = "kind = \"aws_iot\"\n";
    let table = "[aws_iot]\nregion = \"eu-central-1\"\n";
    let wrong = [
        (String::new(), "authority.path"),
        ("path = \"a\"\ndays = 0".to_owned(), "authority.days"),
        ("path = \"a\"\ndays = 91".to_owned(), "authority.days"),
        ("path = \"a\"\nexpired_grace_days = 91".to_owned(), "authority.expired_grace_days"),
        ("path = \"a\"\nwaiting_hours = 0".to_owned(), "authority.waiting_hours"),
        (format!("{aws}expired_grace_days = 30\n{table}policy = \"p\""), "authority.expired_grace_days"),
        (aws.to_owned(), "authority.aws_iot"),
        (format!("{aws}path = \"a\"\n{table}policy = \"p\""), "authority.path"),
        (format!("{aws}days = 30\n{table}policy = \"p\""), "authority.days"),
        (format!("{aws}{table}policy = \"arn:aws:iot:p\""), "authority.aws_iot.policy"),
        (format!("{aws}{table}policy = \"\""), "authority.aws_iot.policy"),
        (format!("{aws}{table}policy = \"p\"\nthing_type = \"a/b\""), "authority.aws_iot.thing_type"),
        (format!("{aws}{table}policy = \"p\"\nendpoint_url = \"localhost\""), "authority.aws_iot.endpoint_url"),
        (format!("{aws}[aws_iot]\nregion = \"\"\npolicy = \"p\""), "authority.aws_iot.region"),
    ];
    for (text, setting) in wrong {
        let authority: Authority = toml::from_str(&text).unwrap();
        assert_eq!(authority.issuer().unwrap_err().0, setting, "{text}");
    }
    let authority: Authority = toml::from_str(&format!("{aws}{table}policy = \"p\"")).unwrap();
    assert_eq!(authority.issuer().is_ok(), cfg!(feature = "aws"), "{authority:?}");
    assert!(toml::from_str::<Authority>("kind = \"other\"").is_err());
}

#[test]
fn settings_of_the_broker_that_cannot_work_are_named() {
    let settings = |text: &str| toml::from_str::<tributary_gateway::config::Broker>(text).unwrap().settings();
    let tls = "authority_file = \"ca\"\n";
    let wrong = [
        ("address = \"broker\"", "broker.address"),
        ("address = \"broker:0x1\"", "broker.address"),
        ("address = \"broker:8883\"", "broker.authority_file"),
        ("address = \"broker:1883\"\ntls = false", "broker.tls"),
        ("address = \"192.0.2.1:1883\"\ntls = false", "broker.tls"),
        (&format!("address = \"b:1\"\n{tls}key_file = \"k\""), "broker.key_file"),
        (&format!("address = \"b:1\"\n{tls}username = \"u\""), "broker.password_file"),
        (&format!("address = \"b:1\"\n{tls}client_id = \"\""), "broker.client_id"),
        (&format!("address = \"b:1\"\n{tls}group = \"a/b\""), "broker.group"),
        (&format!("address = \"b:1\"\n{tls}connections = 0"), "broker.connections"),
        (&format!("address = \"b:1\"\n{tls}keep_alive_s = 0"), "broker.keep_alive_s"),
        (&format!("address = \"b:1\"\n{tls}window_messages = 0"), "broker.window_messages"),
        (&format!("address = \"b:1\"\n{tls}window_bytes = 1000"), "broker.window_bytes"),
        (&format!("address = \"b:1\"\n{tls}reconnect_s_min = -1.0"), "broker.reconnect_s_min"),
        (&format!("address = \"b:1\"\n{tls}reconnect_s_max = nan"), "broker.reconnect_s_max"),
        (&format!("address = \"b:1\"\n{tls}canary_key_file = \"k\""), "broker.canary_key_file"),
    ];
    for (text, setting) in wrong {
        assert_eq!(settings(text).unwrap_err().0, setting, "{text}");
    }
    for plain in ["localhost:1883", "127.0.0.1:1883", "[::1]:1883"] {
        assert!(settings(&format!("address = \"{plain}\"\ntls = false")).is_ok(), "{plain}");
    }
}

#[test]
fn numbers_of_connections_that_cannot_work_are_named() {
    let faults = [
        ("writers = 0", "store.postgres.writers"),
        ("writers = 17\nconnections_max = 40", "store.postgres.writers"),
        ("writers = 6", "store.postgres.connections_max"),
        ("connections_max = 4", "store.postgres.connections_max"),
    ];
    for (wrong, setting) in faults {
        assert!(read(wrong).unwrap_err().contains(setting), "{wrong}");
    }
    read("writers = 5").unwrap();
}

/// What the gateway says of a file in which the example's `[store.postgres]` has these lines.
fn read(lines: &str) -> Result<Config, String> {
    let (folder, mut config) = (tempfile::tempdir().unwrap(), whole_example().parse::<toml::Table>().unwrap());
    let postgres = config["store"]["postgres"].as_table_mut().unwrap();
    postgres.extend(toml::from_str::<toml::Table>(lines).unwrap());
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, toml::to_string(&config).unwrap()).unwrap();
    Config::read(&file).map_err(|error| error.to_string())
}

#[test]
fn the_example_names_every_setting() {
    let example: toml::Table = toml::from_str(&whole_example()).unwrap();
    // serde lists the settings it knows when it meets one that it does not.
    for path in [
        "listener",
        "authority",
        "authority.aws_iot",
        "receipts",
        "broker",
        "http",
        "store",
        "store.postgres",
        "rollup",
        "retention",
        "audit",
    ] {
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
    let example: Config = toml::from_str(include_str!("../gateway.example.toml")).unwrap();
    let whole: Config = toml::from_str(&whole_example()).unwrap();
    assert_eq!((example.retention.raw_days, whole.retention.raw_days), (None, Some(400)));
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

#[test]
fn the_example_says_where_checkpoints_lie_when_nobody_says() {
    let example: Config = toml::from_str(include_str!("../gateway.example.toml")).unwrap();
    let whole: Config = toml::from_str(&whole_example()).unwrap();
    assert_eq!(example.audit.checkpoint_file, None);
    assert_eq!(whole.audit.checkpoint_file, Some(example.audit_checkpoints()));
}

/// The page about AWS IoT, as far as it is for programs.
fn page(kind: &str) -> impl Iterator<Item = &'static str> {
    let blocks = include_str!("../../docs/aws-iot.md").split("```").skip(1).step_by(2);
    blocks.filter_map(move |block| block.strip_prefix(kind))
}

#[test]
fn the_page_about_aws_iot_shows_settings_that_can_be_set_and_rights_to_topics_that_there_are() {
    let settings = page("toml").find(|block| block.contains("[authority]")).unwrap();
    let authority: Authority =
        toml::from_str::<toml::Table>(settings).unwrap()["authority"].clone().try_into().unwrap();
    assert_eq!(authority.issuer().is_ok(), cfg!(feature = "aws"), "{authority:?}");
    let documents: Vec<serde_json::Value> = page("json").map(|block| serde_json::from_str(block).unwrap()).collect();
    let [policy, template] = documents.as_slice() else { panic!("a policy and a template") };
    let policy = policy.to_string();
    assert!(policy.len() <= 2_048, "AWS IoT takes no longer policy: {} bytes", policy.len());
    let topics: Vec<&str> =
        policy.split('"').filter_map(|text| text.split_once("trib/1/")).map(|(_, rest)| rest).collect();
    assert!(topics.len() >= 8, "{topics:?}");
    for topic in topics {
        let topic = format!("trib/1/{}", topic.replace("${iot:Connection.Thing.ThingName}", "meter-7"));
        assert!(topic.parse::<proto::Topic>().is_ok_and(|topic| topic.device.as_str() == "meter-7"), "{topic}");
    }
    assert_eq!(template["Resources"]["thing"]["Properties"]["ThingName"]["Ref"], "SerialNumber");
}
