//! What the binaries are made of.

use harness::binary;

/// rumqttc pulls in an old rustls-webpki for one variant of an error type; deny.toml excuses its advisories because
/// nothing of it is linked. Panics carry the paths of their source files, which shows what is.
#[test]
fn no_old_certificate_verifier_is_linked_into_the_agent() {
    let bytes = std::fs::read(binary("tributary-agent")).unwrap();
    let contains = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(contains("rustls-webpki-0.103"), "the one in use shows, so an unused one would too");
    assert!(!contains("rustls-webpki-0.102"), "deny.toml excuses its advisories only while it is not linked");
}

/// The bugs that test the rigs are behind a feature; a program that is shipped has neither them nor their switch.
#[test]
fn no_seeded_bug_is_in_what_is_shipped_and_none_compiles_in_a_release_build() {
    let contains = |program: &std::path::Path| {
        let switch = b"TRIBUTARY_SEEDED_BUG";
        std::fs::read(program).unwrap().windows(switch.len()).any(|window| window == switch)
    };
    assert!(contains(&binary("tributary-agent")), "build with --features seeded-bugs, as `make test` does");
    assert!(!contains(&harness::shipped("tributary-agent")));

    let folder = tempfile::tempdir().unwrap();
    let compiles = |file: &str, debug_assertions: bool| {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
        let mut rustc = std::process::Command::new("rustc");
        rustc.args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--emit",
            "metadata",
            "--cfg",
            "feature=\"seeded-bugs\"",
        ]);
        rustc.arg(format!("-Cdebug-assertions={debug_assertions}")).arg("--out-dir").arg(folder.path()).arg(source);
        let output = rustc.output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    for file in ["agent/src/seeded.rs", "gateway/src/seeded.rs"] {
        assert!(compiles(file, true).0, "{file}");
        let (compiled, said) = compiles(file, false);
        assert!(!compiled && said.contains("cannot be in a release build"), "{file}: {said}");
    }
}
