//! The configuration file: read and checked whole before anything is opened.
//!
//! `agent.example.toml` is its documentation; a test compares that file with the defaults here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::DeviceId;
use serde::Deserialize;

use crate::source::Configured;
use crate::{buffer, sealer};

pub use self::uplink::{TokenKey, Uplink};

mod uplink;

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
            .map_err(|error| ConfigError::Parse { path: path.into(), message: advised(&error.to_string()) })?;
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
        if let Some((setting, wrong)) = self.uplink.as_ref().and_then(Uplink::first_fault) {
            return fault(setting, wrong);
        }
        for (index, source) in self.sources.iter().enumerate() {
            if self.sources.iter().take(index).any(|other| other.name == source.name) {
                return fault(
                    &format!("source.{}", source.name),
                    "is there twice; each source needs a name of its own",
                );
            }
            if let Err(error) = source.validate() {
                return Some((error.field, error.problem));
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
    pub fn uplink(&self) -> Option<crate::uplink::Settings> {
        self.uplink.clone()?.settings()
    }
}

/// What the parser says, in words for who writes the file, with what to do about it.
fn advised(said: &str) -> String {
    // The file knows no whole number beyond this, whatever the setting could hold.
    const MOST: u64 = i64::MAX.unsigned_abs();
    const ADVICE: [(&str, &str); 5] = [
        ("invalid value", "set what is expected"),
        ("missing field", "set it in the table that begins there"),
        ("unknown field", "check how it is written, or leave it out"),
        ("unknown variant", "use one of these"),
        ("invalid type", "check its quotes and brackets"),
    ];
    let numbers = [
        ("u8", u8::MAX.into()),
        ("u16", u16::MAX.into()),
        ("u32", u32::MAX.into()),
        ("u64", MOST),
        ("usize", MOST.min(usize::MAX as u64)),
    ];
    let signed = said.trim_end().replace("expected i64", "expected a whole number");
    let plain = numbers.iter().fold(signed, |said, (number, most)| {
        said.replace(&format!("expected {number}"), &format!("expected a whole number from 0 to {most}"))
    });
    let advice =
        ADVICE.iter().find(|(what, _)| said.contains(what)).map_or("check how it is written", |(_, advice)| advice);
    format!("{plain}; {advice}: agent.example.toml shows every setting")
}
