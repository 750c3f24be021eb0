//! The configuration file: read and checked whole before anything is opened.
//!
//! `gateway.example.toml` is its documentation; a test compares that file with the defaults here.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::DeviceId;
use serde::Deserialize;

use crate::store::SubjectSeed;
use crate::{
    api,
    ingest::{broker, listener},
    rollup,
};

mod postgres;

pub use postgres::{Postgres, TlsMode};

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where devices connect.
    pub listener: Listener,
    /// The broker that other devices connect to, if there is one.
    pub broker: Option<Broker>,
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
    /// Whom readings are about.
    #[serde(default, rename = "subject")]
    pub subjects: Vec<Subject>,
}

/// `[listener]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port for MQTT over TLS.
    #[serde(default = "default_address")]
    pub address: SocketAddr,
    /// The gateway's certificate chain, PEM.
    pub certificate_file: PathBuf,
    /// Its private key, PEM, mode 0600.
    pub key_file: PathBuf,
    /// The authorities that sign devices, PEM.
    pub authority_file: PathBuf,
    /// Their revocation lists, PEM. Without it, no certificate is ever refused as revoked.
    pub crl_file: Option<PathBuf>,
    /// Devices connected at once.
    #[serde(default = "default_connections_max")]
    pub connections_max: usize,
}

fn default_address() -> SocketAddr {
    listener::Settings::default().address
}

fn default_connections_max() -> usize {
    listener::Settings::default().connections_max
}

/// `[broker]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Name and port.
    pub address: String,
    /// Whether the connection is encrypted. Without, it must not leave this machine.
    #[serde(default = "yes")]
    pub tls: bool,
    /// The authorities that sign the broker, PEM.
    pub authority_file: Option<PathBuf>,
    /// The gateway's certificate chain at the broker, PEM.
    pub certificate_file: Option<PathBuf>,
    /// Its private key, PEM, mode 0600.
    pub key_file: Option<PathBuf>,
    /// For brokers that want a name and a password.
    pub username: Option<String>,
    /// A file whose first line is the password, mode 0600.
    pub password_file: Option<PathBuf>,
    /// The name of the session at the broker.
    #[serde(default = "default_client_id")]
    pub client_id: String,
    /// Gateways of one group share the messages.
    #[serde(default = "default_group")]
    pub group: String,
    /// Connections of this gateway.
    #[serde(default = "default_connections")]
    pub connections: u16,
    /// Seconds between pings.
    #[serde(default = "default_keep_alive_s")]
    pub keep_alive_s: u16,
    /// Messages of one connection that may wait for their acknowledgement.
    #[serde(default = "default_window_messages")]
    pub window_messages: usize,
    /// The same in bytes.
    #[serde(default = "default_window_bytes")]
    pub window_bytes: usize,
    /// The first wait before another connection, in seconds.
    #[serde(default = "default_reconnect_s_min")]
    pub reconnect_s_min: f64,
    /// The longest such wait, in seconds.
    #[serde(default = "default_reconnect_s_max")]
    pub reconnect_s_max: f64,
}

fn yes() -> bool {
    true
}

fn default_client_id() -> String {
    broker_defaults().client_id
}

fn default_group() -> String {
    broker_defaults().group
}

fn default_connections() -> u16 {
    broker_defaults().connections
}

fn default_keep_alive_s() -> u16 {
    u16::try_from(broker_defaults().keep_alive.as_secs()).unwrap_or(u16::MAX)
}

fn default_window_messages() -> usize {
    broker_defaults().window_messages
}

fn default_window_bytes() -> usize {
    broker_defaults().window_bytes
}

fn default_reconnect_s_min() -> f64 {
    broker_defaults().reconnect_min.as_secs_f64()
}

fn default_reconnect_s_max() -> f64 {
    broker_defaults().reconnect_max.as_secs_f64()
}

fn broker_defaults() -> broker::Settings {
    broker::Settings::new("", 0, None)
}

