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
