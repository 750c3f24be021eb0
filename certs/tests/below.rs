//! The `tributary-certs` command about roots and the authorities below them: the real binary, real files, real deaths.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests, helpers included")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use tributary_certs::{identity, pem_file};

const BINARY: &str = env!("CARGO_BIN_EXE_tributary-certs");

/// A folder of its own with a root in `root`, in which commands are run.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        world.succeeds("init --root root --name Root");
        world
    }

    fn run(&self, arguments: &str) -> Output {
        Command::new(BINARY).args(arguments.split(' ')).current_dir(self.0.path()).output().unwrap()
    }

    fn succeeds(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments} should have failed");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Runs a line of shell with the binary as `$0`; answers whether it succeeded.
    fn shell(&self, line: &str) -> bool {
        let mut shell = Command::new("sh");
        shell.args(["-c", line, BINARY]).current_dir(self.0.path()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.status().unwrap().success()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn files_in(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn rows(&self, folder: &str) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.succeeds(&format!("list --dir {folder} --json"))).unwrap()
    }
}

/// Whether a tool is there; says so where it is not.
fn is_installed(tool: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null()).status();
    let found = found.unwrap().success();
    if !found {
        println!("skipped: {tool} is not installed");
    }
    found
}

#[test]
fn a_folder_below_a_root_has_its_files_and_issues_chains_without_the_root() {
    let world = World::new();
    let said = world.succeeds("init --dir ca --under root --name Issuing");
    assert!(said.contains("ca/root.crt"), "{said}");
    assert_eq!(world.files_in("ca"), ["ca.crl", "ca.crt", "ca.csr", "ca.key", "index", "lock", "root.crl", "root.crt"]);
    let mode = |name: &str| fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(["ca/ca.key", "root/ca.key", "ca/index", "ca/root.crt"].map(mode), [0o600, 0o600, 0o600, 0o644]);
    fs::remove_dir_all(world.path("root")).unwrap();
    world.succeeds("issue --dir ca --device meter-7 --out meter-7");
    world.succeeds("crl --dir ca");
    let chain = pem_file::read_certificates(&world.path("meter-7.crt")).unwrap();
    assert_eq!(identity::device_id(&chain[0]), Ok("meter-7".into()));
    assert_eq!(chain[1..], pem_file::read_certificates(&world.path("ca/ca.crt")).unwrap());
}

#[test]
fn the_offline_way_over_a_carried_file_shows_the_same_key_on_both_machines() {
    let world = World::new();
    world.succeeds("request --dir ca --name Issuing");
    let said = world.succeeds("sign-authority --dir root --csr ca/ca.csr --out carried.pem");
    let print = said.split_whitespace().find(|word| word.trim_end_matches(';').len() == 40).unwrap();
    let said = world.succeeds("install --dir ca --certificate carried.pem");
    assert!(said.contains(print.trim_end_matches(';')), "{said} names {print}");
    assert!(world.succeeds("list --dir root").contains("authority  valid"), "the root's list shows it");
    let serial = world.rows("root")[0]["serial"].as_str().unwrap().to_owned();
    let said = world.succeeds(&format!("revoke --dir root --authority {serial} --reason superseded"));
    assert!(said.contains("install --crl"), "{said}");
    world.succeeds("install --dir ca --crl root/ca.crl");
    let lists = pem_file::read_crls(&world.path("ca/ca.crl")).unwrap();
    assert_eq!(identity::revoked_serials(&lists[1]).unwrap(), [serial].into());
}

#[test]
fn wrong_orders_are_refused_with_the_reason() {
    let world = World::new();
    world.succeeds("init --dir alone");
    assert!(world.fails("init").contains("--dir"));
    world.fails("init --dir a --root b");
    world.fails("init --root a --under root");
    assert!(world.fails("init --dir ca --under alone").contains("only a root signs authorities"));
    assert!(world.fails("init --dir ca --under nowhere").contains("nowhere/ca.key"));
    assert!(world.fails("init --dir alone --under root").contains("already exists"));
    assert!(world.fails("init --root root").contains("already exists"));
    assert!(world.fails("init --root r2 --days 7301").contains("1 to 7300"));
    assert!(world.fails("init --dir ca --under root --days 1827").contains("1 to 1826"));
    assert!(world.fails("issue --dir root --device a --out a").contains("this is a root"));
    assert!(world.fails("install --dir nowhere --crl root/ca.crl").contains("nowhere/ca.key"));
    assert!(world.fails("crl --dir root --days 398").contains("1 to 397"));
    assert_eq!(world.rows("root"), [] as [serde_json::Value; 0]);
}

