//! Who gets a certificate, on a real file.

use super::*;
use crate::enrol::authority::Held;
use crate::store::sqlite;

const HOUR: i64 = 3_600 * 1_000_000;
const START: Instant = Instant(1_790_000_000_000_000);
const CODE: [u8; 32] = [1; 32];

mod cut;
mod shared;

struct Rig {
    _folder: tempfile::TempDir,
    registry: Registry,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.db");
        drop(sqlite::Store::open(&path, || START).unwrap());
        Self { registry: Registry::new(Side::sqlite(&path)), _folder: folder }
    }

    fn claim(&mut self, device: Option<&str>) {
        let device = device.map(id);
        self.registry.add_claim(&CODE, device.as_ref(), START, later(1)).unwrap();
    }

    /// What becomes of it when `by` asks to be `device` with a key of these bytes, `hours` later.
    fn ask(&mut self, by: Claimant, device: &str, key: u8, hours: i64) -> Decision {
        let asked = Asked { by: &by, device: &id(device), key: &[key; 65] };
        self.registry.decide(&asked, later(hours)).unwrap()
    }

    fn issued(&mut self, device: &str, key: u8, serial: &str) {
        self.issued_at(device, key, serial, 0);
    }

    /// For 90 days, `hours` later.
    fn issued_at(&mut self, device: &str, key: u8, serial: &str, hours: i64) {
        let certificate = Certificate {
            serial: serial.into(),
            device: id(device),
            key: vec![key; 65],
            not_after: later(hours + 90 * 24),
            chain: serial.as_bytes().to_vec(),
        };
        self.keep(&certificate, None, hours).unwrap();
    }

    /// Decided and kept at once.
    fn keep(&mut self, certificate: &Certificate, claim: Option<&DeviceId>, hours: i64) -> Result<(), RegistryError> {
        let times_cut = self.registry.times_cut(&certificate.device).unwrap();
        let made = Made { certificate, times_cut, claim, entries: &[] };
        self.registry.keep(&made, later(hours))
    }

    fn revoke(&mut self, device: &str, held: &[Held], hours: i64) {
        self.registry.revoke(&id(device), held, later(hours)).unwrap();
    }

    /// The serial numbers that are revoked.
    fn revoked(&mut self, hours: i64) -> Vec<String> {
        let said = self.registry.cut_off(later(hours)).unwrap();
        let all: std::collections::BTreeSet<_> = said.into_values().flat_map(|standing| standing.revoked).collect();
        all.into_iter().collect()
    }
}

fn shared() -> Claimant {
    Claimant::Shared(id("claim-fleet"))
}

fn id(name: &str) -> DeviceId {
    name.parse().unwrap()
}

fn held(serial: &str, device: &str, not_after: Instant) -> Held {
    Held { serial: serial.into(), device: id(device), not_after, name: serial.into() }
}

fn later(hours: i64) -> Instant {
    Instant(START.0 + hours * HOUR)
}

#[test]
fn a_code_is_good_once_for_one_key_and_for_its_device() {
    let mut rig = Rig::new();
    rig.claim(Some("a"));
    let code = || Claimant::Code(CODE);
    assert_eq!(rig.ask(code(), "b", 1, 0), Decision::NoClaim, "another device");
    assert_eq!(rig.ask(Claimant::Code([2; 32]), "a", 1, 0), Decision::NoClaim, "another code");
    assert_eq!(rig.ask(code(), "a", 1, 0), Decision::Issue);
    assert_eq!(rig.ask(code(), "a", 1, 0), Decision::Issue, "again, for the answer was lost before it was issued");
    assert_eq!(rig.ask(code(), "a", 2, 0), Decision::ClaimUsed);
    rig.issued("a", 1, "07");
    assert_eq!(rig.ask(code(), "a", 1, 20), Decision::Known(b"07".to_vec()), "again, for the answer was lost");
}

#[test]
fn a_code_that_is_over_is_neither_let_in_nor_good_unless_it_was_used() {
    let mut rig = Rig::new();
    rig.claim(Some("a"));
    assert_eq!(rig.registry.live_claims(later(1)).unwrap(), [CODE]);
    assert!(rig.registry.live_claims(later(2)).unwrap().is_empty());
    assert_eq!(rig.ask(Claimant::Code(CODE), "a", 1, 2), Decision::NoClaim);
    assert_eq!(rig.ask(Claimant::Code(CODE), "a", 1, 0), Decision::Issue);
    assert_eq!(rig.registry.live_claims(later(2)).unwrap(), [CODE], "to ask again");
    assert_eq!(rig.ask(Claimant::Code(CODE), "a", 1, 2), Decision::Issue);
    assert!(rig.registry.live_claims(later(26)).unwrap().is_empty());
}

