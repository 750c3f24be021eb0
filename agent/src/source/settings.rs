//! What a source is told, and the one place where kinds of sources are registered.

use serde::{Deserialize, Serialize};

#[cfg(feature = "vitals")]
use super::contec_cms50;
use super::device::Device;
#[cfg(feature = "glucose")]
use super::dexcom_receiver;
#[cfg(feature = "programs")]
use super::exec;
#[cfg(feature = "files")]
use super::folder;
#[cfg(feature = "glucose")]
use super::glucose;
#[cfg(feature = "mqtt")]
use super::mqtt;
#[cfg(feature = "nightscout")]
use super::nightscout;
#[cfg(feature = "vitals")]
use super::nonin_oem3;
use super::{Priority, SourceClock, file, serial, simulate};
#[cfg(feature = "energy")]
use super::{dsmr, modbus};
#[cfg(feature = "environment")]
use super::{mhz19, nmea, plantower_pms, sds011};
#[cfg(feature = "programs")]
use super::{socket, system};

/// One `[[source]]` of the configuration.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Configured {
    /// Names the source in logs and cursors: 1 to 64 of `[A-Za-z0-9._-]`. Another name is another source, which
    /// starts from the beginning.
    pub name: String,
    /// How long its readings are kept when the buffer has no room for all.
    #[serde(default)]
    pub priority: Priority,
    /// What it reads.
    #[serde(flatten)]
    pub settings: Settings,
}

/// What a source reads: `type` says which of these it is.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Settings {
    /// A Contec CMS50 pulse oximeter.
    #[cfg(feature = "vitals")]
    #[serde(rename = "contec_cms50")]
    ContecCms50(contec_cms50::Settings),
    /// A Dexcom receiver of continuous glucose.
    #[cfg(feature = "glucose")]
    DexcomReceiver(dexcom_receiver::Settings),
    /// An energy meter's P1 port.
    #[cfg(feature = "energy")]
    Dsmr(dsmr::Settings),
    /// Lines that a program prints.
    #[cfg(feature = "programs")]
    Exec(exec::Settings),
    /// A CSV or NDJSON file, at once or in time.
    File(file::Settings),
    /// A folder that files are dropped into.
    #[cfg(feature = "files")]
    Folder(folder::Settings),
    /// A blood glucose meter, on its cable.
    #[cfg(feature = "glucose")]
    GlucoseMeter(glucose::Settings),
    /// An MH-Z19 carbon dioxide sensor.
    #[cfg(feature = "environment")]
    Mhz19(mhz19::Settings),
    /// Registers of devices on Modbus.
    #[cfg(feature = "energy")]
    Modbus(modbus::Settings),
    /// What devices publish at a broker nearby.
    #[cfg(feature = "mqtt")]
    Mqtt(Box<mqtt::Settings>),
    /// A Nightscout site. Boxed: it has many settings.
    #[cfg(feature = "nightscout")]
    Nightscout(Box<nightscout::Settings>),
    /// A receiver of satellite positions.
    #[cfg(feature = "environment")]
    Nmea(nmea::Settings),
    /// A Nonin OEM III pulse oximeter.
    #[cfg(feature = "vitals")]
    #[serde(rename = "nonin_oem3")]
    NoninOem3(nonin_oem3::Settings),
    /// A Plantower particle sensor.
    #[cfg(feature = "environment")]
    PlantowerPms(plantower_pms::Settings),
    /// An SDS011 particle sensor.
    #[cfg(feature = "environment")]
    Sds011(sds011::Settings),
    /// Lines from a serial port.
    Serial(serial::Settings),
    /// Readings that are made up.
    Simulate(simulate::Settings),
    /// Records that programs write to a Unix socket.
    #[cfg(feature = "programs")]
    Socket(socket::Settings),
    /// The machine itself.
    #[cfg(feature = "programs")]
    System(system::Settings),
}

