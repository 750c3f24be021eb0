//! Files that others can read or change.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::bed::{Bed, chmod, days};

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

/// Somebody who is not root.
const USER: u32 = 64_321;

/// A gateway's folder with an authority of its own, all of it another user's; none where this is not root.
fn of_another_user() -> Option<Bed> {
    let mut bed = Bed::new();
    bed.tables = format!("[authority]\npath = {:?}\n", bed.path("ca"));
    bed.assert_well();
    for folder in [bed.path(""), bed.path("ca")] {
        for entry in std::fs::read_dir(&folder).unwrap() {
            chown(entry.unwrap().path(), Some(USER), Some(USER)).ok()?;
        }
    }
    chown(bed.folder.path(), Some(USER), Some(USER)).ok()?;
    bed.assert_well();
    Some(bed)
}

#[test]
fn root_that_revokes_a_device_leaves_the_authority_to_the_gateways_user() {
    let Some(bed) = of_another_user() else { return println!("skipped: only root can be somebody else") };
    for device in ["stolen-1", "stolen-2"] {
        let made = bed.authority.issue_device(device, 90, days(0)).unwrap();
        bed.know(&made.leaf, device);
    }
    let revoke = |device: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary-gateway"));
        command.args(["devices", "revoke", device, "--config"]).arg(bed.path("gateway.toml"));
        command
    };
    let as_root = revoke("stolen-1").output().unwrap();
    assert!(as_root.status.success(), "{as_root:?}");
    for name in ["index", "ca.crl", "lock"] {
        assert_eq!(std::fs::metadata(bed.path("ca").join(name)).unwrap().uid(), USER, "{name}");
    }
    let as_gateway = revoke("stolen-2").uid(USER).gid(USER).output().unwrap();
    assert!(as_gateway.status.success(), "{as_gateway:?}");
    bed.know_the_trail();
    bed.assert_well();
}

#[test]
fn an_authority_that_the_gateways_user_cannot_go_on_with_is_a_fault() {
    let Some(bed) = of_another_user() else { return println!("skipped: only root can be somebody else") };
    let folder = bed.path("ca").display().to_string();
    for (name, what) in
        [("/index", "read and write"), ("/lock", "read and write"), ("/ca.key", "read"), ("", "read and write")]
    {
        let path = format!("{folder}{name}");
        chown(&path, Some(0), Some(0)).unwrap();
        bed.assert_finds("fault", "files", &format!("{path} belongs to user 0 with mode "));
        bed.assert_finds("fault", "files", &format!("the gateway's state is, cannot {what} it: no device gets"));
        bed.assert_finds("fault", "files", &format!("; chown -R {USER}:{USER} {folder} && chmod -R u+rwX {folder}"));
        chown(&path, Some(USER), Some(USER)).unwrap();
        bed.assert_well();
    }
}

#[test]
fn the_gateway_makes_its_database_for_its_owner_alone() {
    let bed = Bed::new();
    for name in ["gateway.db", "gateway.db.lock"] {
        assert_eq!(std::fs::metadata(bed.path(name)).unwrap().mode() & 0o777, 0o600, "{name}");
    }
}
