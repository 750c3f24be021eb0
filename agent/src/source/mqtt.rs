//! What devices publish at a broker nearby: Zigbee2MQTT, Tasmota, Home Assistant, ESPHome, and nodes of Sparkplug B.
//!
//! The client here is a small one of our own, because of two things that matter on a shared broker: a message at QoS 1 is
//! acknowledged when its readings are stored, by its packet id; and a message that is too long is skipped and told of. A
//! client that fails on it would be sent it again for ever, and nothing behind it would arrive.
//!
//! [`session`] says what is said and heard, without input or output; [`run`] and [`link`] do it; [`mapping`] and
//! [`sparkplug`] know what messages mean; [`recent`] knows which were taken.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::settings::no_secret;
use super::{BadSetting, Ended, Outlet, SourceClock, SourceError, SourceName};

mod batch;
pub(super) mod fuzzing;
mod link;
mod mapping;
mod packet;
mod pointer;
mod recent;
mod run;
mod series;
mod session;
mod sparkplug;
mod topics;

pub use mapping::{PayloadTime, TopicSettings};
pub use series::SeriesSettings;

use mapping::Topics;
use packet::Connect;
use run::Runner;
use session::{Content, Manner, Session};
use sparkplug::Sparkplug;

/// A broker's settings, and what is wanted of it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The broker's name or address.
    pub host: String,
    /// Its port; left out: 1883, or 8883 with TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whom to trust, PEM. With it the connection is TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority_file: Option<PathBuf>,
    /// A certificate of this client, PEM, where the broker wants one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<PathBuf>,
    /// Its private key, PEM, mode 0600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Whether a broker on another machine may be reached without TLS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_plain: bool,
    /// The user's name, where the broker wants one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A file with the user's password, mode 0600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Names this client at the broker, which knows only one of each; left out: `tributary-` and the source's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Whether the broker is to forget, with each connection, what it kept while the agent was away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clean_start: bool,
    /// Seconds without traffic after which the broker is asked whether it is there, 5 to 1200.
    #[serde(default = "keep_alive_s")]
    pub keep_alive_s: u16,
    /// Bytes that a message may have, 256 to 1048576; a longer one is rejected.
    #[serde(default = "message_bytes_max")]
    pub message_bytes_max: usize,
    /// Whether messages that the broker retained are taken; left out: those that say their own time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retained: Option<Retained>,
    /// What payloads are.
    #[serde(default)]
    pub format: Format,
    /// In Sparkplug B: whether a node that is not understood is asked to be born again.
    #[serde(default = "yes")]
    pub rebirth: bool,
    /// The zone of local times; needed where messages have times without offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Which topics, and what they hold.
    pub topics: Vec<TopicSettings>,
}

/// What is done with messages that the broker kept from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retained {
    /// They are left aside.
    Ignore,
    /// Each is taken once.
    Take,
}

/// What payloads are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// JSON, or a single value.
    #[default]
    Json,
    /// Sparkplug B.
    SparkplugB,
}

fn keep_alive_s() -> u16 {
    30
}

fn message_bytes_max() -> usize {
    65_536
}

fn yes() -> bool {
    true
}

impl Settings {
    /// Whether all settings can be. Opens nothing.
    ///
    /// # Errors
    /// [`BadSetting`], which names the setting.
    pub fn validate(&self) -> Result<(), BadSetting> {
        let wrong = |field: &str, problem: &str| Err(BadSetting::new(field, problem));
        if self.host.is_empty() || self.host.contains("://") || self.host.contains('/') {
            return wrong("host", "is to be the broker's name or address alone, such as 127.0.0.1");
        }
        if self.port == Some(0) {
            return wrong("port", "is to be 1 to 65535; 1883 is the usual one, 8883 with TLS");
        }
        if self.certificate_file.is_some() != self.key_file.is_some() {
            return wrong("certificate_file", "and `key_file` belong together");
        }
        if self.authority_file.is_none() && self.certificate_file.is_some() {
            return wrong("certificate_file", "is for TLS; set `authority_file` too");
        }
        if self.authority_file.is_none() && !self.is_here() && !self.allow_plain {
            let problem = "is needed for a broker on another machine; or set `allow_plain = true` where everybody on the \
                           way may read and change what devices say";
            return wrong("authority_file", problem);
        }
        self.validate_rest()
    }

