//! `check-config` refuses what `run` refuses, and both name the configuration, the setting, the file and what to do.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a test that fails says so")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use certs::{Authority, key_file};
use tempfile::TempDir;

/// Somebody who is not root.
const USER: u32 = 64_321;
/// How long a gateway may take to refuse its settings.
const PATIENCE: Duration = Duration::from_secs(60);
const NOT_THERE: &str = "put it there, or correct the setting";
const NOT_OURS: &str = "`chown` it to the user that the gateway runs as";

/// A folder with all that a gateway can be told to read, as a user who is not root sees it.
struct Bed {
    folder: TempDir,
    is_root: bool,
}

impl Bed {
    fn new() -> Self {
        let bed = Self { folder: tempfile::tempdir().unwrap(), is_root: rustix::process::geteuid().is_root() };
        let now = UNIX_EPOCH + Duration::from_micros(tributary_gateway::now().0.unsigned_abs());
        let authority = Authority::create(&bed.path("ca"), "test", 300, now).unwrap();
        for (name, made) in [
            ("own", authority.issue_server(&["localhost"], 30, now).unwrap()),
            ("meter-7", authority.issue_device("meter-7", 30, now).unwrap()),
        ] {
            key_file::create_private(&bed.path(&format!("{name}.key")), made.key_pem.as_bytes()).unwrap();
            fs::write(bed.path(&format!("{name}.crt")), &made.leaf.pem).unwrap();
        }
        let receipts = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        key_file::create_private(&bed.path("receipts.key"), receipts.as_bytes()).unwrap();
        key_file::create_private(&bed.path("password"), b"correct horse battery staple\n").unwrap();
        fs::create_dir(bed.path("state")).unwrap();
        bed.give(bed.folder.path());
        bed
    }