#[test]
fn nobody_takes_the_name_of_a_device_that_lives_by_what_was_not_made_for_it() {
    let mut rig = Rig::new();
    rig.issued("a", 1, "07");
    rig.claim(None);
    assert_eq!(rig.ask(Claimant::Code(CODE), "a", 2, 0), Decision::NotAllowed);
    assert_eq!(rig.ask(Claimant::Code(CODE), "b", 2, 0), Decision::Issue);
    rig.registry.add_rule("*", START).unwrap();
    assert_eq!(rig.ask(shared(), "a", 3, 0), Decision::Waiting);
    assert_eq!(rig.ask(shared(), "c", 3, 0), Decision::Issue);
    rig.revoke("a", &[held("07", "a", later(90 * 24))], 0);
    assert_eq!(rig.ask(shared(), "a", 4, 0), Decision::Waiting, "it was cut off: a rule lets nobody in again");
}

#[test]
fn a_code_for_any_device_is_that_devices_once_it_is_used() {
    let mut rig = Rig::new();
    rig.claim(None);
    rig.issued("a", 1, "07");
    assert_eq!(rig.ask(Claimant::Code(CODE), "b", 2, 0), Decision::Issue);
    assert_eq!(rig.ask(Claimant::Code(CODE), "a", 2, 0), Decision::NoClaim, "nor a device that lives");
    assert_eq!(rig.ask(Claimant::Code(CODE), "c", 2, 0), Decision::NoClaim, "nor a new one");
    assert_eq!(rig.ask(Claimant::Code(CODE), "b", 2, 0), Decision::Issue, "its answer may have been lost");
}

#[test]
fn a_device_that_was_cut_off_comes_back_by_what_the_operator_makes_for_it_alone() {
    let mut rig = Rig::new();
    rig.claim(Some("a"));
    assert_eq!(rig.ask(Claimant::Code(CODE), "a", 1, 0), Decision::Issue);
    rig.issued("a", 1, "07");
    rig.revoke("a", &[held("07", "a", later(90 * 24))], 1);
    assert_eq!(rig.ask(Claimant::Device, "a", 2, 1), Decision::NotAllowed, "by a connection that still stands");
    assert_eq!(rig.ask(Claimant::Code(CODE), "a", 1, 1), Decision::NotAllowed, "by the code that it came with");
    rig.registry.add_claim(&[3; 32], Some(&id("a")), later(2), later(3)).unwrap();
    assert_eq!(rig.ask(Claimant::Code([3; 32]), "a", 2, 2), Decision::Issue);
    rig.issued_at("a", 2, "08", 2);
    assert_eq!(rig.ask(Claimant::Device, "a", 3, 3), Decision::Issue);
}

#[test]
fn the_operator_says_yes_or_no_to_one_key() {
    let mut rig = Rig::new();
    for key in [1, 2] {
        assert_eq!(rig.ask(shared(), "a", key, 0), Decision::Waiting);
    }
    assert!(matches!(rig.registry.answer(&id("a"), None, true), Err(RegistryError::Several { count: 2, .. })));
    assert!(matches!(rig.registry.answer(&id("b"), None, true), Err(RegistryError::NobodyWaits(_))));
    rig.registry.answer(&id("a"), Some(&fingerprint(&[1; 65])), true).unwrap();
    rig.registry.answer(&id("a"), None, false).unwrap();
    assert_eq!(rig.ask(shared(), "a", 1, 0), Decision::Issue);
    assert_eq!(rig.ask(shared(), "a", 2, 0), Decision::NotAllowed);
}

#[test]
fn a_device_renews_within_bounds_and_what_was_revoked_is_known_until_it_expires() {
    let mut rig = Rig::new();
    for (key, serial) in [(1, "01"), (2, "02"), (3, "03"), (4, "04")] {
        assert_eq!(rig.ask(Claimant::Device, "a", key, 0), Decision::Issue);
        rig.issued("a", key, serial);
    }
    assert_eq!(rig.ask(Claimant::Device, "a", 5, 1), Decision::TooMany);
    assert_eq!(rig.ask(Claimant::Device, "a", 5, 25), Decision::Issue);
    rig.revoke("a", &[held("02", "a", later(90 * 24))], 0);
    rig.revoke("z", &[held("99", "z", later(24))], 0);
    let of_a = ["01", "02", "03", "04"];
    assert_eq!(
        rig.revoked(0),
        [&of_a[..], &["99"]].concat(),
        "all that it has, whether its authority told of it or not"
    );
    assert_eq!(rig.revoked(25), [&of_a[..], &["99"]].concat(), "an expired one may still be shown to ask");
    assert_eq!(rig.revoked(24 + 91 * 24), of_a, "until nobody lets it in for that");
    assert_ne!(
        rig.ask(Claimant::Device, "a", 2, 25),
        Decision::Known(b"02".to_vec()),
        "a revoked one is not given again"
    );
}

fn expired(device: &str, serial: &str) -> Claimant {
    Claimant::Expired { device: id(device), serial: serial.into() }
}

