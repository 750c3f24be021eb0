//! Revocation lists.

use certs::Authority;
use certs::authority::{Reason, Which};

use crate::bed::{Bed, days};

#[test]
fn a_list_that_is_missing_past_half_its_life_or_over_is_found() {
    let mut bed = Bed::new();
    for (begun, expected) in [
        (-2, None),
        (-5, Some(("warning", "is past half its life and ends in"))),
        (-8, Some(("fault", "has run out: nobody is let in by it"))),
    ] {
        bed.authority.crl(7, days(begun)).unwrap_or_else(|_| {
            bed.authority = Authority::create(&bed.path(&format!("older{begun}")), "older", 3_000, days(-20)).unwrap();
            bed.authority.crl(7, days(begun)).unwrap()
        });
        bed.listener = format!("crl_file = {:?}\n", bed.authority.crl_path());
        match expected {
            None => bed.assert_well(),
            Some((level, words)) => bed.assert_finds(level, "revocation", words),
        }
    }
    bed.listener.clear();
    bed.assert_finds("warning", "revocation", "the listener has no revocation list");
    bed.listener = format!("crl_file = {:?}\n", bed.path("nothing.crl"));
    bed.assert_finds("unknown", "revocation", "nothing.crl");
}

#[test]
fn an_authority_that_is_revoked_and_still_in_use_is_a_fault() {
    let mut bed = Bed::new();
    let root = Authority::create_root(&bed.path("root"), "Root", 3_000, days(0)).unwrap();
    let csr = Authority::request(&bed.path("below"), "Below").unwrap();
    let below = root.sign_authority(&std::fs::read(csr).unwrap(), 300, days(0)).unwrap();
    let bundle = bed.write("bundle.pem", &below.bundle, 0o644);
    let issuing = Authority::install(&bed.path("below"), &bundle, days(0)).unwrap();
    bed.write_own(&issuing.issue_server(&["localhost"], 200, days(0)).unwrap());
    bed.listener = format!("crl_file = {:?}\nauthority_file = {:?}\n", issuing.crl_path(), bed.path("root/ca.crt"));
    bed.tables = format!("[authority]\npath = {:?}\n", bed.path("below"));
    bed.assert_well();
    root.revoke(Which::Authority(below.record.serial), Reason::KeyCompromise, days(0)).unwrap();
    issuing.install_root_crl(&root.crl_path(), days(0)).unwrap();
    bed.assert_finds("fault", "revocation", "is revoked and still in use; take it out");
}

#[test]
fn the_gateways_own_certificate_that_is_revoked_is_a_fault() {
    let bed = Bed::new();
    let made = bed.authority.issue_server(&["localhost"], 200, days(0)).unwrap();
    bed.write_own(&made);
    bed.assert_well();
    bed.authority.revoke(Which::Serial(made.leaf.record.serial), Reason::Superseded, days(0)).unwrap();
    bed.assert_finds("fault", "revocation", "CN=localhost is revoked and still in use");
}
