//! The `tributary-certs` command as a person or a script runs it: the real binary, real files.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests, helpers included")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use tributary_certs::{identity, pem_file};

const BINARY: &str = env!("CARGO_BIN_EXE_tributary-certs");

/// A folder of its own with an authority in `ca`, in which commands are run.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        world.succeeds("init --dir ca --name Test");
        world
    }

    fn run(&self, arguments: &str) -> Output {
        Command::new(BINARY).args(arguments.split(' ')).current_dir(self.0.path()).output().unwrap()
    }

    /// What the command answered; fails the test where the command fails.
    fn succeeds(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the command complained of; fails the test where it succeeds.
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

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    fn rows(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.succeeds("list --dir ca --json")).unwrap()
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

fn files_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn keys_have_mode_0600_whatever_the_umask_and_nothing_else_is_left_over() {
    for umask in ["000", "022", "277", "777"] {
        let world = World(tempfile::tempdir().unwrap());
        fs::create_dir(world.path("ca")).unwrap();
        // As root a umask takes nothing away from what may be read; the bits are set all the same.
        assert!(
            world.shell(&format!("umask {umask}; \"$0\" init --dir ca && \"$0\" issue --dir ca --device a --out a"))
        );
        for (name, mode) in
            [("ca/ca.key", 0o600), ("a.key", 0o600), ("ca/index", 0o600), ("ca/ca.crt", 0o644), ("ca/ca.crl", 0o644)]
        {
            assert_eq!(world.mode(name), mode, "{name} with umask {umask}");
        }
        assert_eq!(files_in(&world.path("ca")), ["ca.crl", "ca.crt", "ca.key", "index", "lock"]);
        assert_eq!(files_in(world.0.path()), ["a.crt", "a.key", "ca"]);
    }
}

#[test]
fn a_key_file_is_never_wider_than_0600_not_even_briefly() {
    if !is_installed("strace") {
        return;
    }
    let world = World(tempfile::tempdir().unwrap());
    let traced = world
        .shell("umask 0; strace -f -o trace -e trace=open,openat,creat,chmod,fchmod,fchmodat \"$0\" init --dir ca");
    if !traced {
        println!("skipped: strace may not trace here");
        return;
    }
    let trace = fs::read_to_string(world.path("trace")).unwrap();
    let made: Vec<_> = trace.lines().filter(|line| line.contains("ca.key") && line.contains("O_CREAT")).collect();
    assert!(!made.is_empty() && made.iter().all(|line| line.contains("O_EXCL") && line.contains("0600")), "{made:?}");
}

#[test]
fn init_refuses_a_folder_that_holds_an_authority() {
    let world = World::new();
    let key = fs::read(world.path("ca/ca.key")).unwrap();
    assert!(world.fails("init --dir ca").contains("already exists"));
    assert_eq!(fs::read(world.path("ca/ca.key")).unwrap(), key);
}

#[test]
fn issue_refuses_to_overwrite_before_it_issues() {
    let world = World::new();
    for name in ["a.key", "a.crt"] {
        fs::write(world.path(name), "precious").unwrap();
        assert!(world.fails("issue --dir ca --device a --out a").contains("already exists"));
        assert_eq!(fs::read(world.path(name)).unwrap(), b"precious");
        fs::remove_file(world.path(name)).unwrap();
    }
    assert_eq!(world.rows(), [] as [serde_json::Value; 0]);
}

#[test]
fn an_issued_certificate_names_its_device_and_its_files_read_back() {
    let world = World::new();
    world.succeeds("issue --dir ca --device meter-7 --out meter-7 --days 30");
    let certificates = pem_file::read_certificates(&world.path("meter-7.crt")).unwrap();
    assert_eq!(identity::device_id(&certificates[0]), Ok("meter-7".into()));
    pem_file::read_private_key(&world.path("meter-7.key")).unwrap();
    let [row] = world.rows().try_into().unwrap();
    assert_eq!((&row["role"], &row["subject"], &row["state"]), (&"device".into(), &"meter-7".into(), &"valid".into()));
    assert_eq!(row["serial"], identity::serial(&certificates[0]).unwrap());
    assert!(world.succeeds("list --dir ca").contains("meter-7"));
}

#[test]
fn a_renewed_certificate_is_in_the_place_of_the_last_with_its_key_and_its_names() {
    let world = World::new();
    world.succeeds("issue --dir ca --server hub.example,192.0.2.7 --out hub --days 3");
    let read = || pem_file::read_certificates(&world.path("hub.crt")).unwrap().swap_remove(0);
    let (before, key) = (read(), fs::read(world.path("hub.key")).unwrap());
    let said = world.succeeds("renew --dir ca --certificate hub.crt");
    assert!(said.contains("to server hub.example,192.0.2.7") && said.contains("wrote hub.crt"), "{said}");
    let after = read();
    assert_eq!(tributary_certs::public_key(&after), tributary_certs::public_key(&before));
    assert_eq!(fs::read(world.path("hub.key")).unwrap(), key);
    let days = |certificate: &[u8]| tributary_certs::life(certificate).map(|(from, until)| (until - from) / 86_400);
    assert_eq!((days(&before), days(&after)), (Some(2), Some(396)), "and a day less a second");
    identity::check_server(&after).unwrap();
    assert_eq!(files_in(world.0.path()), ["ca", "hub.crt", "hub.key"]);
    world.succeeds("renew --dir ca --certificate hub.crt"); // that one can be renewed too
    if is_installed("openssl") {
        assert!(
            world.shell("openssl verify -CAfile ca/ca.crt -verify_hostname hub.example -verify_ip 192.0.2.7 hub.crt")
        );
    }
}

#[test]
fn only_what_this_authority_issued_and_did_not_revoke_is_renewed() {
    let world = World::new();
    world.succeeds("init --dir other --name Test");
    world.succeeds("issue --dir other --device a --out a");
    let theirs = fs::read(world.path("a.crt")).unwrap();
    let complaint = world.fails("renew --dir ca --certificate a.crt");
    assert!(complaint.contains("a.crt: holds a certificate that this authority did not issue"), "{complaint}");
    world.succeeds("revoke --dir other --device a --reason key-compromise");
    assert!(
        world.fails("renew --dir other --certificate a.crt").contains("is revoked: issue one for a key of its own")
    );
    assert_eq!(fs::read(world.path("a.crt")).unwrap(), theirs);
    world.succeeds("issue --dir ca --device b --out b");
    assert!(world.fails("renew --dir ca --certificate b.crt --days 91").contains("1 to 90"));
    let index = fs::read_to_string(world.path("ca/index")).unwrap();
    fs::write(world.path("ca/index"), index.lines().next().unwrap()).unwrap();
    assert!(world.fails("renew --dir ca --certificate b.crt").contains("does not know any more: issue a new one"));
}

#[test]
fn wrong_arguments_are_refused_with_the_reason() {
    let world = World::new();
    assert!(world.fails("issue --dir ca --device Meter --out a").contains("not a device id"));
    assert!(world.fails("issue --dir ca --device a --out a --days 91").contains("1 to 90"));
    assert!(world.fails("issue --dir ca --server *.b --out a").contains("neither a host name"));
    assert!(world.fails("issue --dir ca --out a").contains("--device"));
    world.fails("issue --dir ca --device a --server b --out a");
    assert!(world.fails("revoke --dir ca --device a --reason bored").contains("superseded"));
    assert!(world.fails("revoke --dir ca --device a --reason superseded").contains("no such certificate"));
    assert!(world.fails("list --dir nowhere").contains("nowhere/ca.key"));
    assert!(!world.path("nowhere").exists());
}

#[test]
fn a_key_open_to_others_is_refused_with_the_remedy() {
    let world = World::new();
    fs::set_permissions(world.path("ca/ca.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let complaint = world.fails("issue --dir ca --device a --out a");
    assert!(complaint.contains("mode 0644") && complaint.contains("chmod 600 ca/ca.key"), "{complaint}");
}

#[test]
fn openssl_accepts_the_chain_and_refuses_what_is_revoked_or_for_another_purpose() {
    if !is_installed("openssl") {
        return;
    }
    let world = World::new();
    world.succeeds("issue --dir ca --device good --out good");
    world.succeeds("issue --dir ca --device bad --out bad");
    world.succeeds("issue --dir ca --server localhost,127.0.0.1 --out server");
    let verify = "openssl verify -x509_strict -CAfile ca/ca.crt -CRLfile ca/ca.crl -crl_check";
    for sound in ["-purpose sslclient good.crt", "-purpose sslclient bad.crt", "-purpose sslserver server.crt"] {
        assert!(world.shell(&format!("{verify} {sound}")), "{sound}");
    }
    assert!(world.shell(&format!("{verify} -verify_hostname localhost -verify_ip 127.0.0.1 server.crt")));
    assert!(!world.shell(&format!("{verify} -verify_hostname other.example server.crt")));
    assert!(!world.shell(&format!("{verify} -purpose sslserver good.crt")));
    assert!(!world.shell(&format!("{verify} -purpose sslclient server.crt")));

    assert!(world.succeeds("revoke --dir ca --device bad --reason key-compromise").contains("revoked"));
    assert!(world.shell(&format!("{verify} good.crt")));
    assert!(!world.shell(&format!("{verify} bad.crt")));
    assert!(world.shell("openssl crl -in ca/ca.crl -noout -text | grep -q 'Key Compromise'"));
    assert!(world.shell("openssl crl -in ca/ca.crl -CAfile ca/ca.crt -noout"), "its signature");
    let later = "-attime $(($(date +%s) + 91 * 86400))";
    assert!(!world.shell(&format!("openssl verify -CAfile ca/ca.crt {later} good.crt")), "expired");
}

#[test]
fn a_request_made_by_openssl_is_signed_and_one_for_rsa_is_not() {
    if !is_installed("openssl") {
        return;
    }
    let world = World::new();
    let request = "openssl req -new -nodes -subj /CN=other -addext subjectAltName=DNS:other";
    assert!(world.shell(&format!("{request} -newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout k -out ec.csr")));
    assert!(world.shell(&format!("{request} -newkey rsa:2048 -keyout k2 -out rsa.csr")));
    world.succeeds("sign --dir ca --csr ec.csr --device meter-9 --out meter-9.crt");
    let certificates = pem_file::read_certificates(&world.path("meter-9.crt")).unwrap();
    assert_eq!(identity::device_id(&certificates[0]), Ok("meter-9".into()));
    assert!(world.shell("openssl verify -CAfile ca/ca.crt meter-9.crt"));
    assert!(world.fails("sign --dir ca --csr rsa.csr --device meter-9 --out b.crt").contains("no P-256 key"));
    assert!(world.fails("sign --dir ca --csr k --device meter-9 --out b.crt").contains("not a sound PKCS#10"));
    assert!(!world.path("b.crt").exists());
}

#[test]
fn revoking_by_serial_twice_is_no_error_and_the_list_is_written_on_demand() {
    let world = World::new();
    world.succeeds("issue --dir ca --device a --out a");
    let serial = world.rows()[0]["serial"].as_str().unwrap().to_owned();
    let revoke = format!("revoke --dir ca --serial {serial} --reason superseded");
    assert!(world.succeeds(&revoke).contains("revoked"));
    assert!(world.succeeds(&revoke).contains("already"));
    let crl = pem_file::read_crls(&world.path("ca/ca.crl")).unwrap();
    assert_eq!(identity::revoked_serials(&crl[0]).unwrap(), [serial].into());
    let before = fs::read(world.path("ca/ca.crl")).unwrap();
    assert!(world.succeeds("crl --dir ca --if-due").contains("not due"));
    assert_eq!(fs::read(world.path("ca/ca.crl")).unwrap(), before);
    world.succeeds("crl --dir ca");
    assert_ne!(fs::read(world.path("ca/ca.crl")).unwrap(), before);
}

#[test]
fn a_write_of_the_index_that_is_killed_half_way_leaves_the_old_one() {
    let world = World::new();
    assert!(world.shell("for n in $(seq 1 80); do \"$0\" issue --dir ca --device d-$n --out d-$n || exit 1; done"));
    let before = fs::read(world.path("ca/index")).unwrap();
    assert!(before.len() > 9000, "larger than the limit below in any shell's blocks");
    // The system kills a process that writes beyond this size: the key fits, the index does not.
    assert!(!world.shell("ulimit -c 0; ulimit -f 8; exec \"$0\" issue --dir ca --device late --out late"));
    assert_eq!(fs::read(world.path("ca/index")).unwrap(), before);
    let torn = |name: &String| name.starts_with(".index");
    assert!(files_in(&world.path("ca")).iter().any(torn), "it did die half way");
    assert!(!world.path("late.crt").exists() && !world.path("late.key").exists());

    world.succeeds("issue --dir ca --device late --out late");
    assert_eq!(world.rows().len(), 81);
    assert!(!files_in(&world.path("ca")).iter().any(torn), "the leftover was swept");
}

#[test]
fn processes_that_issue_at_once_lose_no_row() {
    let world = World::new();
    let issue = |writer: usize| {
        let line = format!(
            "for n in 1 2 3 4 5 6 7 8; do \"$0\" issue --dir ca --device d-{writer}-$n --out d-{writer}-$n || exit 1; done"
        );
        Command::new("sh")
            .args(["-c", &line, BINARY])
            .current_dir(world.0.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    for mut writer in [0, 1, 2, 3].map(issue) {
        assert!(writer.wait().unwrap().success());
    }
    let mut subjects: Vec<_> = world.rows().iter().map(|row| row["subject"].to_string()).collect();
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), 32);
}
