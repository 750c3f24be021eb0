//! A gateway that issues certificates, its operator's commands, and devices that have nothing yet.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::database::Shared;
use crate::pki::Files;
use crate::{Agent, Database, Gateway, Pki, binary, wait_for};

/// A source that always has something to say, ten times a second.
pub const SOURCE: &str = "[[source]]\nname = \"meter\"\ntype = \"simulate\"\nwhat = \"meter\"\nspeed = 10.0\n";
/// Whatever is waited for comes well within this, or never: machines that test are busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// For who is revoked to be cut off. That it is within five seconds, `tributary-security` shows.
pub const CUT_OFF_WITHIN: Duration = Duration::from_secs(20);

/// A gateway with its own authority.
pub struct Issuing {
    /// Where all of it lies.
    pub folder: PathBuf,
    /// Who signs, and whom devices trust.
    pub pki: Pki,
    /// The gateway, running.
    pub gateway: Gateway,
    /// What it keeps.
    pub database: Database,
}

impl Issuing {
    /// In `folder`, on a SQLite file.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        let mut stage = Self::prepare(folder);
        stage.gateway.restart();
        stage
    }

    /// The same, not running yet.
    ///
    /// # Panics
    /// When its folder cannot be made.
    #[must_use]
    pub fn prepare(folder: &Path) -> Self {
        let pki = Pki::create_for_years(&folder.join("pki"));
        let gateway = Self::gateway(folder, &pki);
        let database = Database::Sqlite(gateway.database());
        Self { folder: folder.into(), pki, gateway, database }
    }

    /// In `folder`, on a server's database that `prepare` makes, given any files that a gateway could start with.
    ///
    /// # Errors
    /// What `prepare` says.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_on(folder: &Path, prepare: impl FnOnce(&Files) -> anyhow::Result<Shared>) -> anyhow::Result<Self> {
        let pki = Pki::create_for_years(&folder.join("pki"));
        let mut gateway = Self::gateway(folder, &pki);
        let shared = prepare(&gateway.files)?;
        gateway.store = Some(shared.table().to_owned());
        gateway.restart();
        Ok(Self { folder: folder.into(), pki, gateway, database: Database::Postgres(shared) })
    }

    fn gateway(folder: &Path, pki: &Pki) -> Gateway {
        let authority = format!("[authority]\npath = {:?}\n", Self::authority_of(pki));
        let mut gateway = Gateway::prepare(&folder.join("gateway"), pki.server(), &authority);
        gateway.crl = Some(pki.crl());
        gateway
    }

    fn authority_of(pki: &Pki) -> PathBuf {
        pki.anchor().parent().expect("it lies in its folder").into()
    }

    /// The folder of the authority that signs.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        Self::authority_of(&self.pki)
    }

    /// `tributary-gateway devices …`, which must succeed.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn devices(&self, arguments: &[&str]) -> String {
        let output = self.try_devices(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The same of a command whose words do not matter.
    ///
    /// # Panics
    /// When it does not succeed.
    pub fn tell(&self, arguments: &[&str]) {
        let _ = self.devices(arguments);
    }

    /// The same, whatever comes of it; it lives by the gateway's environment.
    ///
    /// # Panics
    /// When there is no such program.
    #[must_use]
    pub fn try_devices(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary("tributary-gateway"));
        command.envs(self.gateway.environment.iter().map(|(name, value)| (name, value)));
        command.arg("devices").args(arguments).arg("--config").arg(self.gateway.config());
        command.output().expect("run the gateway's command")
    }

    /// Whether a line of `devices list` about `device` contains `what`.
    #[must_use]
    pub fn lists(&self, device: &str, what: &str) -> bool {
        let list = self.devices(&["list"]);
        list.lines().any(|line| line.split_whitespace().next() == Some(device) && line.contains(what))
    }

    /// A claim file for `device`, of the name `name`.
    ///
    /// # Panics
    /// When there is one already.
    #[must_use]
    pub fn claim(&self, name: &str, device: &str) -> PathBuf {
        let path = self.folder.join(format!("{name}.claim"));
        self.tell(&["claim", "--device", device, "--out", &path.to_string_lossy()]);
        path
    }

    /// An agent that has nothing yet: not even whom to trust. Its certificate's place is in the folder `tls` of its own.
    ///
    /// # Panics
    /// When its folder cannot be made.
    #[must_use]
    pub fn newcomer(&self, name: &str, device: &str) -> Agent {
        self.agent(name, device, &self.places(name))
    }

    /// An agent whose certificate and key are copies of `files`, in its own folder.
    ///
    /// # Panics
    /// When they cannot be copied.
    #[must_use]
    pub fn member(&self, device: &str, files: &Files) -> Agent {
        let own = self.places(device);
        for (from, to) in
            [(&files.authority, &own.authority), (&files.certificate, &own.certificate), (&files.key, &own.key)]
        {
            std::fs::copy(from, to).expect("copy a certificate's file");
        }
        self.agent(device, device, &own)
    }

    /// Where the agent `name` has its certificate.
    ///
    /// # Panics
    /// When its folder cannot be made.
    #[must_use]
    pub fn places(&self, name: &str) -> Files {
        let folder = self.folder.join(name).join("tls");
        std::fs::create_dir_all(&folder).expect("make a folder for a certificate");
        let file = |name: &str| folder.join(name);
        Files { authority: file("ca.crt"), certificate: file("device.crt"), key: file("device.key") }
    }

    fn agent(&self, name: &str, device: &str, files: &Files) -> Agent {
        Agent::new(&self.folder.join(name), device, Some(self.gateway.mqtt_port), files, SOURCE)
    }

    /// Whether the gateway says that `device` is connected.
    #[must_use]
    pub fn is_connected(&self, device: &str) -> Option<bool> {
        let devices = self.gateway.get("/api/v1/devices").ok()?;
        let found = devices["devices"].as_array()?.iter().find(|found| found["id"] == device)?.clone();
        found["connected"].as_bool()
    }

    /// How many readings of `device` are stored.
    #[must_use]
    pub fn stored(&self, device: &str) -> Option<usize> {
        Some(self.database.ledger(device).ok()?.readings.len())
    }

    /// Waits until more readings of `device` are stored than now.
    ///
    /// # Panics
    /// When none come.
    pub fn flows(&self, device: &str) {
        let before = self.stored(device).unwrap_or(0);
        let more = format!("readings of {device} to be committed");
        wait_for(&more, PATIENCE, || (self.stored(device)? > before).then_some(()));
    }
}

/// `tributary-agent enrol` with a claim file.
///
/// # Panics
/// When there is no such program.
#[must_use]
pub fn enrol(agent: &Agent, claim: &Path) -> Output {
    agent.command(&["enrol", "--claim", &claim.to_string_lossy()])
}

/// All that a command said.
#[must_use]
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