    /// Gives all that is in `folder`, and itself, to whom the gateway runs as.
    fn give(&self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { self.give(&entry) } else { self.give_one(&entry) }
        }
        self.give_one(folder);
    }

    fn give_one(&self, path: &Path) {
        if self.is_root {
            chown(path, Some(USER), Some(USER)).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Settings that work, with `change`d text.
    fn write(&self, change: impl FnOnce(String) -> String) {
        let text = "[listener]\naddress = \"127.0.0.1:0\"\ncertificate_file = \"@/own.crt\"\nkey_file = \"@/own.key\"\n\
                    authority_file = \"@/ca/ca.crt\"\n[http]\naddress = \"127.0.0.1:0\"\n[authority]\npath = \"@/ca\"\n\
                    [receipts]\nkey_file = \"@/receipts.key\"\n[store]\npath = \"@/state/gateway.db\"\n";
        let text = change(text.to_owned()).replace('@', &self.folder.path().display().to_string());
        fs::write(self.path("gateway.toml"), text).unwrap();
    }

    /// What a command says that is to end by itself, and whether it was content.
    fn says(&self, command: &str) -> (bool, String) {
        let mut program = Command::new(env!("CARGO_BIN_EXE_tributary-gateway"));
        program.args([command, "--config"]).arg(self.path("gateway.toml")).env("TRIBUTARY_LOG", "off");
        if self.is_root {
            program.uid(USER).gid(USER);
        }
        let mut running = program.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let until = Instant::now() + PATIENCE;
        while running.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                running.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let output = running.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    }

    /// Fails unless both commands refuse the settings with all these words, and with the name of the configuration.
    fn assert_refused(&self, words: &[&str]) {
        let configuration = format!("configuration {}", self.path("gateway.toml").display());
        for command in ["check-config", "run"] {
            let (is_content, said) = self.says(command);
            let lacks = words.iter().copied().chain([configuration.as_str()]).find(|word| !said.contains(word));
            assert!(!is_content && lacks.is_none(), "{command} said {said:?}, without {lacks:?}");
        }
    }
}

/// Another path in the place of what `setting` has.
fn lead_away(setting: &'static str) -> impl Fn(String) -> String {
    move |text| {
        let (table, name) = setting.rsplit_once('.').unwrap();
        let (before, after) = text.split_once(&format!("[{table}]\n")).unwrap();
        let (own, rest) = after.split_once('[').map_or((after, String::new()), |(own, rest)| (own, format!("[{rest}")));
        let lines = own.lines().filter(|line| !line.starts_with(&format!("{name} ="))).map(|line| format!("{line}\n"));
        format!("{before}[{table}]\n{name} = \"@/nowhere/it\"\n{}{rest}", lines.collect::<String>())
    }
}

#[test]
fn what_is_not_there_is_named_with_its_setting_and_what_to_do() {
    let bed = Bed::new();
    bed.write(|text| text);
    assert_eq!(bed.says("check-config"), (true, String::new()));
    assert!(fs::read_dir(bed.path("state")).unwrap().next().is_none(), "it made no file");
    for setting in [
        "listener.certificate_file",
        "listener.key_file",
        "listener.authority_file",
        "listener.crl_file",
        "receipts.key_file",
        "authority.path",
        "audit.checkpoint_file",
    ] {
        bed.write(|text| lead_away(setting)(text + "[audit]\n"));
        bed.assert_refused(&[&format!("`{setting}`"), "/nowhere", NOT_THERE, "No such file"]);
    }
    bed.write(lead_away("store.path"));
    bed.assert_refused(&["`store.path`", "/nowhere", "No such file"]);
    let postgres = "[store.postgres]\nhost = \"127.0.0.1\"\nport = 1\npassword_file = \"@/password\"\nca_file = \"@/ca/ca.crt\"\n\
                    tls = \"verify-full\"\n[audit]\ncheckpoint_file = \"@/state/audit\"\n";
    let on_a_server = |text: String| text.replace("[store]\n", "[store]\nkind = \"postgres\"\n") + postgres;
    bed.write(on_a_server);
    assert_eq!(bed.says("check-config"), (true, String::new()), "no server is asked");
    for setting in ["store.postgres.password_file", "store.postgres.ca_file"] {
        bed.write(|text| lead_away(setting)(on_a_server(text)));
        bed.assert_refused(&[&format!("`{setting}`"), "/nowhere/it", NOT_THERE, "No such file"]);
    }
}

#[test]
fn what_another_user_has_is_named_with_its_setting_and_what_to_do() {
    let bed = Bed::new();
    bed.write(|text| text + "[audit]\ncheckpoint_file = \"@/state/audit\"\n");
    fs::write(bed.path("state/audit"), "").unwrap();
    bed.give_one(&bed.path("state/audit"));
    assert_eq!(bed.says("check-config"), (true, String::new()));
    for (file, setting) in [
        ("own.crt", "listener.certificate_file"),
        ("own.key", "listener.key_file"),
        ("ca/ca.crt", "listener.authority_file"),
        ("ca/ca.crl", "authority.path"),
        ("ca/ca.key", "authority.path"),
        ("receipts.key", "receipts.key_file"),
        ("state/audit", "audit.checkpoint_file"),
        ("state", "store.path"),
    ] {
        let path = bed.path(file);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        set(0);
        let (is_content, said) = bed.says("check-config");
        set(mode);
        let is_named = [&format!("`{setting}`"), file, NOT_OURS].iter().all(|word| said.contains(*word));
        assert!(!is_content && is_named, "{file}: {said}");
    }
}

#[test]
fn a_devices_certificate_is_not_taken_for_a_servers() {
    let bed = Bed::new();
    let ours = ["not for TLS servers", "meter-7.crt", "tributary-certs issue --server"];
    bed.write(|text| text.replace("own.crt", "meter-7.crt").replace("own.key", "meter-7.key"));
    bed.assert_refused(&[&["`listener.certificate_file`"], ours.as_slice()].concat());
    let https = "[http]\ncertificate_file = \"@/meter-7.crt\"\nkey_file = \"@/meter-7.key\"\n";
    bed.write(|text| text.replace("[http]\n", https));
    bed.assert_refused(&[&["`http.certificate_file`"], ours.as_slice()].concat());
}

#[test]
fn an_address_that_is_none_is_named_with_its_line_and_the_form_that_it_should_have() {
    let bed = Bed::new();
    for (table, line) in [("listener", 2), ("http", 7)] {
        for wrong in ["hub:8883", "8883", "127.0.0.1", "::1:8883", ""] {
            let address = format!("[{table}]\naddress = {wrong:?}");
            bed.write(|text| text.replace(&format!("[{table}]\naddress = \"127.0.0.1:0\""), &address));
            let (at, what) = (format!("at line {line}, column 11"), format!("{wrong:?} is not an address and a port"));
            bed.assert_refused(&[&at, &what, "such as 127.0.0.1:8883 or [::1]:8883; names are not taken"]);
        }
    }
}
