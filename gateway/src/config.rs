//! The configuration file: read and checked whole before anything is opened.
//!
//! `gateway.example.toml` is its documentation; a test compares that file with the defaults here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::DeviceId;
use serde::Deserialize;

use crate::ingest::listener;
use crate::rollup;
use crate::store::{Side, SubjectSeed};

mod audit;
pub mod authority;
mod broker;
mod doors;
mod postgres;
pub mod timeseries;

pub use audit::Audit;
pub use authority::Authority;
pub use broker::Broker;
pub use doors::{Http, Listener, Lists};
pub use postgres::{Postgres, TlsMode};
pub use timeseries::TimeSeries;

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where devices connect.
    pub listener: Listener,
    /// The broker that other devices connect to, if there is one.
    pub broker: Option<Broker>,
    /// Who issues certificates to devices, if this gateway does.
    pub authority: Option<Authority>,
    /// How receipts are signed, if they are.
    pub receipts: Option<Receipts>,
    /// Where people connect.
    #[serde(default)]
    pub http: Http,
    /// Where readings are kept.
    pub store: Store,
    /// How they are summed up.
    #[serde(default)]
    pub rollup: Rollup,
    /// How long they are kept.
    #[serde(default)]
    pub retention: Retention,
    /// What is kept of who was let do what.
    #[serde(default)]
    pub audit: Audit,
    /// Where they go as well.
    pub timeseries: Option<TimeSeries>,
    /// Whom readings are about.
    #[serde(default, rename = "subject")]
    pub subjects: Vec<Subject>,
}

/// `[receipts]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Receipts {
    /// The Ed25519 key that signs them, PEM, mode 0600.
    pub key_file: PathBuf,
}

/// `[store]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Which database.
    #[serde(default)]
    pub kind: StoreKind,
    /// The SQLite file.
    #[serde(default = "default_path")]
    pub path: PathBuf,
    /// The PostgreSQL server.
    #[serde(default)]
    pub postgres: Postgres,
}

fn default_path() -> PathBuf {
    "/var/lib/tributary/gateway.db".into()
}

/// Which database keeps readings, ledger and registry.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// A file beside the gateway.
    #[default]
    Sqlite,
    /// A server, which any number of gateways share.
    Postgres,
}

/// `[rollup]`
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Rollup {
    /// Seconds from one look for new readings to the next.
    pub interval_s: u64,
}

impl Default for Rollup {
    fn default() -> Self {
        Self { interval_s: 10 }
    }
}

/// `[retention]`
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Days that readings are kept; none: for ever.
    pub raw_days: Option<u32>,
}

/// `[[subject]]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Names the subject in addresses: of the form of a device id.
    pub id: DeviceId,
    /// What people call it.
    pub display_name: String,
    /// Its IANA time zone: what a day is.
    pub zone: String,
    /// Devices whose readings are about it, from their first reading on.
    #[serde(default)]
    pub devices: Vec<DeviceId>,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be; the message has line, column and setting.
    #[error("configuration {}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        message: String,
    },
    /// A setting has a value that cannot work.
    #[error("configuration {}: `{setting}` {wrong}", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// Which setting.
        setting: String,
        /// What is wrong with it, and what would be right.
        wrong: String,
    },
}

impl Config {
    /// Reads and checks `path`.
    ///
    /// # Errors
    /// Each names the file, and the line or the setting.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        let config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Parse { path: path.into(), message: error.to_string() })?;
        match config.first_fault() {
            Some((setting, wrong)) => Err(ConfigError::Setting { path: path.into(), setting, wrong }),
            None => Ok(config),
        }
    }

    /// The first setting that cannot work, and why.
    fn first_fault(&self) -> Option<(String, String)> {
        if let Some((setting, wrong)) = self.http.first_fault() {
            return Some((format!("http.{setting}"), wrong));
        }
        if let Some((setting, wrong)) = self.listener.first_fault() {
            return Some((format!("listener.{setting}"), wrong));
        }
        if let Some(Err((setting, wrong))) = self.authority.as_ref().map(Authority::issuer) {
            return Some((setting.to_owned(), wrong));
        }
        if !(1..=30).contains(&self.rollup.interval_s) {
            let wrong = "must be 1 to 30 seconds, so that sums are right within a minute";
            return Some(("rollup.interval_s".to_owned(), wrong.to_owned()));
        }
        if self.retention.raw_days.is_some_and(|days| !(1..=36_500).contains(&days)) {
            let wrong = "must be from 1 to 36500; leave it out to keep readings for ever";
            return Some(("retention.raw_days".to_owned(), wrong.to_owned()));
        }
        if let Some((setting, wrong)) = self.audit.first_fault() {
            return Some((setting.to_owned(), wrong.to_owned()));
        }
        if let Some(Err((setting, wrong))) = self.broker.as_ref().map(Broker::settings) {
            return Some((setting.to_owned(), wrong));
        }
        if let Some(fault) = self.timeseries.as_ref().and_then(TimeSeries::first_fault) {
            return Some(fault);
        }
        if let Some((setting, wrong)) = self.store.postgres.first_fault() {
            return Some((format!("store.postgres.{setting}"), wrong.to_owned()));
        }
        self.subjects.iter().enumerate().find_map(|(index, subject)| {
            let setting = format!("subject.{}", subject.id);
            if self.subjects.iter().take(index).any(|other| other.id == subject.id) {
                return Some((setting, "is there twice; each subject needs an id of its own".to_owned()));
            }
            let zone = jiff::tz::TimeZone::get(&subject.zone).err()?;
            Some((format!("{setting}.zone"), format!("{zone}; use an IANA name such as Europe/Berlin")))
        })
    }

    /// How long after its end a device's certificate is still good for asking for the next one.
    #[must_use]
    pub fn expired_grace(&self) -> Duration {
        self.authority.as_ref().map_or(Duration::ZERO, Authority::expired_grace)
    }

    /// The listener's settings.
    #[must_use]
    pub fn listener(&self) -> listener::Settings {
        self.listener.settings()
    }

    /// The way to the database for what is no reading.
    ///
    /// # Errors
    /// A password file cannot be read, or others can.
    pub fn side(&self) -> anyhow::Result<Side> {
        match self.store.kind {
            StoreKind::Sqlite => Ok(Side::sqlite(&self.store.path)),
            StoreKind::Postgres => Ok(Side::postgres(self.store.postgres.ingest()?)),
        }
    }

    /// How rollups are kept.
    #[must_use]
    pub fn rollups(&self) -> rollup::Settings {
        let interval = Duration::from_secs(self.rollup.interval_s);
        rollup::Settings { interval, raw_days: self.retention.raw_days }
    }

    /// The settings of the door to the broker, if there is one.
    ///
    /// # Errors
    /// Never, once [`Config::read`] has checked it.
    pub fn broker(&self) -> anyhow::Result<Option<crate::ingest::broker::Settings>> {
        let settings = self.broker.as_ref().map(Broker::settings).transpose();
        settings.map_err(|(setting, wrong)| anyhow::anyhow!("`{setting}` {wrong}"))
    }

    /// The subjects to be there.
    pub fn subjects(&self) -> impl Iterator<Item = SubjectSeed> + '_ {
        self.subjects.iter().map(|subject| SubjectSeed {
            id: subject.id.to_string(),
            display_name: subject.display_name.clone(),
            zone: subject.zone.clone(),
            devices: subject.devices.clone(),
        })
    }
}