impl Settings {
    /// What stands behind the seam for devices; none for a source that is no device at the end of a wire.
    pub(super) fn device(&self) -> Option<&dyn Device> {
        match self {
            #[cfg(feature = "vitals")]
            Self::ContecCms50(settings) => Some(settings),
            #[cfg(feature = "glucose")]
            Self::DexcomReceiver(settings) => Some(settings),
            #[cfg(feature = "energy")]
            Self::Dsmr(settings) => Some(settings),
            #[cfg(feature = "programs")]
            Self::Exec(settings) => Some(settings),
            Self::File(_) | Self::Simulate(_) => None,
            #[cfg(feature = "files")]
            Self::Folder(_) => None,
            #[cfg(feature = "glucose")]
            Self::GlucoseMeter(settings) => Some(settings),
            #[cfg(feature = "environment")]
            Self::Mhz19(settings) => Some(settings),
            #[cfg(feature = "energy")]
            Self::Modbus(settings) => Some(settings),
            #[cfg(feature = "mqtt")]
            Self::Mqtt(_) => None,
            #[cfg(feature = "nightscout")]
            Self::Nightscout(_) => None,
            #[cfg(feature = "environment")]
            Self::Nmea(settings) => Some(settings),
            #[cfg(feature = "vitals")]
            Self::NoninOem3(settings) => Some(settings),
            #[cfg(feature = "environment")]
            Self::PlantowerPms(settings) => Some(settings),
            #[cfg(feature = "environment")]
            Self::Sds011(settings) => Some(settings),
            Self::Serial(settings) => Some(settings),
            #[cfg(feature = "programs")]
            Self::Socket(_) | Self::System(_) => None,
        }
    }

    /// Whether it goes on from a cursor. One that does must not begin anew by itself: it would double what it took in.
    #[must_use]
    pub fn resumes(&self) -> bool {
        match self {
            Self::File(_) => true,
            #[cfg(feature = "files")]
            Self::Folder(_) => true,
            #[cfg(feature = "nightscout")]
            Self::Nightscout(_) => true,
            other => other.device().is_some_and(Device::resumes),
        }
    }

    fn validate(&self) -> Result<(), BadSetting> {
        match self {
            Self::File(settings) => settings.validate(),
            #[cfg(feature = "mqtt")]
            Self::Mqtt(settings) => settings.validate(),
            #[cfg(feature = "files")]
            Self::Folder(settings) => settings.validate(),
            #[cfg(feature = "nightscout")]
            Self::Nightscout(settings) => settings.validate(),
            Self::Simulate(settings) => settings.validate(),
            #[cfg(feature = "programs")]
            Self::Socket(settings) => settings.validate(),
            #[cfg(feature = "programs")]
            Self::System(settings) => settings.validate(),
            other => other.device().map_or(Ok(()), Device::validate),
        }
    }
}

impl Configured {
    /// Reads the files with secrets and certificates that are named. What readings come from, a file too, may come later: a
    /// run waits for it.
    ///
    /// # Errors
    /// What is wrong with the first that cannot be used; it names the source, the setting and the file.
    pub fn check_files(&self, clock: &SourceClock) -> Result<(), String> {
        let checked: Result<(), String> = match &self.settings {
            #[cfg(feature = "mqtt")]
            Settings::Mqtt(settings) => {
                settings.check_files(clock).map_err(|bad| format!("`{}` {}", bad.field, bad.problem))
            }
            #[cfg(feature = "nightscout")]
            Settings::Nightscout(settings) => settings.check_files(),
            _ => Ok(()),
        };
        #[cfg(not(feature = "mqtt"))]
        let _ = clock; // by which a broker is judged
        checked.map_err(|wrong| format!("source `{}`: {wrong}", self.name))
    }
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct BadSetting {
    /// Which one, as a path: `source.meter.series[2].column`.
    pub field: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl BadSetting {
    pub(super) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// The same, seen from one level further out.
    pub(super) fn within(self, outer: &str) -> Self {
        Self { field: format!("{outer}.{}", self.field), problem: self.problem }
    }
}

/// Why a file with a secret cannot be used, and what to do about it.
#[cfg(any(feature = "mqtt", feature = "nightscout"))]
pub(super) fn no_secret(error: &certs::key_file::KeyFileError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => {
            format!("{error}: {cause}; the file is to be there, with mode 0600, and the agent's user is to own it")
        }
        None => error.to_string(),
    }
}

impl Configured {
    /// Whether all settings can be, before anything is opened.
    ///
    /// # Errors
    /// [`BadSetting`], which names the source and the setting.
    pub fn validate(&self) -> Result<(), BadSetting> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if self.name.is_empty() || self.name.len() > 64 || !self.name.bytes().all(known) {
            let name: String = self.name.chars().take(64).collect();
            return Err(BadSetting::new("source.name", format!("`{name}` is not 1 to 64 of [A-Za-z0-9._-]")));
        }
        self.settings.validate().map_err(|error| error.within(&format!("source.{}", self.name)))
    }
}
