//! Who is cut off, and what is kept with an entry of the audit trail.

use super::*;
use crate::audit::entry::{Actor, Detail, Entry, Event};

/// What the registry says of device `a`, once it is cut off.
fn cut(rig: &mut Rig) -> crate::enrol::cuts::Cut {
    let said = rig.registry.cut_off(START).unwrap();
    said.get(&id("a")).and_then(|standing| standing.cut.clone()).unwrap()
}

#[test]
fn who_was_cut_off_is_so_with_every_certificate_until_it_is_issued_another_here() {
    let mut rig = Rig::new();
    // Its certificate is of another authority: nobody here has ever heard of it.
    assert!(!rig.registry.knows(&id("a")).unwrap());
    rig.revoke("a", &[], 1);
    assert!(rig.registry.knows(&id("a")).unwrap());
    assert_eq!((cut(&mut rig).since, cut(&mut rig).good.len()), (later(1), 0));
    assert_eq!(rig.ask(Claimant::Device, "a", 1, 2), Decision::NotAllowed);
    assert_eq!(rig.ask(expired("a", "77"), "a", 1, 2), Decision::Waiting);
    rig.registry.add_claim(&[9; 32], None, later(2), later(3)).unwrap();
    assert_eq!(rig.ask(Claimant::Code([9; 32]), "a", 1, 2), Decision::NotAllowed, "a code that was made for anybody");
    rig.registry.add_claim(&CODE, Some(&id("a")), later(2), later(3)).unwrap();
    assert_eq!(rig.ask(Claimant::Code(CODE), "a", 1, 2), Decision::Issue);
    rig.issued_at("a", 1, "08", 2);
    assert_eq!(cut(&mut rig).good, ["08".to_owned()].into());
    rig.revoke("a", &[], 3);
    assert_eq!((cut(&mut rig).since, cut(&mut rig).good.len()), (later(3), 0), "and again");
    assert!(rig.registry.reinstate(&id("b")).is_err());
    rig.registry.reinstate(&id("a")).unwrap();
    let said = rig.registry.cut_off(START).unwrap();
    assert_eq!((&said[&id("a")].cut, &said[&id("a")].revoked), (&None, &["08".to_owned()].into()));
}

#[test]
fn what_would_have_let_a_device_in_again_goes_when_it_is_cut_off() {
    let mut rig = Rig::new();
    rig.claim(Some("a"));
    assert_eq!(rig.ask(shared(), "a", 1, 0), Decision::Waiting);
    rig.registry.answer(&id("a"), None, true).unwrap();
    rig.revoke("a", &[], 0);
    assert_eq!(rig.ask(Claimant::Code(CODE), "a", 2, 0), Decision::NoClaim, "a code that lay in its drawer");
    assert_eq!(rig.ask(shared(), "a", 1, 0), Decision::Waiting, "the operator's yes from before");
    rig.registry.answer(&id("a"), None, true).unwrap();
    assert_eq!(rig.ask(shared(), "a", 1, 0), Decision::Issue, "and the one from after");
}

#[test]
fn what_was_decided_before_a_device_was_cut_off_is_not_kept_after_it() {
    let mut rig = Rig::new();
    let certificate =
        Certificate { serial: "07".into(), device: id("a"), key: vec![1; 65], not_after: later(9), chain: vec![1] };
    let before = rig.registry.times_cut(&id("a")).unwrap();
    assert_eq!(rig.ask(Claimant::Device, "a", 1, 0), Decision::Issue);
    rig.revoke("a", &[], 0);
    let made = |times_cut| Made { certificate: &certificate, times_cut, claim: None, entries: &[] };
    assert!(matches!(rig.registry.keep(&made(before), START), Err(RegistryError::CutOff)));
    assert!(cut(&mut rig).good.is_empty());
    let after = rig.registry.times_cut(&id("a")).unwrap();
    rig.registry.keep(&made(after), START).unwrap();
}

#[test]
fn a_certificate_and_its_entry_of_the_audit_trail_are_there_both_or_neither() {
    let mut rig = Rig::new();
    let certificate =
        Certificate { serial: "07".into(), device: id("a"), key: vec![1; 65], not_after: later(9), chain: vec![1] };
    let detail = Detail::none().text("serial", "07");
    let entry = Entry { time: START, actor: Actor::Gateway, event: Event::Issued, subject: Some(id("a")), detail };
    let Side::Sqlite(path, _) = &rig.registry.side else { panic!("a file") };
    let db = rusqlite::Connection::open(path).unwrap();
    let count =
        |table: &str| -> i64 { db.query_row(&format!("select count(*) from {table}"), [], |row| row.get(0)).unwrap() };
    let made = Made { certificate: &certificate, times_cut: 0, claim: None, entries: &[entry] };
    db.execute_batch("alter table audit rename to away").unwrap();
    assert!(rig.registry.keep(&made, START).is_err(), "the trail takes nothing");
    assert_eq!(count("certificate"), 0);
    db.execute_batch("alter table away rename to audit").unwrap();
    rig.registry.keep(&made, START).unwrap();
    assert_eq!((count("certificate"), count("audit")), (1, 1));
    assert!(rig.registry.keep(&made, START).is_err(), "it is there already");
    assert_eq!(count("audit"), 1);
}
