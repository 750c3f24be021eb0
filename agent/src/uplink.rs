//! From the buffer to the gateway: a pure [`session`] decides, a thin shell performs.
//!
//! The MQTT client is a pipe and nothing more. What was settled is only ever learned from receipts; after each
//! connection, and after a missed deadline, the session says hello and sends from the buffer just what the answer
//! lacks.

use std::path::PathBuf;
use std::time::Duration;

pub mod backoff;
mod forged;
mod lanes;
mod limiter;
pub mod mqtt;
mod outage;
pub(crate) mod place;
pub mod reason;
pub mod run;
pub mod session;
mod silence;
mod window;

/// How long a connection may take to stand (TLS, CONNACK, SUBACK), and to take what is flushed to it: a frame of 128 KiB at
/// 2G's 20 kbit/s takes a minute.
const NETWORK_DEADLINE: Duration = Duration::from_secs(90);

/// Where the gateway is, and how this device shows who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The gateway's name, as in its certificate.
    pub host: String,
    /// Its MQTT port.
    pub port: u16,
    /// Whom to trust: the authority's certificates, PEM.
    pub authority_file: PathBuf,
    /// This device's certificate chain, PEM.
    pub certificate_file: PathBuf,
    /// Its private key.
    pub key: KeySettings,
    /// What receipts must be signed with, if they must: 64 hexadecimal digits.
    pub receipt_key_file: Option<PathBuf>,
    /// The template of AWS IoT that this device is provisioned by, if AWS IoT gives it its certificate.
    pub provisioning_template: Option<String>,
    /// How the session paces itself.
    pub pace: Pace,
}

/// Where the device's private key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySettings {
    /// In a file, PEM, mode 0600.
    File(PathBuf),
    /// In a token, which signs with it and does not give it away.
    Token(TokenSettings),
}

/// A key behind a PKCS#11 module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// The module: a shared library, which is loaded into this process.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// Which of its keys.
    pub key: KeyName,
    /// A file with the PIN, mode 0600.
    pub pin_file: PathBuf,
}

/// What tells a key from the others of its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyName {
    /// Its label (`CKA_LABEL`).
    Label(String),
    /// Its id (`CKA_ID`).
    Id(Vec<u8>),
}

/// Bounds on what is under way, and on waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes of one publish.
    pub frame_bytes_max: usize,
    /// Frames sent and not yet settled.
    pub window_frames: usize,
    /// Bytes sent and not yet settled.
    pub window_bytes: usize,
    /// How long a frame may stay unsettled before the session asks; it doubles with each miss, to `deadline_max`.
    pub deadline_min: Duration,
    /// The longest deadline.
    pub deadline_max: Duration,
    /// The first wait before another connection; a random part of it, doubling (full jitter).
    pub reconnect_min: Duration,
    /// The longest such wait.
    pub reconnect_max: Duration,
    /// How often hello repeats on a connection that lasts.
    pub hello_every: Duration,
    /// Without traffic for so long, the client pings. With frames under way, a link that is silent for one and a half
    /// times as long is dead.
    pub keep_alive: Duration,
    /// Publishes a second, both ways together; 0 for no limit.
    pub publishes_per_s_max: u32,
    /// Bytes a second; 0 for no limit.
    pub bytes_per_s_max: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            frame_bytes_max: proto::FRAME_BYTES_MAX,
            window_frames: 16,
            window_bytes: 1024 * 1024,
            deadline_min: Duration::from_secs(10),
            deadline_max: Duration::from_secs(600),
            reconnect_min: Duration::from_secs(1),
            reconnect_max: Duration::from_secs(300),
            hello_every: Duration::from_secs(15 * 60),
            keep_alive: Duration::from_secs(30),
            publishes_per_s_max: 0,
            bytes_per_s_max: 0,
        }
    }
}
