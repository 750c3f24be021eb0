//! The example configuration is the documentation: it must parse, name every setting, and state the true defaults.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;
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
            let is_set = example[table].as_table().unwrap().contains_key(setting);
            // A table that takes the place of a setting is there as a comment.
            let is_commented = include_str!("../agent.example.toml").contains(&format!("# [{table}.{setting}]\n"));
            assert!(is_set || is_commented, "[{table}] {setting} is not in the example");
        }
    }
}

#[test]
fn the_key_is_in_a_file_or_in_a_token_and_the_commented_table_is_a_sound_one() {
    let text = include_str!("../agent.example.toml");
    let at = text.find("# [uplink.key]\n").unwrap();
    let table: String = text[at..].lines().take(5).map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
    let before = "[device]\nid = \"a\"\n[buffer]\npath = \"b\"\n[uplink]\nhost = \"h\"\nauthority_file = \"c\"\n";
    let uplink = format!("{before}certificate_file = \"d\"\n");
    let by_id = table.replace("label = \"meter-7\"", "id = \"0aFF\"");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    if cfg!(feature = "pkcs11") {
        let in_token = read(&format!("{uplink}{table}"));
        assert_eq!(in_token.uplink.unwrap().key.unwrap().label.as_deref(), Some("meter-7"));
        read(&format!("{uplink}{by_id}"));
    } else {
        std::fs::write(&path, format!("{uplink}{table}")).unwrap();
        let error = Config::read(&path).unwrap_err().to_string();
        assert!(error.contains("`uplink.key` is for programs that are built with the feature `pkcs11`"), "{error}");
    }
    for (wrong, setting) in [
        (uplink.clone(), "uplink.key_file"),
        (format!("{uplink}key_file = \"k\"\n{table}"), "uplink.key_file"),
        (format!("{uplink}{}", table.replace("label = \"meter-7\"", "")), "uplink.key"),
        (format!("{uplink}{table}id = \"00\""), "uplink.key"),
        (format!("{uplink}{}", by_id.replace("0aFF", "0aF")), "uplink.key"),
        (format!("{uplink}{}", by_id.replace("0aFF", "0a+F")), "uplink.key"),
        (format!("{uplink}{}", by_id.replace("0aFF", "")), "uplink.key"),
    ] {
        std::fs::write(&path, &wrong).unwrap();
        let error = Config::read(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("`{setting}`")), "{error}: {wrong}");
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

/// Where the samples of all sources begin.
const SAMPLES: &str = "\n# Every kind of source with every setting, as in its sample.toml: to use one, take \"# \" off the \
    beginning of its lines.\n";

/// Each source's folder and its sample, by name.
fn samples() -> BTreeMap<String, String> {
    let folders = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/source")).unwrap();
    let sample = |folder: std::fs::DirEntry| {
        let sample = std::fs::read_to_string(folder.path().join("sample.toml")).ok()?;
        Some((folder.file_name().into_string().unwrap(), sample))
    };
    folders.filter_map(|folder| sample(folder.unwrap())).collect()
}

/// The samples are in the example word for word, so that they need be kept in one place; `GOLDEN_WRITE=1` puts them there.
#[test]
fn the_example_has_the_sample_of_every_source() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("agent.example.toml");
    let found = std::fs::read_to_string(&path).unwrap();
    let own = found.split(SAMPLES).next().unwrap();
    let mut expected = format!("{own}{SAMPLES}");
    for (folder, sample) in samples() {
        expected.push_str(&format!("\n# agent/src/source/{folder}/sample.toml\n"));
        for line in sample.lines() {
            expected.push_str(format!("# {line}").trim_end());
            expected.push('\n');
        }
    }
    if std::env::var_os("GOLDEN_WRITE").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(found == expected, "agent.example.toml has not the samples as they are; GOLDEN_WRITE=1 writes it anew");
}

#[test]
fn each_sample_in_the_example_is_accepted_once_its_comments_are_taken_off_and_there_is_one_of_every_kind() {
    let error = toml::from_str::<tributary_agent::source::Settings>("type = \"no_such\"").unwrap_err().to_string();
    let mut kinds: Vec<&str> = error.split('`').skip(1).step_by(2).filter(|word| *word != "no_such").collect();
    assert!(kinds.contains(&"serial"), "{error}");
    let example = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("agent.example.toml")).unwrap();
    let parts: Vec<&str> = example.split_once(SAMPLES).unwrap().1.split("\n# agent/src/source/").skip(1).collect();
    assert_eq!(parts.len(), samples().len());
    for part in parts {
        let (of, lines) = part.split_once('\n').unwrap();
        let uncommented = |line: &str| format!("{}\n", line.strip_prefix("# ").or(line.strip_prefix('#')).unwrap());
        let sources: String = lines.lines().filter(|line| !line.is_empty()).map(uncommented).collect();
        assert!(sources.contains("[[source]]"), "{of} has a source");
        // As `check-config` reads it.
        read(&format!("[device]\nid = \"a\"\n[buffer]\npath = \"b\"\n{sources}"));
        kinds.retain(|kind| !sources.contains(&format!("\ntype = \"{kind}\"")));
    }
    assert!(kinds.is_empty(), "no sample has a source of the kinds {kinds:?}");
}
