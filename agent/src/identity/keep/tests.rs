//! The files, step by step.

use super::*;

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
        Keep::open(&self.path("x.crt"), &self.path("x.key")).unwrap()
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }
}

#[test]
fn the_key_that_is_asked_for_stays_the_same_until_it_is_certified() {
    let rig = Rig::new();
    let key = rig.open().key_to_ask_for().unwrap();
    assert_eq!(*rig.open().key_to_ask_for().unwrap(), *key, "after a restart");
    assert!(rig.open().next().is_none() && !rig.open().has_current());
    rig.open().put_next("chain").unwrap();
    assert!(rig.open().next().is_some());
    rig.open().promote().unwrap();
    assert!(rig.open().next().is_none() && rig.open().has_current());
    assert_eq!((rig.read("x.key").unwrap(), rig.read("x.crt").unwrap()), (key.to_string(), "chain".into()));
    assert_ne!(*rig.open().key_to_ask_for().unwrap(), *key, "the next one is another");
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
            assert_eq!(fs::read(crt).unwrap(), fs::read(key).unwrap());
        }
    }
}

#[test]
fn a_key_that_others_can_read_is_not_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new();
    rig.open().key_to_ask_for().unwrap();
    fs::set_permissions(rig.path("x.key.next"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(rig.open().key_to_ask_for(), Err(KeepError::Key(KeyFileError::TooOpen { .. }))));
}

#[test]
fn what_nobody_will_certify_is_forgotten_whole() {
    let rig = Rig::new();
    rig.open().key_to_ask_for().unwrap();
    rig.open().put_next("chain").unwrap();
    rig.open().forget_next().unwrap();
    assert!(rig.open().next().is_none() && !rig.path("x.key.next").exists() && !rig.path("x.crt").exists());
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
    let key = rig.open().key_to_ask_for().unwrap();
    rig.open().put_next("chain").unwrap();
    rig.open().withdraw_next().unwrap();
    assert!(rig.open().next().is_none() && !rig.path("x.crt").exists());
    assert_eq!(*rig.open().key_to_ask_for().unwrap(), *key);
}
