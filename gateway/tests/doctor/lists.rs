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
    bed.tables = format!("[authority]\npath = {:?}\n", bed.authority.crl_path().parent().unwrap());
    bed.assert_finds("fault", "revocation", "has run out: nobody is let in by it");
    bed.tables.clear();
    bed.assert_finds("warning", "revocation", "the listener has no revocation list");
    bed.listener = format!("crl_file = {:?}\n", bed.path("nothing.crl"));
    bed.assert_finds("unknown", "revocation", "nothing.crl");
}

#[test]
fn a_copy_of_the_authoritys_list_is_a_warning_for_no_renewed_one_gets_there() {
    let mut bed = Bed::new();
    bed.tables = format!("[authority]\npath = {:?}\n", bed.path("ca"));
    bed.assert_well();
    let list = std::fs::read_to_string(bed.path("ca/ca.crl")).unwrap();
    let copy = bed.write("copy.crl", &list, 0o644);
    bed.listener = format!("crl_file = {copy:?}\n");
    bed.assert_finds("warning", "revocation", "and when that ends nobody is let in; set `listener.crl_file` to /");
    // The same file by another name is none.
    std::os::unix::fs::symlink(bed.path("ca/ca.crl"), bed.path("link.crl")).unwrap();
    bed.listener = format!("crl_file = {:?}\n", bed.path("link.crl"));
    bed.assert_well();
    bed.listener.clear();
    bed.assert_well();
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

#[test]
fn a_revocation_that_the_database_has_forgotten_is_named_until_it_is_said_again() {
    let mut bed = Bed::new();
    bed.tables = format!("[authority]\npath = {:?}\n", bed.path("ca"));
    let made = bed.authority.issue_device("stolen-1", 90, days(0)).unwrap();
    bed.know(&made.leaf, "stolen-1");
    bed.authority.issue_device("meter-7", 90, days(0)).unwrap();
    bed.assert_well();
    let config = bed.path("gateway.toml");
    let ask = |words: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tributary-gateway"));
        let done = command.args(words).arg("--config").arg(&config).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    let copy = bed.path("copy.db").display().to_string();
    ask(&["backup", "--to", &copy]);
    ask(&["devices", "revoke", "stolen-1"]);
    bed.authority.crl(7, days(0)).unwrap();
    bed.know_the_trail();
    bed.assert_well();
    ask(&["restore", "--from", &copy]);
    bed.know_the_trail();
    bed.assert_finds("warning", "revocation", "has revoked stolen-1, and the database does not know it");
    ask(&["devices", "revoke", "stolen-1"]);
    bed.know_the_trail();
    bed.assert_well();
}
