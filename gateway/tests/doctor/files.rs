//! Files that others can read or change.

use std::os::unix::fs::{MetadataExt, chown};

use crate::bed::{Bed, chmod};

#[test]
fn a_key_a_database_or_a_list_of_checkpoints_that_others_can_reach_is_a_fault() {
    let bed = Bed::new();
    for name in ["own.key", "gateway.db", "gateway.audit"] {
        for mode in [0o640, 0o604, 0o620, 0o610] {
            chmod(&bed.path(name), mode);
            bed.assert_finds("fault", "files", &format!("{name} has mode {mode:04o}: others than its owner can reach"));
        }
        chmod(&bed.path(name), 0o600);
        bed.assert_well();
    }
}

#[test]
fn a_certificate_or_a_folder_that_others_can_write_is_a_fault() {
    let bed = Bed::new();
    for name in ["own.crt", "ca/ca.crt", "ca/ca.crl"] {
        chmod(&bed.path(name), 0o664);
        bed.assert_finds("fault", "files", &format!("{name} has mode 0664: others than its owner can change it"));
        chmod(&bed.path(name), 0o644);
        bed.assert_well();
    }
    chmod(&bed.path("ca"), 0o775);
    bed.assert_finds("fault", "files", "ca has mode 0775: others can put other files in the place");
    chmod(&bed.path("ca"), 0o1777);
    bed.assert_well();
}

#[test]
fn a_file_that_belongs_to_somebody_else_is_a_fault() {
    let bed = Bed::new();
    let own = std::fs::metadata(bed.path("own.key")).unwrap().uid();
    if chown(bed.path("own.key"), Some(64_321), None).is_err() {
        return println!("skipped: only root can give files away");
    }
    bed.assert_finds("fault", "files", "own.key belongs to user 64321");
    chown(bed.path("own.key"), Some(own), None).unwrap();
    bed.assert_well();
}

#[test]
fn the_gateway_makes_its_database_for_its_owner_alone() {
    let bed = Bed::new();
    for name in ["gateway.db", "gateway.db.lock"] {
        assert_eq!(std::fs::metadata(bed.path(name)).unwrap().mode() & 0o777, 0o600, "{name}");
    }
}
