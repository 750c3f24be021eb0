//! `[store.postgres]`

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use crate::named::Named;
use crate::store::postgres::{Password, Settings, Timescale, Tls};

/// Connections that neither write readings nor answer questions: the feed's, that of what runs beside, the audit trail's,
/// and two for claims and certificates.
const BESIDE: usize = 5;
/// More would wait for the server's processors, and for each other's fsync.
const WRITERS_MAX: usize = 16;

/// The PostgreSQL server.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Postgres {
    /// A name, an address, or the folder of a Unix socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Which database.
    pub database: String,
    /// The role of `run`.
    pub user: String,
    /// Its password, mode 0600.
    pub password_file: Option<PathBuf>,
    /// The role of `migrate`.
    pub migrate_user: String,
    /// Its password, mode 0600.
    pub migrate_password_file: Option<PathBuf>,
    /// How the way to the server is kept private.
    pub tls: TlsMode,
    /// The authorities that sign the server's certificate, PEM.
    pub ca_file: Option<PathBuf>,
    /// Connections that write readings, each those of devices of its own. Behind a time-series store there is one.
    pub writers: usize,
    /// Connections of one gateway.
    pub connections_max: usize,
    /// Whether `migrate` makes the readings a hypertable.
    pub timescaledb: Timescale,
}

/// How the way to the server is kept private.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// As the host is on this machine or not.
    #[default]
    Auto,
    /// Not at all.
    Disable,
    /// By the server's certificate.
    VerifyFull,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 5432,
            database: "tributary".to_owned(),
            user: "tributary_ingest".to_owned(),
            password_file: None,
            migrate_user: "tributary_migrate".to_owned(),
            migrate_password_file: None,
            tls: TlsMode::default(),
            ca_file: None,
            writers: 2,
            connections_max: 11,
            timescaledb: Timescale::default(),
        }
    }
}

impl Postgres {
    /// The first setting that cannot work, and why.
    pub(super) fn first_fault(&self) -> Option<(&'static str, &'static str)> {
        if !(1..=WRITERS_MAX).contains(&self.writers) {
            return Some(("writers", "must be from 1 to 16"));
        }
        if self.connections_max <= BESIDE + self.writers {
            return Some((
                "connections_max",
                "must be at least `writers` and six: five beside them, and one that reads",
            ));
        }
        if self.verifies() && self.ca_file.is_none() {
            let wrong = "is needed to verify the server; name the file with its authority, or say tls = \"disable\"";
            return Some(("ca_file", wrong));
        }
        None
    }

    /// As `run` connects.
    ///
    /// # Errors
    /// A password file cannot be read, or others can; the file of the server's authority cannot be used.
    pub fn ingest(&self) -> anyhow::Result<Settings> {
        self.settings(&self.user, self.password_file.as_deref().map(|file| ("password_file", file)))
    }

    /// As `migrate` connects.
    ///
    /// # Errors
    /// The same.
    pub fn migrate(&self) -> anyhow::Result<Settings> {
        let file = self.migrate_password_file.as_deref().map(|file| ("migrate_password_file", file));
        self.settings(&self.migrate_user, file)
    }

    fn settings(&self, user: &str, password_file: Option<(&str, &Path)>) -> anyhow::Result<Settings> {
        let tls = match &self.ca_file {
            Some(ca_file) if self.verifies() => {
                certs::read_certificates(ca_file).named_by("store.postgres.ca_file")?;
                Tls::VerifyFull { ca_file: ca_file.clone() }
            }
            _ => Tls::Disable,
        };
        Ok(Settings {
            host: self.host.clone(),
            port: self.port,
            database: self.database.clone(),
            user: user.to_owned(),
            password: password_file.map(|(setting, file)| read_password(setting, file)).transpose()?,
            tls,
            writers: self.writers,
            readers_max: self.connections_max - BESIDE - self.writers,
            timescale: self.timescaledb,
        })
    }

    fn verifies(&self) -> bool {
        let is_here = self.host.starts_with('/')
            || self.host == "localhost"
            || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        match self.tls {
            TlsMode::Auto => !is_here,
            TlsMode::Disable => false,
            TlsMode::VerifyFull => true,
        }
    }
}

/// The first line of a file that only its owner may read, which `setting` names.
fn read_password(setting: &str, path: &Path) -> anyhow::Result<Password> {
    let first = || {
        let bytes = certs::key_file::read_private(path)?;
        let text = std::str::from_utf8(&bytes).with_context(|| format!("{} is not UTF-8", path.display()))?;
        let first = text.lines().next().unwrap_or_default();
        anyhow::ensure!(!first.is_empty(), "the first line of {} is empty", path.display());
        Ok(Password::new(first))
    };
    first().named_by(&format!("store.postgres.{setting}"))
}
