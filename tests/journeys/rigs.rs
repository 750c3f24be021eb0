//! What people run by hand says how.

use std::process::Command;

use harness::binary;

#[test]
fn each_rig_says_how_it_is_used_and_what_it_does_not_know() {
    for name in ["chaos", "security", "cross", "bench", "load", "demo"].map(|name| format!("tributary-{name}")) {
        for help in ["--help", "-h"] {
            let output = Command::new(binary(&name)).arg(help).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success() && said.starts_with(&name), "{name} {help}: {said}");
            assert!(said.lines().count() > 1 && output.stderr.is_empty(), "{name} {help}: {said}");
        }
        let output = Command::new(binary(&name)).arg("--no-such").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains("--help"), "{name}: {said}");
    }
}
