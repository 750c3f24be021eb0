//! The door's settings and bounds, each with its reason.

use std::path::PathBuf;
use std::time::Duration;

/// Where the broker is, and what may wait between it and the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The broker's name, as in its certificate.
    pub host: String,
    /// Its MQTT port.
    pub port: u16,
    /// How this gateway shows who it is. None is plain MQTT, which is for loopback only.
    pub tls: Option<Files>,
    /// User name and password, for brokers that want them.
    pub login: Option<Login>,
    /// The name of the session that the broker keeps. One gateway, one name, always the same: a second client of the
    /// same name ends the first one's connection, and under a new name what waits for the old one is lost.
    pub client_id: String,
    /// Gateways of one group share the messages; each message goes to one of them.
    pub group: String,
    /// Connections of this gateway. More than one where the broker limits what one may carry.
    pub connections: u16,
    /// Without traffic for so long, the client pings; at the second ping without an answer the connection is dead.
    pub keep_alive: Duration,
    /// Messages of one connection taken in and not yet acknowledged. More than the broker sends at once (Mosquitto's
    /// `max_inflight_messages`; 100 at AWS), so that a store that is away stops the broker and not the pings.
    pub window_messages: usize,
    /// The same in bytes.
    pub window_bytes: usize,
    /// Messages to devices a second, of each connection; 0 for no limit.
    pub publishes_per_s_max: u32,
    /// The first wait before another connection; a random part of it, doubling.
    pub reconnect_min: Duration,
    /// The longest such wait.
    pub reconnect_max: Duration,
    /// For a connection to stand, and for each write. rumqttc's own 5 s are too short for 128 KiB on a slow link.
    pub network_deadline: Duration,
    /// For the broker to answer the subscription.
    pub subscribe_deadline: Duration,
    /// The largest message that is taken; larger ones are acknowledged and refused.
    pub message_bytes_max: usize,
    /// The largest packet that is read. One that is larger would be delivered again and again, so it is far beyond what
    /// brokers let through by default (1 MiB is EMQX's).
    pub packet_bytes_max: usize,
    /// Devices that are known to be there at once, at some 300 bytes each; beyond it, who was silent longest is taken
    /// for gone until heard again.
    pub devices_max: usize,
    /// For outstanding verdicts when the gateway stops.
    pub stop_grace: Duration,
}

/// The files of the gateway's identity at the broker. They are read again for each connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The authorities that sign the broker, PEM.
    pub authority: PathBuf,
    /// The gateway's certificate chain and key, PEM, if the broker wants them.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// Name and password at the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user name.
    pub username: String,
    /// A file whose first line is the password, read again for each connection.
    pub password_file: PathBuf,
}

impl Login {
    /// The password as the file says now. Blocks.
    ///
    /// # Errors
    /// When the file cannot be read, is readable by others, or holds no password.
    pub fn password(&self) -> anyhow::Result<String> {
        let file = self.password_file.display();
        let (bytes, mode) = certs::files::read(&self.password_file, PASSWORD_BYTES_MAX)?;
        anyhow::ensure!(mode & 0o077 == 0, "{file} is readable by others (mode {mode:03o}); run `chmod 600 {file}`");
        let text = String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{file} is not text"))?;
        let password = text.lines().next().unwrap_or_default();
        anyhow::ensure!(!password.is_empty(), "{file} holds no password in its first line");
        Ok(password.to_owned())
    }
}

/// Far more than any password takes; tokens may be long.
const PASSWORD_BYTES_MAX: u64 = 16 * 1024;

impl Settings {
    /// Settings for the broker at `host`, with all that has a default.
    #[must_use]
    pub fn new(host: &str, port: u16, tls: Option<Files>) -> Self {
        Self {
            host: host.to_owned(),
            port,
            tls,
            login: None,
            client_id: "tributary-gateway".to_owned(),
            group: "tributary".to_owned(),
            connections: 1,
            keep_alive: Duration::from_secs(30),
            window_messages: 1_024,
            window_bytes: 32 * 1024 * 1024,
            publishes_per_s_max: 0,
            reconnect_min: Duration::from_millis(500),
            reconnect_max: Duration::from_secs(30),
            network_deadline: Duration::from_secs(30),
            subscribe_deadline: Duration::from_secs(30),
            message_bytes_max: proto::FRAME_BYTES_MAX,
            packet_bytes_max: 1024 * 1024,
            devices_max: 100_000,
            stop_grace: Duration::from_secs(3),
        }
    }

    /// The client id of the connection in this place, the first of which is 1.
    pub(super) fn client_id_of(&self, place: u16) -> String {
        if self.connections == 1 { self.client_id.clone() } else { format!("{}-{place}", self.client_id) }
    }
}
