//! Certificates that end soon.

use certs::Authority;

use crate::bed::{Bed, days};

#[test]
fn nothing_is_found_where_all_is_well() {
    let bed = Bed::new();
    bed.issue("meter-7", 60);
    bed.assert_well();
}

#[test]
fn the_gateways_own_certificate_is_a_warning_from_thirty_days_on_and_a_fault_from_seven() {
    let bed = Bed::new();
    let cases = [(31, None), (20, Some("warning")), (5, Some("fault")), (-2, Some("fault"))];
    for (left, level) in cases {
        bed.write_own(&bed.authority.issue_server(&["localhost"], 100, days(left - 100)).unwrap_or_else(|_| {
            // The authority was not there then.
            let older = Authority::create(&bed.path(&format!("older{left}")), "older", 3_000, days(-200)).unwrap();
            older.issue_server(&["localhost"], 100, days(left - 100)).unwrap()
        }));
        match (level, left) {
            (None, _) => bed.assert_well(),
            (Some(level), ..0) => bed.assert_finds(level, "certificates", "CN=localhost has ended"),
            (Some(level), _) => bed.assert_finds(level, "certificates", "CN=localhost ends in "),
        }
    }
}

#[test]
fn a_certificate_of_our_own_authority_is_followed_by_the_next_by_a_command_as_it_is_printed() {
    let mut bed = Bed::new();
    bed.write_own(&bed.authority.issue_server(&["localhost"], 10, days(0)).unwrap());
    bed.assert_finds("warning", "certificates", "have whoever issued it issue the next one");
    bed.tables = format!("[authority]\npath = {:?}\n", bed.path("ca"));
    let said = bed.doctor(&[]).text;
    let command = said.lines().find_map(|line| line.split_once("; tributary-certs renew ")).unwrap().1;
    let words: Vec<&str> = command.split_whitespace().collect();
    let ["--dir", folder, "--certificate", file, "#", ..] = words.as_slice() else { panic!("{command}") };
    let next = Authority::open(folder.as_ref()).unwrap().issue_next(file.as_ref(), None, days(0)).unwrap();
    certs::files::replace(file.as_ref(), next.pem.as_bytes(), 0o644).unwrap();
    bed.assert_well();
}

#[test]
fn an_authority_is_a_warning_half_a_year_ahead_and_more_urgent_later() {
    let mut bed = Bed::new();
    let own = std::fs::read_to_string(bed.path("ca/ca.crt")).unwrap();
    let cases = [
        (200, None),
        (150, Some(("warning", "plan the next authority"))),
        (60, Some(("warning", "put the next authority beside it now"))),
        (20, Some(("fault", "put the next authority beside it now"))),
    ];
    for (left, expected) in cases {
        let other = Authority::create(&bed.path(&format!("ca{left}")), "other", left, days(0)).unwrap();
        let other = certs::pem_file::to_pem("CERTIFICATE", other.anchor());
        let both = bed.write("both.crt", &format!("{own}{other}"), 0o644);
        bed.listener = format!("crl_file = {:?}\nauthority_file = {both:?}\n", bed.authority.crl_path());
        match expected {
            None => bed.assert_well(),
            Some((level, words)) => bed.assert_finds(level, "certificates", words),
        }
    }
}

#[test]
fn a_devices_certificate_that_is_not_renewed_in_time_is_named_unless_it_is_revoked() {
    let older = |bed: &mut Bed| {
        bed.authority = Authority::create(&bed.path("older"), "older", 3_000, days(-200)).unwrap();
    };
    for (left, level) in [(20, "warning"), (5, "fault"), (-3, "fault")] {
        let mut bed = Bed::new();
        bed.assert_well();
        older(&mut bed);
        bed.issue("meter-7", left);
        bed.assert_finds(level, "certificates", "device meter-7: CN=meter-7 ");
        // The next one is there.
        bed.issue("meter-7", 80);
        bed.assert_well();
        bed.issue("meter-8", left);
        bed.assert_finds(level, "certificates", "device meter-8: CN=meter-8 ");
        let db = rusqlite::Connection::open(bed.path("gateway.db")).unwrap();
        db.execute("update certificate set revoked_us = 1 where device = 'meter-8'", []).unwrap();
        bed.assert_well();
    }
}

#[test]
fn a_fleet_that_does_not_renew_is_not_a_thousand_lines() {
    let mut bed = Bed::new();
    bed.authority = Authority::create(&bed.path("older"), "older", 3_000, days(-200)).unwrap();
    (0..30).for_each(|place| bed.issue(&format!("meter-{place}"), 5));
    bed.assert_finds("fault", "certificates", "and 10 others like it");
    assert!(bed.doctor(&[]).text.lines().count() < 35);
}

#[test]
fn a_certificate_that_is_not_valid_yet_is_a_fault() {
    let bed = Bed::new();
    bed.write_own(&bed.authority.issue_server(&["localhost"], 200, days(3)).unwrap());
    bed.assert_finds("fault", "certificates", "is not valid yet");
}
