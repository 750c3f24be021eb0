//! The table `[broker]`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::ingest::broker;

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
    /// Receipts and commands a second, of each connection; 0 for no limit.
    #[serde(default)]
    pub publishes_per_s_max: u32,
    /// The first wait before another connection, in seconds.
    #[serde(default = "default_reconnect_s_min")]
    pub reconnect_s_min: f64,
    /// The longest such wait, in seconds.
    #[serde(default = "default_reconnect_s_max")]
    pub reconnect_s_max: f64,
    /// The certificate of a device that exists only to be misused by `doctor`.
    pub canary_certificate_file: Option<PathBuf>,
    /// Its private key, PEM, mode 0600.
    pub canary_key_file: Option<PathBuf>,
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
        self.canary()?;
        Ok(broker::Settings {
            login: self.login()?,
            client_id: self.client_id.clone(),
            group: self.group.clone(),
            connections: self.connections,
            keep_alive: Duration::from_secs(self.keep_alive_s.into()),
            window_messages: self.window_messages,
            window_bytes: self.window_bytes,
            publishes_per_s_max: self.publishes_per_s_max,
            reconnect_min: Duration::from_secs_f64(self.reconnect_s_min),
            reconnect_max: Duration::from_secs_f64(self.reconnect_s_max),
            ..broker::Settings::new(host, port, tls)
        })
    }

    /// Certificate and key of the canary, if there is one.
    ///
    /// # Errors
    /// When there is only one of the two.
    pub fn canary(&self) -> Result<Option<(PathBuf, PathBuf)>, (&'static str, String)> {
        match (&self.canary_certificate_file, &self.canary_key_file) {
            (Some(certificate), Some(key)) => Ok(Some((certificate.clone(), key.clone()))),
            (None, None) => Ok(None),
            _ => Err(("broker.canary_key_file", "and `broker.canary_certificate_file` go together".to_owned())),
        }
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