    fn validate_rest(&self) -> Result<(), BadSetting> {
        let wrong = |field: &str, problem: &str| Err(BadSetting::new(field, problem));
        let fits = |text: &Option<String>, max: usize| {
            text.as_ref().is_none_or(|text| (1..=max).contains(&text.len()) && !text.contains('\0'))
        };
        if self.password_file.is_some() && self.user.is_none() {
            return wrong("password_file", "is the password of a user; set `user` too");
        }
        if !fits(&self.user, 256) {
            return wrong("user", "is to be 1 to 256 bytes");
        }
        if !fits(&self.client_id, 128) {
            return wrong("client_id", "is to be 1 to 128 bytes");
        }
        if !(5..=1_200).contains(&self.keep_alive_s) {
            return wrong("keep_alive_s", "is to be 5 to 1200");
        }
        if !(256..=1_048_576).contains(&self.message_bytes_max) {
            return wrong("message_bytes_max", "is to be 256 to 1048576");
        }
        if self.format == Format::SparkplugB && self.time_zone.is_some() {
            return wrong("time_zone", "has no place here: times in Sparkplug B are UTC");
        }
        if self.format == Format::SparkplugB && self.retained.is_some() {
            return wrong("retained", "has no place here: what is retained in Sparkplug B is out of order");
        }
        self.content().map(|_| ())
    }

    /// Reads the files that are named, as each connection does.
    pub(super) fn check_files(&self, clock: &SourceClock) -> Result<(), BadSetting> {
        self.greeting("check")?;
        link::tls(self, clock).map(drop)
    }

    /// Whether the broker is on this machine.
    fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    fn port(&self) -> u16 {
        self.port.unwrap_or(if self.authority_file.is_some() { 8_883 } else { 1_883 })
    }

    /// Who reads the messages, and what is subscribed to.
    fn content(&self) -> Result<(Content, Vec<String>), BadSetting> {
        if self.format == Format::SparkplugB {
            let sparkplug = Sparkplug::new(&self.topics, self.rebirth)?;
            let filters = sparkplug.subscriptions()?;
            return Ok((Content::Sparkplug(sparkplug), filters));
        }
        let filters = self.topics.iter().map(|topic| topic.filter.clone()).collect();
        Ok((Content::Topics(Topics::new(&self.topics, self.time_zone.as_deref())?), filters))
    }

    /// What is said first, with the password in it.
    fn greeting(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, BadSetting> {
        let unusable = |error| BadSetting::new("password_file", no_secret(&error));
        let password =
            self.password_file.as_deref().map(certs::key_file::read_private).transpose().map_err(unusable)?;
        let client_id = self.client_id.clone().unwrap_or_else(|| format!("tributary-{name}"));
        let connect = Connect {
            client_id: &client_id,
            clean: self.clean_start,
            keep_alive_s: self.keep_alive_s,
            user: self.user.as_deref(),
            // Editors end files with a newline, which is no part of a password.
            password: password.as_deref().map(|password| password.trim_ascii_end()),
        };
        Ok(Zeroizing::new(connect.encode()))
    }

    fn manner(&self, name: &str, filters: Vec<String>) -> Result<Manner, BadSetting> {
        Ok(Manner {
            greeting: self.greeting(name)?,
            filters,
            keeps: !self.clean_start,
            keep_alive: Duration::from_secs(self.keep_alive_s.into()),
            payload_bytes_max: self.message_bytes_max,
            retained: self.retained.map(|retained| retained == Retained::Take),
        })
    }
}

/// Listens to the broker until `stop` is cancelled.
pub(super) async fn run(
    settings: Settings,
    name: SourceName,
    cursor: Option<Vec<u8>>,
    outlet: Outlet,
    clock: SourceClock,
    stop: CancellationToken,
) -> Result<Ended, SourceError> {
    settings.validate()?;
    let (content, filters) = settings.content()?;
    let manner = settings.manner(&name, filters)?;
    let session = Session::new(Arc::clone(&name), manner, content, cursor.as_deref());
    Ok(Runner::new(settings, session, name, outlet, clock, stop).run().await?)
}

#[cfg(test)]
mod tests;
