//! The configuration file: read and checked whole before anything is opened.
//!
//! `agent.example.toml` is its documentation; a test compares that file with the defaults here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::DeviceId;
use serde::Deserialize;

use crate::source::Configured;
use crate::uplink::Pace;
use crate::{buffer, sealer, uplink};

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this is.
    pub device: Device,
    /// Where readings wait.
    pub buffer: Buffer,
    /// How they are gathered.
    #[serde(default)]
    pub sealer: Sealer,
    /// Where they go. Without it the agent only captures.
    pub uplink: Option<Uplink>,
    /// Where they come from.
    #[serde(default, rename = "source")]
    pub sources: Vec<Configured>,
}

/// `[device]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// The device's id, as in its certificate.
    pub id: DeviceId,
}

/// `[buffer]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Buffer {
    /// The SQLite file.
    pub path: PathBuf,
    /// Bytes that file and WAL may take.
    #[serde(default = "default_bytes_max")]
    pub bytes_max: u64,
    /// Free bytes that are left to the disk; 0 is no floor.
    #[serde(default = "default_free_bytes_min")]
    pub free_bytes_min: u64,
}

fn default_bytes_max() -> u64 {
    256 * 1024 * 1024
}

fn default_free_bytes_min() -> u64 {
    64 * 1024 * 1024
}

/// `[sealer]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Sealer {
    /// Milliseconds that the first reading of a batch waits for more.
    pub linger_ms: u64,
    /// Readings that close a batch at once.
    pub readings_max: usize,
}

impl Default for Sealer {
    fn default() -> Self {
        let sealer::Settings { linger, readings_max } = sealer::Settings::default();
        Self { linger_ms: u64::try_from(linger.as_millis()).unwrap_or(u64::MAX), readings_max }
    }
}

/// `[uplink]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Uplink {
    /// The gateway's name, as in its certificate.
    pub host: String,
    /// Its MQTT port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Whom to trust, PEM.
    pub authority_file: PathBuf,
    /// This device's certificate chain, PEM.
    pub certificate_file: PathBuf,
    /// Its private key, PEM, mode 0600.
    pub key_file: PathBuf,
    /// The public key that receipts must be signed with, if they must.
    pub receipt_key_file: Option<PathBuf>,
    /// The template of AWS IoT's fleet provisioning, where AWS IoT gives this device its certificate.
    pub provisioning_template: Option<String>,
    /// The first wait before another connection, in seconds.
    #[serde(default = "default_reconnect_s_min")]
    pub reconnect_s_min: f64,
    /// The longest such wait, in seconds.
    #[serde(default = "default_reconnect_s_max")]
    pub reconnect_s_max: f64,
    /// Seconds without traffic after which the client pings.
    #[serde(default = "default_keep_alive_s")]
    pub keep_alive_s: u16,
    /// Publishes a second, both ways together; 0 for no limit.
    #[serde(default)]
    pub publishes_per_s_max: u32,
    /// Bytes a second; 0 for no limit.
    #[serde(default)]
    pub bytes_per_s_max: u32,
    /// Frames sent and not yet confirmed.
    #[serde(default = "default_window_frames_max")]
    pub window_frames_max: usize,
}

/// MQTT over TLS as registered with IANA.
fn default_port() -> u16 {
    8883
}

fn default_reconnect_s_min() -> f64 {
    Pace::default().reconnect_min.as_secs_f64()
}

fn default_reconnect_s_max() -> f64 {
    Pace::default().reconnect_max.as_secs_f64()
}

fn default_keep_alive_s() -> u16 {
    u16::try_from(Pace::default().keep_alive.as_secs()).unwrap_or(u16::MAX)
}

fn default_window_frames_max() -> usize {
    Pace::default().window_frames
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

/// The smallest buffer: below, WAL and schema alone would fill it.
const BYTES_MAX_MIN: u64 = 8 * 1024 * 1024;

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
        let fault = |setting: &str, wrong: &str| Some((setting.to_owned(), wrong.to_owned()));
        if self.buffer.bytes_max < BYTES_MAX_MIN {
            return fault("buffer.bytes_max", "is too small; 8388608 is the least");
        }
        if !(1..=proto::BODY_READINGS_MAX).contains(&self.sealer.readings_max) {
            return fault("sealer.readings_max", "must be from 1 to 65536");
        }
        if self.sealer.linger_ms > 60_000 {
            return fault("sealer.linger_ms", "is more than a minute; readings would wait that long to be safe");
        }
        if let Some(uplink) = &self.uplink {
            let waits = [uplink.reconnect_s_min, uplink.reconnect_s_max];
            if !waits.iter().all(|wait| (0.01..=86_400.0).contains(wait)) || waits[0] > waits[1] {
                return fault("uplink.reconnect_s_min", "must be from 0.01 s up to `uplink.reconnect_s_max`");
            }
            if !(1..=1_200).contains(&uplink.keep_alive_s) {
                return fault("uplink.keep_alive_s", "must be from 1 to 1200");
            }
            if !(1..=uplink::mqtt::FRAMES_MAX).contains(&uplink.window_frames_max) {
                return fault("uplink.window_frames_max", "must be from 1 to 32");
            }
            // Its form is that of the API reference, CreateProvisioningTemplate.
            if uplink.provisioning_template.as_ref().is_some_and(|name| {
                !(1..=36).contains(&name.len())
                    || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
            }) {
                return fault("uplink.provisioning_template", "must be 1 to 36 letters, digits, `_` and `-`");
            }
            if uplink.host.is_empty() || uplink.port == 0 {
                return fault("uplink.host", "and `uplink.port` must say where the gateway is");
            }
        }
        for (index, source) in self.sources.iter().enumerate() {
            if self.sources.iter().take(index).any(|other| other.name == source.name) {
                return fault(
                    &format!("source.{}", source.name),
                    "is there twice; each source needs a name of its own",
                );
            }
            if let Err(error) = source.validate() {
                return Some((format!("source.{}", source.name), error.to_string()));
            }
        }
        None
    }

    /// The buffer's settings.
    #[must_use]
    pub fn buffer(&self) -> buffer::Settings {
        let Buffer { path, bytes_max, free_bytes_min } = self.buffer.clone();
        buffer::Settings { path, bytes_max, free_bytes_min }
    }

    /// The sealer's settings.
    #[must_use]
    pub fn sealer(&self) -> sealer::Settings {
        let Sealer { linger_ms, readings_max } = self.sealer;
        sealer::Settings { linger: Duration::from_millis(linger_ms), readings_max }
    }

    /// The uplink's settings.
    #[must_use]
    pub fn uplink(&self) -> Option<uplink::Settings> {
        let uplink = self.uplink.clone()?;
        let pace = Pace {
            reconnect_min: Duration::from_secs_f64(uplink.reconnect_s_min),
            reconnect_max: Duration::from_secs_f64(uplink.reconnect_s_max),
            keep_alive: Duration::from_secs(uplink.keep_alive_s.into()),
            publishes_per_s_max: uplink.publishes_per_s_max,
            bytes_per_s_max: uplink.bytes_per_s_max,
            window_frames: uplink.window_frames_max,
            ..Pace::default()
        };
        Some(uplink::Settings {
            host: uplink.host,
            port: uplink.port,
            authority_file: uplink.authority_file,
            certificate_file: uplink.certificate_file,
            key_file: uplink.key_file,
            receipt_key_file: uplink.receipt_key_file,
            provisioning_template: uplink.provisioning_template,
            pace,
        })
    }
}
