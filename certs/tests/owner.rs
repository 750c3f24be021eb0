//! The `tributary-certs` command as root, on the authority of another user: whoever issues every day must be able to go on.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests, helpers included")]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Somebody who is not root, by number: nobody of that name need be there.
const USER: u32 = 64_321;
const GROUP: u32 = 64_322;

/// A folder of [`USER`]'s with an authority in `ca`, that user's too. None where this is not root.
struct World(TempDir);

impl World {
    fn new() -> Option<Self> {
        let world = Self(tempfile::tempdir().unwrap());
        if chown(world.0.path(), Some(USER), Some(GROUP)).is_err() {
            println!("skipped: only root can write another user's files");
            return None;
        }
        if !world.as_user("init --dir ca --name Test").status.success() {
            println!("skipped: another user cannot run {}", binary().display());
            return None;
        }
        Some(world)
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments.split(' ')).current_dir(self.0.path());
        command
    }

    fn as_user(&self, arguments: &str) -> Output {
        self.command(arguments).uid(USER).gid(GROUP).output().unwrap()
    }

    fn owner(&self, name: &str) -> (u32, u32) {
        let found = fs::metadata(self.0.path().join(name)).unwrap();
        (found.uid(), found.gid())
    }
}

fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tributary-certs"))
}

fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn files_in(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn what_root_does_with_an_authority_leaves_it_to_whose_it_is() {
    let Some(world) = World::new() else { return };
    for (name, done) in [
        ("issue", "issue --dir ca --device meter-7 --out meter-7"),
        ("renew", "renew --dir ca --certificate meter-7.crt"),
        ("crl", "crl --dir ca"),
        ("revoke", "revoke --dir ca --device meter-7 --reason superseded"),
    ] {
        assert_done(&world.command(done).output().unwrap());
        for file in files_in(&world.0.path().join("ca")) {
            assert_eq!(world.owner(&format!("ca/{file}")), (USER, GROUP), "{file} after {name}");
        }
        assert_done(&world.as_user("crl --dir ca"));
    }
    for file in ["meter-7.crt", "meter-7.key"] {
        assert_eq!(world.owner(file), (USER, GROUP), "{file} is in the user's folder");
    }
}

#[test]
fn a_lock_that_root_was_the_first_to_take_is_not_closed_to_others() {
    let Some(world) = World::new() else { return };
    fs::remove_file(world.0.path().join("ca/lock")).unwrap();
    assert_done(&world.command("crl --dir ca").output().unwrap());
    assert_done(&world.as_user("crl --dir ca"));
}

#[test]
fn root_that_may_give_nothing_away_changes_nothing_and_says_what_to_do() {
    let Some(world) = World::new() else { return };
    let index = fs::read(world.0.path().join("ca/index")).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-chown", "--inh-caps=-chown", "--"]).arg(binary()).args(["crl", "--dir", "ca"]);
    let done = match command.current_dir(world.0.path()).output() {
        Ok(done) => done,
        Err(error) => return println!("skipped: setpriv: {error}"),
    };
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(!done.status.success() && said.contains("cannot give ca/index to user 64321 and group 64322"), "{said}");
    assert!(said.contains("run this as that user instead of root"), "{said}");
    assert_eq!(fs::read(world.0.path().join("ca/index")).unwrap(), index);
    assert_eq!(files_in(&world.0.path().join("ca")).len(), 5, "nothing is left over");
}
