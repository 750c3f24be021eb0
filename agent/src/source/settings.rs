//! What a source is told, and the one place where kinds of sources are registered.

use serde::{Deserialize, Serialize};

use super::device::Device;
#[cfg(feature = "glucose")]
use super::glucose;
use super::{Priority, file, serial, simulate};
#[cfg(feature = "energy")]
use super::{dsmr, modbus};
#[cfg(feature = "environment")]
use super::{mhz19, nmea, plantower_pms, sds011};

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
    /// An energy meter's P1 port.
    #[cfg(feature = "energy")]
    Dsmr(dsmr::Settings),
    /// A CSV or NDJSON file, at once or in time.
    File(file::Settings),
    /// A blood glucose meter, on its cable.
    #[cfg(feature = "glucose")]
    GlucoseMeter(glucose::Settings),
    /// An MH-Z19 carbon dioxide sensor.
    #[cfg(feature = "environment")]
    Mhz19(mhz19::Settings),
    /// Registers of devices on Modbus.
    #[cfg(feature = "energy")]
    Modbus(modbus::Settings),
    /// A receiver of satellite positions.
    #[cfg(feature = "environment")]
    Nmea(nmea::Settings),
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
}

impl Settings {
    /// What stands behind the seam for devices; none for a source that is no device at the end of a wire.
    pub(super) fn device(&self) -> Option<&dyn Device> {
        match self {
            Self::File(_) | Self::Simulate(_) => None,
            #[cfg(feature = "energy")]
            Self::Dsmr(settings) => Some(settings),
            #[cfg(feature = "glucose")]
            Self::GlucoseMeter(settings) => Some(settings),
            #[cfg(feature = "environment")]
            Self::Mhz19(settings) => Some(settings),
            #[cfg(feature = "energy")]
            Self::Modbus(settings) => Some(settings),
            #[cfg(feature = "environment")]
            Self::Nmea(settings) => Some(settings),
            #[cfg(feature = "environment")]
            Self::PlantowerPms(settings) => Some(settings),
            #[cfg(feature = "environment")]
            Self::Sds011(settings) => Some(settings),
            Self::Serial(settings) => Some(settings),
        }
    }

    /// Whether it goes on from a cursor. One that does must not begin anew by itself: it would double what it took in.
    #[must_use]
    pub fn resumes(&self) -> bool {
        match self {
            Self::File(_) => true,
            other => other.device().is_some_and(Device::resumes),
        }
    }

    fn validate(&self) -> Result<(), BadSetting> {
        match self {
            Self::File(settings) => settings.validate(),
            Self::Simulate(settings) => settings.validate(),
            other => other.device().map_or(Ok(()), Device::validate),
        }
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