#[test]
fn an_expired_certificate_gets_the_next_one_where_it_is_the_last_of_its_device() {
    let mut rig = Rig::new();
    let day = 24;
    rig.issued("a", 1, "01");
    let mut ask = |serial, key, days: i64| rig.ask(expired("a", serial), "a", key, days * day);
    assert_eq!(ask("01", 2, 91), Decision::Issue, "its last one");
    assert_eq!(ask("77", 2, 91), Decision::Waiting, "one that is not known");
    assert_eq!(ask("77", 1, 91), Decision::Issue, "the key of the last one, whose answer was lost");
    assert_eq!(ask("01", 3, 30), Decision::Waiting, "its last one is good: who shows it as expired has another clock");
    assert_eq!(ask("01", 1, 30), Decision::Known(b"01".to_vec()));
}

#[test]
fn a_copy_of_a_replaced_or_revoked_certificate_waits_for_the_operators_word_or_a_rule() {
    let mut rig = Rig::new();
    rig.issued("a", 1, "01");
    rig.issued_at("a", 2, "02", 60 * 24);
    assert_eq!(rig.ask(expired("a", "01"), "a", 9, 91 * 24), Decision::Waiting, "the device lives by another");
    assert_eq!(rig.ask(expired("a", "01"), "a", 9, 151 * 24), Decision::Waiting, "the device went on to another");
    assert_eq!(rig.ask(expired("a", "02"), "a", 8, 151 * 24), Decision::Issue);
    rig.registry.answer(&id("a"), None, false).unwrap();
    assert_eq!(rig.ask(expired("a", "01"), "a", 9, 151 * 24), Decision::NotAllowed);
    rig.revoke("a", &[held("02", "a", later(150 * 24))], 100 * 24);
    assert_eq!(rig.ask(expired("a", "02"), "a", 7, 151 * 24), Decision::Waiting, "revoked");
    rig.registry.add_rule("a", START).unwrap();
    assert_eq!(
        rig.ask(expired("a", "01"), "a", 6, 151 * 24),
        Decision::Waiting,
        "a rule lets in nobody who was cut off"
    );
    rig.issued("b", 1, "11");
    rig.issued_at("b", 2, "12", 60 * 24);
    rig.registry.add_rule("b", START).unwrap();
    assert_eq!(rig.ask(expired("b", "11"), "b", 6, 151 * 24), Decision::Issue, "of one that was not, it does");
}

#[test]
fn of_a_device_that_went_on_to_another_certificate_the_list_says_so() {
    let mut rig = Rig::new();
    rig.issued("a", 1, "01");
    rig.issued_at("a", 2, "02", 60 * 24);
    rig.issued("b", 3, "03");
    let what = |rig: &mut Rig, days: i64| {
        let lines = rig.registry.list(later(days * 24)).unwrap();
        lines.iter().map(|line| format!("{} {} {}", line.device, line.more, line.what)).collect::<Vec<_>>()
    };
    assert_eq!(what(&mut rig, 70), ["a 01 certificate", "a 02 certificate", "b 03 certificate"]);
    assert_eq!(what(&mut rig, 91), ["a 01 replaced", "a 02 certificate", "b 03 expired"]);
    assert_eq!(what(&mut rig, 200), ["a 01 replaced", "a 02 expired", "b 03 expired"]);
}

#[test]
fn a_device_whose_key_stays_gets_a_new_certificate_for_it_when_half_of_the_old_ones_life_is_over() {
    let mut rig = Rig::new();
    rig.issued("a", 1, "01");
    assert_eq!(rig.ask(Claimant::Device, "a", 1, 24), Decision::Known(b"01".to_vec()), "the answer was lost");
    assert_eq!(rig.ask(Claimant::Device, "a", 1, 60 * 24), Decision::Issue);
    assert_eq!(rig.ask(shared(), "a", 1, 60 * 24), Decision::Known(b"01".to_vec()), "who has no certificate");
    let renewed = Certificate {
        serial: "02".into(),
        device: id("a"),
        key: vec![1; 65],
        not_after: later(150 * 24),
        chain: b"02".to_vec(),
    };
    rig.keep(&renewed, None, 60 * 24).unwrap();
    assert_eq!(rig.ask(Claimant::Device, "a", 1, 61 * 24), Decision::Known(b"02".to_vec()), "the answer was lost");
}

#[test]
fn a_rule_is_an_id_or_its_beginning() {
    let mut rig = Rig::new();
    rig.registry.add_rule("meter-*", START).unwrap();
    rig.registry.add_rule("pump", START).unwrap();
    for (device, is_in) in [("meter-1", true), ("meter", false), ("pump", true), ("pump-1", false)] {
        assert_eq!(rig.ask(shared(), device, 1, 0) == Decision::Issue, is_in, "{device}");
    }
}

#[test]
fn claims_and_revocations_are_seen_while_somebody_writes() {
    let mut rig = Rig::new();
    rig.claim(None);
    let Side::Sqlite(path, _) = &rig.registry.side else { panic!("a file") };
    let busy = rusqlite::Connection::open(path).unwrap();
    busy.execute_batch("begin immediate").unwrap();
    let began = std::time::Instant::now();
    assert_eq!(rig.registry.live_claims(START).unwrap(), [CODE]);
    assert!(rig.registry.cut_off(START).unwrap().is_empty());
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "it waits for nobody");
}
