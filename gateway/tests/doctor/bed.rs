//! A gateway's folder in which all is well, until a test changes something.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use certs::Authority;
use certs::authority::{Leaf, LeafWithKey};
use proto::{DeviceId, Instant};
use tempfile::TempDir;
use tributary_gateway::audit::checkpoint::Checkpoints;
use tributary_gateway::audit::entry::{Actor, Detail, Entry, Event};
use tributary_gateway::enrol::{Registry, registry};
use tributary_gateway::store::audit::Trail as _;
use tributary_gateway::store::{Side, sqlite};

pub(crate) const DAY_S: i64 = 86_400;

/// What a doctor said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

pub(crate) struct Bed {
    pub(crate) folder: TempDir,
    pub(crate) authority: Authority,
    /// Lines of `[listener]`, and whole tables, besides those that are always there.
    pub(crate) listener: String,
    pub(crate) tables: String,
    /// `[store]`
    pub(crate) store: String,
}

/// So many days from now.
pub(crate) fn days(days: i64) -> SystemTime {
    let at_us = tributary_gateway::now().0 + days * DAY_S * 1_000_000;
    UNIX_EPOCH + Duration::from_micros(at_us.unsigned_abs())
}

impl Bed {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let authority = Authority::create(&folder.path().join("ca"), "test", 3_000, days(0)).unwrap();
        let path = folder.path().join("gateway.db");
        let store = format!("[store]\npath = {path:?}\n");
        let listener = format!("crl_file = {:?}\n", authority.crl_path());
        let bed = Self { folder, authority, listener, tables: String::new(), store };
        let made = bed.authority.issue_server(&["localhost"], 200, days(0)).unwrap();
        bed.write_own(&made);
        drop(sqlite::Store::open(&path, tributary_gateway::now).unwrap());
        let detail = Detail::none().text("why", "because");
        let (time, actor, event) = (tributary_gateway::now(), Actor::Operator, Event::Issued);
        let entry = |_| Entry { time, actor: actor.clone(), event, subject: None, detail: detail.clone() };
        let entries: Vec<Entry> = (0..5).map(entry).collect();
        sqlite::Trail::open(&path).unwrap().append(&entries).unwrap();
        bed.know_the_trail();
        bed
    }

    /// Writes down where the audit trail ends, as a gateway does every minute.
    pub(crate) fn know_the_trail(&self) {
        let head = sqlite::Trail::open(&self.path("gateway.db")).unwrap().head().unwrap();
        Checkpoints::open(&self.path("gateway.audit")).unwrap().add(head, tributary_gateway::now()).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the gateway's own certificate and key.
    pub(crate) fn write_own(&self, made: &LeafWithKey) {
        let _ = std::fs::remove_file(self.path("own.key"));
        certs::key_file::create_private(&self.path("own.key"), made.key_pem.as_bytes()).unwrap();
        self.write("own.crt", &made.leaf.pem, 0o644);
    }

    /// Writes a file with exactly these permission bits.
    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        chmod(&path, mode);
        path
    }

    /// Has the registry know a certificate of a device.
    pub(crate) fn know(&self, leaf: &Leaf, device: &str) {
        let certificate = registry::Certificate {
            serial: certs::identity::serial(&leaf.der).unwrap(),
            device: device.parse::<DeviceId>().unwrap(),
            key: certs::identity::serial(&leaf.der).unwrap().into_bytes(),
            not_after: Instant(certs::life(&leaf.der).unwrap().1 * 1_000_000),
            chain: leaf.pem.clone().into_bytes(),
        };
        let mut registry = Registry::new(Side::sqlite(&self.path("gateway.db")));
        let made = registry::Made { certificate: &certificate, times_cut: 0, claim: None, entries: &[] };
        registry.keep(&made, tributary_gateway::now()).unwrap();
    }

    /// Issues a certificate to `device` that has so many days left, and has the registry know it. For one that is over, the
    /// authority must have been there then.
    pub(crate) fn issue(&self, device: &str, days_left: i64) {
        let (life, begun) = if days_left > 0 { (days_left, 0) } else { (90, days_left - 90) };
        let made = self.authority.issue_device(device, u32::try_from(life).unwrap(), days(begun)).unwrap();
        self.know(&made.leaf, device);
    }

    fn configuration(&self) -> PathBuf {
        let [certificate, key, checkpoints] = ["own.crt", "own.key", "gateway.audit"].map(|name| self.path(name));
        let authority = self.path("ca/ca.crt");
        let authority = if self.listener.contains("authority_file") {
            String::new()
        } else {
            format!("authority_file = {authority:?}\n")
        };
        let text = format!(
            "[listener]\ncertificate_file = {certificate:?}\nkey_file = {key:?}\n{authority}{}{}\
             [audit]\ncheckpoint_file = {checkpoints:?}\n{}",
            self.listener, self.store, self.tables
        );
        self.write("gateway.toml", &text, 0o644)
    }

    /// What the doctor says.
    pub(crate) fn doctor(&self, more: &[&str]) -> Said {
        doctor(&self.configuration(), more)
    }

    /// Fails unless the doctor has nothing to say but that all is well.
    pub(crate) fn assert_well(&self) {
        let Said { code, text } = self.doctor(&[]);
        assert!(
            code == Some(0) && text.lines().count() > 7 && text.lines().all(|line| line.starts_with("ok ")),
            "{text}"
        );
    }

    /// Fails unless the doctor says this with this level, and the exit code is that of the level.
    pub(crate) fn assert_finds(&self, level: &str, check: &str, words: &str) {
        let Said { code, text } = self.doctor(&[]);
        let is_it = |line: &&str| {
            let mut parts = line.split_whitespace();
            parts.next() == Some(level) && parts.next() == Some(check) && line.contains(words)
        };
        assert!(text.lines().any(|line| is_it(&line)), "no {level} {check} with {words:?} in\n{text}");
        let wanted = [("warning", 0), ("fault", 1), ("unknown", 2)].into_iter().find(|(of, _)| *of == level).unwrap().1;
        assert_eq!(code, Some(wanted), "{text}");
    }
}

pub(crate) fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// What the doctor says of a configuration.
pub(crate) fn doctor(configuration: &Path, more: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary-gateway"));
    let output = command.args(["doctor", "--config"]).arg(configuration).args(more).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "it says all on standard output");
    Said { code: output.status.code(), text: String::from_utf8(output.stdout).unwrap() }
}