#[test]
fn openssl_accepts_the_chain_below_the_root_with_both_lists_and_refuses_it_without() {
    if !is_installed("openssl") {
        return;
    }
    let world = World::new();
    world.succeeds("init --dir ca --under root");
    world.succeeds("issue --dir ca --device good --out good");
    world.succeeds("issue --dir ca --server localhost --out server");
    let verify = "openssl verify -x509_strict -crl_check_all -CAfile ca/root.crt -CRLfile ca/ca.crl";
    assert!(world.shell(&format!("{verify} -untrusted good.crt -purpose sslclient good.crt")));
    assert!(world.shell(&format!("{verify} -untrusted server.crt -purpose sslserver server.crt")));
    assert!(!world.shell(&format!("{verify} good.crt")), "without the authority between");
    let lists = "openssl verify -crl_check_all -CAfile ca/root.crt -untrusted good.crt -CRLfile";
    assert!(world.shell(&format!("{lists} ca/ca.crl good.crt")));
    assert!(!world.shell(&format!("{lists} root/ca.crl good.crt")), "without the authority's own list");
    let serial = world.rows("root")[0]["serial"].as_str().unwrap().to_owned();
    world.succeeds(&format!("revoke --dir root --authority {serial} --reason key-compromise"));
    world.succeeds("install --dir ca --crl root/ca.crl");
    assert!(!world.shell(&format!("{lists} ca/ca.crl good.crt")), "below a revoked authority");
}

#[test]
fn a_root_list_that_is_due_is_said_and_one_that_ran_out_is_an_error_though_the_other_is_renewed() {
    if !is_installed("faketime") {
        return;
    }
    let world = World::new();
    world.succeeds("init --dir ca --under root");
    let before = fs::read(world.path("ca/ca.crl")).unwrap();
    let crl = |days: u32, then: &str| world.shell(&format!("faketime '+{days} days' \"$0\" crl --dir ca {then}"));
    assert!(crl(100, "> said && ! grep -q 'own list runs out' said"));
    assert!(crl(200, "> said && grep -q 'own list runs out' said"));
    assert!(crl(366, "2> said; [ $? = 1 ] && grep -q 'ran out' said"));
    let after = fs::read(world.path("ca/ca.crl")).unwrap();
    assert_ne!(before, after);
    world.shell("faketime '+366 days' \"$0\" crl --dir root");
    assert!(world.shell("faketime '+366 days' \"$0\" install --dir ca --crl root/ca.crl"));
    assert!(crl(366, ""));
}

/// Each file gets its name by one rename, so a death at each of them is a death between any two files.
#[test]
fn a_death_at_any_file_leaves_a_folder_that_works_or_that_the_same_command_completes() {
    if !is_installed("strace") {
        return;
    }
    for when in 1..40 {
        let world = World::new();
        let init = "init --dir ca --under root --name Issuing";
        let inject = format!("-e trace=rename,renameat2 -e inject=rename,renameat2:signal=KILL:when={when}");
        let finished = world.shell(&format!("strace -f -o trace {inject} \"$0\" {init}"));
        if finished {
            assert!(when > 8, "{when}: fewer deaths than there are files; strace may not trace here");
            return;
        }
        if !world.path("trace").exists() {
            println!("skipped: strace may not trace here");
            return;
        }
        if world.path("ca/ca.crt").exists() {
            assert!(world.fails(init).contains("already exists"));
        } else {
            world.fails("issue --dir ca --device early --out early");
            world.succeeds(init);
        }
        world.succeeds("issue --dir ca --device meter-7 --out meter-7");
        assert!(world.succeeds("crl --dir ca --if-due").contains("not due"), "both lists are there");
        // Whatever came of it, the root knows the authority's certificate and can revoke it.
        let own = identity::serial(&pem_file::read_certificates(&world.path("ca/ca.crt")).unwrap()[0]).unwrap();
        assert!(world.rows("root").iter().any(|row| row["serial"] == own), "death {when}");
    }
    panic!("there are not as many files as that");
}
