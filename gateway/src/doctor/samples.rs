//! Secrets that everybody knows, and settings that were never filled in.

use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::finding::{Finding, or_well};

const CHECK: &str = "samples";
/// Passwords that stand in documents, here and elsewhere, or that people set until they find a better one.
const WORDS: [&str; 17] = [
    "admin",
    "changeit",
    "changeme",
    "demo",
    "example",
    "geheim",
    "influx",
    "known",
    "password",
    "postgres",
    "public",
    "sample",
    "secret",
    "test",
    "token",
    "tributary",
    "tributary_ingest",
];
/// Shorter ones are found by trying.
const PASSWORD_BYTES_MIN: usize = 12;
/// Secret keys of RFC 8032, section 7.1: the first three of its examples.
const RFC_8032: [[u8; 32]; 3] = [
    [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
        0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
    ],
    [
        0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3, 0x46, 0xec, 0x11, 0x4e, 0x0f, 0x5b, 0x8a,
        0x31, 0x9f, 0x35, 0xab, 0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8, 0xa6, 0xfb,
    ],
    [
        0xc5, 0xaa, 0x8d, 0xf4, 0x3f, 0x9f, 0x83, 0x7b, 0xed, 0xb7, 0x44, 0x2f, 0x31, 0xdc, 0xb7, 0xb1, 0x66, 0xd3,
        0x85, 0x35, 0x07, 0x6f, 0x09, 0x4b, 0x85, 0xce, 0x3a, 0x2e, 0x0b, 0x44, 0x58, 0xf7,
    ],
];

/// What could be a sample. Its secrets are not printed.
pub(super) struct Secrets {
    /// Passwords and tokens: the setting that names the file, the user, the text.
    pub(super) passwords: Vec<(String, Option<String>, zeroize::Zeroizing<String>)>,
    /// Settings that name a password which is another user's to read.
    pub(super) others: Vec<String>,
    /// The public half of the key that receipts are signed with.
    pub(super) receipt_key: Option<[u8; 32]>,
    /// Settings with a name or an address in them, and that.
    pub(super) addresses: Vec<(String, String)>,
}

/// Those that are known to everybody.
pub(super) fn examine(secrets: &Secrets) -> Vec<Finding> {
    let mut found = Vec::new();
    for (setting, user, password) in &secrets.passwords {
        let plain = password.to_lowercase();
        let is_word = WORDS.contains(&plain.as_str()) || user.as_ref().is_some_and(|user| user.to_lowercase() == plain);
        let remedy = "draw another one at random, such as by `openssl rand -hex 24`, and set it at the server too";
        if is_word {
            found.push(Finding::fault(CHECK, format!("`{setting}` holds a password out of a book"), remedy));
        } else if password.len() < PASSWORD_BYTES_MIN {
            let what = format!("`{setting}` holds a password of less than {PASSWORD_BYTES_MIN} characters");
            found.push(Finding::warning(CHECK, what, remedy));
        }
    }
    if secrets.receipt_key.is_some_and(|key| is_published(&key)) {
        let remedy = "make another one (`openssl genpkey -algorithm ed25519`), and have devices enrol again";
        found.push(Finding::fault(
            CHECK,
            "`receipts.key_file` holds a key that is printed in documents and tests",
            remedy,
        ));
    }
    for (setting, address) in &secrets.addresses {
        if is_placeholder(address) {
            let what = format!("`{setting}` still says {address}, as the example does");
            found.push(Finding::warning(CHECK, what, "say where it really is"));
        }
    }
    let mut found = or_well(found, CHECK, || "no password, key or address is one of the examples'".to_owned());
    let of_another = |setting| {
        let what =
            format!("`{setting}` was not looked at: this user may not read it, nor need; its own can ask the doctor");
        Finding::ok(CHECK, what)
    };
    found.extend(secrets.others.iter().map(of_another));
    found
}

/// Names that are kept free for documents (RFC 2606), and what stands in angle brackets there.
fn is_placeholder(address: &str) -> bool {
    let after = address.split_once("://").map_or(address, |(_, after)| after);
    let host = after.split(['/', ':']).next().unwrap_or_default().trim_end_matches('.').to_lowercase();
    let is_kept_free = |free: &&str| host == free[1..] || host.ends_with(*free);
    [".example", ".example.com", ".example.net", ".example.org", ".invalid"].iter().any(is_kept_free)
        || address.contains('<')
}

fn is_published(key: &[u8; 32]) -> bool {
    let public_of = |seed: [u8; 32]| Ed25519KeyPair::from_seed_unchecked(&seed).ok();
    let mut seeds = RFC_8032.into_iter().chain((0..=u8::MAX).map(|byte| [byte; 32])); // one byte, 32 times: tests'
    seeds.any(|seed| public_of(seed).is_some_and(|pair| pair.public_key().as_ref() == key))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_password_that_is_another_users_to_read_is_said_not_to_have_been_looked_at_and_is_no_trouble() {
        let others = vec!["store.postgres.migrate_password_file".to_owned()];
        let secrets = Secrets { passwords: Vec::new(), others, receipt_key: None, addresses: Vec::new() };
        let found = examine(&secrets);
        assert!(found.iter().all(|finding| finding.level == Level::Ok), "{found:?}");
        let said = "`store.postgres.migrate_password_file` was not looked at";
        assert!(found.iter().any(|finding| finding.what.starts_with(said)), "{found:?}");
    }
}
