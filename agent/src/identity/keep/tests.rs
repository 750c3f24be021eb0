//! Files after each step of a change, and a key that is in none.

use certs::authority::key_of_request;

use super::*;
use crate::identity::signer::double::TokenDouble;

struct Rig {
    folder: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self) -> Keep {
        Keep::open(&self.path("x.crt"), &Key::File(self.path("x.key"))).unwrap()
    }

    /// The public key that a certificate is asked for.
    fn asked(&self) -> Vec<u8> {
        key_of_request(&self.open().request("a").unwrap()).unwrap()
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }
}

#[test]
fn the_key_that_is_asked_for_stays_the_same_until_it_is_certified() {
    let rig = Rig::new();
    let key = rig.asked();
    assert_eq!(rig.asked(), key, "after a restart");
    let pem = rig.read("x.key.next").unwrap();
    assert!(rig.open().next().is_none() && !rig.open().has_current());
    rig.open().put_next("chain").unwrap();
    assert!(rig.open().next().is_some());
    rig.open().promote().unwrap();
    assert!(rig.open().next().is_none() && rig.open().has_current());
    assert_eq!((rig.read("x.key").unwrap(), rig.read("x.crt").unwrap()), (pem, "chain".into()));
    assert_ne!(rig.asked(), key, "the next one is another");
}

#[test]
fn whenever_the_power_goes_key_and_certificate_belong_together_when_it_is_back() {
    for after in 0..3 {
        let rig = Rig::new();
        let keep = rig.open();
        for (name, content) in [("x.key", "old"), ("x.crt", "old"), ("x.key.next", "new"), ("x.crt.next", "new")] {
            fs::write(rig.path(name), content).unwrap();
        }
        // As `promote` does it, up to some step.
        for (from, to) in [("x.key.next", "x.key"), ("x.crt.next", "x.crt")].into_iter().take(after) {
            fs::rename(rig.path(from), rig.path(to)).unwrap();
        }
        drop(keep);
        let keep = rig.open();
        let pair = |key: &str, crt: &str| (rig.read(key), rig.read(crt));
        assert_eq!(pair("x.key", "x.crt").0, pair("x.key", "x.crt").1, "after {after} steps");
        if let Some((crt, key)) = keep.next() {
            assert_eq!(fs::read(crt).unwrap(), fs::read(key.file().unwrap()).unwrap());
        }
    }
}

#[test]
fn a_key_that_others_can_read_is_not_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new();
    rig.asked();
    fs::set_permissions(rig.path("x.key.next"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(rig.open().request("a"), Err(KeepError::Key(KeyFileError::TooOpen { .. }))));
}

#[test]
fn what_nobody_will_certify_is_forgotten_whole() {
    let rig = Rig::new();
    rig.asked();
    rig.open().put_next("chain").unwrap();
    rig.open().forget_next().unwrap();
    assert!(rig.open().next().is_none() && !rig.path("x.key.next").exists() && !rig.path("x.crt").exists());
}

#[test]
fn a_key_in_a_token_stays_and_its_next_certificate_waits_for_its_turn_across_a_restart() {
    let rig = Rig::new();
    let key = Key::in_token("double", TokenDouble::empty()).unwrap();
    let open = || Keep::open(&rig.path("x.crt"), &key).unwrap();
    let asked = || key_of_request(&open().request("a").unwrap()).unwrap();
    let public = asked();
    assert!(open().next().is_none() && !open().has_current());
    open().put_next("first").unwrap();
    open().promote().unwrap();
    assert!(open().has_current());
    assert_eq!(asked(), public, "the same key for the next certificate");
    open().put_next("second").unwrap();
    let next = open().next();
    assert!(matches!(next, Some((path, Key::Token(_))) if path == rig.path("x.crt.next")));
    assert_eq!(rig.read("x.crt").unwrap(), "first", "until the second has connected");
    open().promote().unwrap();
    assert_eq!(rig.read("x.crt").unwrap(), "second");
    assert!(open().next().is_none());
    assert_eq!(fs::read_dir(rig.folder.path()).unwrap().count(), 1, "nothing else was left");
}

#[test]
fn an_offer_is_there_whole_for_its_owner_alone_until_it_is_forgotten() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new();
    assert_eq!(rig.open().offer(), None);
    rig.open().put_offer("token", "first").unwrap();
    rig.open().put_offer("other", "-----BEGIN\nx\n").unwrap();
    assert_eq!(rig.open().offer(), Some(("other".to_owned(), "-----BEGIN\nx\n".to_owned())));
    let mode = fs::metadata(rig.path("x.crt.offer")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    rig.open().forget_offer().unwrap();
    rig.open().forget_offer().unwrap();
    assert_eq!(rig.open().offer(), None);
}

#[test]
fn a_certificate_that_is_taken_back_leaves_its_key_to_ask_for() {
    let rig = Rig::new();
    let key = rig.asked();
    rig.open().put_next("chain").unwrap();
    rig.open().withdraw_next().unwrap();
    assert!(rig.open().next().is_none() && !rig.path("x.crt").exists());
    assert_eq!(rig.asked(), key);
}