impl Broker {
    /// The door's settings.
    ///
    /// # Errors
    /// The setting that cannot work, and why.
    pub fn settings(&self) -> Result<broker::Settings, (&'static str, String)> {
        let address = self.address.rsplit_once(':');
        let (host, port) = address.and_then(|(host, port)| Some((host, port.parse().ok()?))).ok_or_else(|| {
            ("broker.address", "must be a name and a port, such as \"broker.example.org:8883\"".to_owned())
        })?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let tls = if self.tls { Some(self.files()?) } else { None };
        if !self.tls && host != "localhost" && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) {
            let wrong = "readings and who they are about must not cross a network in the clear; only a broker on this \
                         machine (localhost) may do without";
            return Err(("broker.tls", wrong.to_owned()));
        }
        self.first_fault()?;
        Ok(broker::Settings {
            login: self.login()?,
            client_id: self.client_id.clone(),
            group: self.group.clone(),
            connections: self.connections,
            keep_alive: Duration::from_secs(self.keep_alive_s.into()),
            window_messages: self.window_messages,
            window_bytes: self.window_bytes,
            reconnect_min: Duration::from_secs_f64(self.reconnect_s_min),
            reconnect_max: Duration::from_secs_f64(self.reconnect_s_max),
            ..broker::Settings::new(host, port, tls)
        })
    }

    fn files(&self) -> Result<broker::Files, (&'static str, String)> {
        let Some(authority) = self.authority_file.clone() else {
            return Err(("broker.authority_file", "is missing: which authority signs the broker?".to_owned()));
        };
        let own = match (&self.certificate_file, &self.key_file) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => return Err(("broker.key_file", "and `broker.certificate_file` go together".to_owned())),
        };
        Ok(broker::Files { authority, own })
    }

    fn login(&self) -> Result<Option<broker::Login>, (&'static str, String)> {
        match (&self.username, &self.password_file) {
            (Some(username), Some(password_file)) => {
                Ok(Some(broker::Login { username: username.clone(), password_file: password_file.clone() }))
            }
            (None, None) => Ok(None),
            _ => Err(("broker.password_file", "and `broker.username` go together".to_owned())),
        }
    }

    fn first_fault(&self) -> Result<(), (&'static str, String)> {
        let level = |text: &str| !text.is_empty() && text.len() <= 100 && !text.contains(['/', '+', '#', '\0']);
        let wait = |seconds: f64| (0.0..=3_600.0).contains(&seconds);
        let checks = [
            ("broker.client_id", level(&self.client_id), "must be 1 to 100 characters without /, + and #"),
            ("broker.group", level(&self.group), "must be 1 to 100 characters without /, + and #"),
            ("broker.connections", (1..=100).contains(&self.connections), "must be 1 to 100"),
            ("broker.keep_alive_s", (1..=1_200).contains(&self.keep_alive_s), "must be 1 to 1200"),
            ("broker.window_messages", (1..=65_535).contains(&self.window_messages), "must be 1 to 65535"),
            ("broker.window_bytes", self.window_bytes >= proto::FRAME_BYTES_MAX, "must be at least one frame, 131072"),
            ("broker.reconnect_s_min", wait(self.reconnect_s_min), "must be 0 to 3600"),
            ("broker.reconnect_s_max", wait(self.reconnect_s_max), "must be 0 to 3600"),
        ];
        match checks.into_iter().find(|(_, is_fine, _)| !is_fine) {
            Some((setting, _, wrong)) => Err((setting, wrong.to_owned())),
            None => Ok(()),
        }
    }
}

/// `[http]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port of dashboard and API. Loopback only, until there are accounts.
    pub address: SocketAddr,
}

impl Default for Http {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 8080)) }
    }
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
        if let Err(error) = api::check_address(self.http.address) {
            return Some(("http.address".to_owned(), error.to_string()));
        }
        if self.listener.connections_max == 0 {
            return Some(("listener.connections_max".to_owned(), "must be at least 1".to_owned()));
        }
        if !(1..=30).contains(&self.rollup.interval_s) {
            let wrong = "must be 1 to 30 seconds, so that sums are right within a minute";
            return Some(("rollup.interval_s".to_owned(), wrong.to_owned()));
        }
        if self.retention.raw_days == Some(0) {
            let wrong = "must be at least 1; leave it out to keep readings for ever";
            return Some(("retention.raw_days".to_owned(), wrong.to_owned()));
        }
        if let Some(Err((setting, wrong))) = self.broker.as_ref().map(Broker::settings) {
            return Some((setting.to_owned(), wrong));
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

    /// The listener's settings.
    #[must_use]
    pub fn listener(&self) -> listener::Settings {
        let Listener { address, connections_max, .. } = self.listener;
        listener::Settings { address, connections_max, ..listener::Settings::default() }
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
    pub fn broker(&self) -> anyhow::Result<Option<broker::Settings>> {
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
