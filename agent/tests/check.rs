//! What `check-config` says of files that are named and not there.

#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![cfg(all(feature = "mqtt", feature = "nightscout"))]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Whether the agent finds the configuration fine, and what it says.
fn check(config: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tributary-agent"))
        .args(["check-config", "--config"])
        .arg(config)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn all_files_that_a_run_would_miss_are_named_with_their_setting_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    let place = |name: &str| folder.path().join(name);
    let text = format!(
        "[device]\nid = \"a\"\n[buffer]\npath = \"/b.db\"\n\
         [[source]]\nname = \"site\"\ntype = \"nightscout\"\nurl = \"https://my-site.example\"\ntoken_file = {:?}\n\
         [[source]]\nname = \"zigbee\"\ntype = \"mqtt\"\nhost = \"127.0.0.1\"\nuser = \"u\"\npassword_file = {:?}\n\
         [[source.topics]]\nfilter = \"a\"\nseries = [{{ pointer = \"\", name = \"a\" }}]\n",
        place("site.token"),
        place("password")
    );
    std::fs::write(&config, text).unwrap();
    let (is_fine, said) = check(&config);
    assert!(!is_fine && said.contains(&config.display().to_string()), "{said}");
    for (source, setting, file, remedy) in
        [("site", "token_file", "site.token", "mode 0600"), ("zigbee", "password_file", "password", "mode 0600")]
    {
        let line = said.lines().find(|line| line.contains(&format!("source `{source}`"))).unwrap_or(&said);
        assert!(line.contains(&format!("`{setting}`")) && line.contains(remedy), "{line}");
        assert!(line.contains(&place(file).display().to_string()), "{line}");
    }

    for (name, text) in [("site.token", "reader-0123456789abcdef"), ("password", "hidden")] {
        std::fs::write(place(name), text).unwrap();
        std::fs::set_permissions(place(name), Permissions::from_mode(0o600)).unwrap();
    }
    let (is_fine, said) = check(&config);
    assert!(is_fine && said.contains("fine; device a, 2 sources"), "{said}");
    std::fs::set_permissions(place("site.token"), Permissions::from_mode(0o644)).unwrap();
    let (is_fine, said) = check(&config);
    assert!(!is_fine && said.contains("`token_file`") && said.contains("chmod 600"), "{said}");
}
