//! What a reading measures: a name, a unit and a kind.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// One named quantity of one device. It never changes: another unit is another series.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Series {
    /// `glucose`, `power.active`
    pub name: SeriesName,
    /// `mg/dL`, `W`
    pub unit: Unit,
    /// How values relate to each other.
    pub kind: Kind,
}

/// How a series' values are to be read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// A level at an instant: glucose, power, temperature.
    Gauge,
    /// A total that only grows, until it is reset or wraps: an energy register.
    Counter,
    /// An amount since the previous reading: rain in the last interval, insulin of a bolus.
    Delta,
    /// One of a few conditions: on or off, a mode.
    State,
    /// Free text.
    Text,
    /// A JSON object: a treatment, a loop status.
    Event,
}

impl Kind {
    /// The word used in configuration, in the API and in SenML extensions.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Delta => "delta",
            Self::State => "state",
            Self::Text => "text",
            Self::Event => "event",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that names no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of series; use gauge, counter, delta, state, text or event")]
pub struct BadKind(String);

impl FromStr for Kind {
    type Err = BadKind;

    fn from_str(word: &str) -> Result<Self, BadKind> {
        [Self::Gauge, Self::Counter, Self::Delta, Self::State, Self::Text, Self::Event]
            .into_iter()
            .find(|kind| kind.word() == word)
            .ok_or_else(|| BadKind(word.chars().take(40).collect()))
    }
}

/// A series' name: 1 to 64 bytes of `[A-Za-z0-9._:/-]`, starting with a letter or digit.
///
/// SenML names (RFC 8428, section 4.5.1) are a superset only in length, so that those devices keep theirs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SeriesName(String);

/// Text that is no series name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("series name `{0}` is not 1 to 64 of [A-Za-z0-9._:/-] starting with a letter or digit")]
pub struct BadSeriesName(String);

impl SeriesName {
    /// Bytes a name may have.
    pub const BYTES_MAX: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SeriesName {
    type Err = BadSeriesName;

    fn from_str(text: &str) -> Result<Self, BadSeriesName> {
        let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte);
        if starts_well && text.len() <= Self::BYTES_MAX && text.bytes().all(known) {
            return Ok(Self(text.to_string()));
        }
        Err(BadSeriesName(text.chars().take(80).collect()))
    }
}

impl fmt::Display for SeriesName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A UCUM unit in its case-sensitive form: `mg/dL`, `W`, `Cel`; `1` for a plain number.
///
/// The wire takes any text of UCUM's alphabet, up to 32 bytes, so that an old gateway need not refuse a new agent's
/// frame unread; [`Unit::is_known`] says whether this version knows it, and who accepts readings asks it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Unit(String);

/// Text that is no unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unit `{0}` is not a UCUM code of 1 to 32 printable ASCII characters without spaces")]
pub struct BadUnit(String);

/// Units this version knows, by the field they come from. Codes as in UCUM 2.1 (case sensitive), tables 1 to 12.
const KNOWN_UNITS: &[&str] = &[
    // plain numbers, shares and counts
    "1",
    "%",
    "[ppth]",
    "[ppm]",
    "[ppb]",
    "{count}",
    "{step}",
    "{score}",
    "[pH]",
    "10*3/uL",
    "dB",
    "dB[mW]",
    // glucose, ketones, insulin, food, vital signs
    "mg/dL",
    "mmol/L",
    "umol/L",
    "g/L",
    "nA",
    "pA",
    "U",
    "[iU]",
    "U/h",
    "[iU]/h",
    "mg/dL/min",
    "mmol/L/min",
    "g",
    "kg",
    "mg",
    "ug",
    "[lb_av]",
    "[oz_av]",
    "kcal",
    "/min",
    "{beats}/min",
    "mm[Hg]",
    "kPa",
    // time
    "s",
    "ms",
    "us",
    "min",
    "h",
    "d",
    "a",
    // electricity and energy
    "W",
    "kW",
    "MW",
    "mW",
    "VA",
    "kVA",
    "var",
    "kvar",
    "W.h",
    "kW.h",
    "MW.h",
    "VA.h",
    "var.h",
    "kvar.h",
    "J",
    "kJ",
    "MJ",
    "V",
    "mV",
    "kV",
    "A",
    "mA",
    "uA",
    "Ohm",
    "kOhm",
    "F",
    "Hz",
    "kHz",
    "A.h",
    "mA.h",
    "C",
    // weather, water, gas, air
    "Cel",
    "K",
    "[degF]",
    "Pa",
    "hPa",
    "bar",
    "mbar",
    "[psi]",
    "m",
    "mm",
    "cm",
    "km",
    "um",
    "L",
    "mL",
    "m3",
    "L/min",
    "L/h",
    "m3/h",
    "m/s",
    "km/h",
    "[kn_i]",
    "deg",
    "rad",
    "lx",
    "lm",
    "cd",
    "W/m2",
    "ug/m3",
    "mg/m3",
    "g/m3",
    "kg/m3",
    "m2",
    "m/s2",
    "N",
    "Bq",
    "Sv",
    "uSv/h",
    "mm/h",
    "uS/cm",
    "mS/cm",
    "[NTU]",
    // computers
    "By",
    "kBy",
    "MBy",
    "bit",
    "By/s",
    "bit/s",
];

impl Unit {
    /// Bytes a unit may have.
    pub const BYTES_MAX: usize = 32;

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this version knows the unit: a listed code, or an annotation such as `{pulses}`.
    #[must_use]
    pub fn is_known(&self) -> bool {
        let annotation = self.0.starts_with('{') && self.0.ends_with('}') && self.0.len() > 2;
        annotation || KNOWN_UNITS.contains(&self.0.as_str())
    }
}

impl FromStr for Unit {
    type Err = BadUnit;

    fn from_str(text: &str) -> Result<Self, BadUnit> {
        if !text.is_empty() && text.len() <= Self::BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_string()));
        }
        Err(BadUnit(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// serde by way of text, for the two checked strings above.
macro_rules! through_text {
    ($type:ty, $error:ty) => {
        impl TryFrom<String> for $type {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.0
            }
        }
    };
}
through_text!(SeriesName, BadSeriesName);
through_text!(Unit, BadUnit);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_by_case_and_judged_by_a_list() {
        assert!("mg/dL".parse::<Unit>().unwrap().is_known());
        assert!("{pulses}".parse::<Unit>().unwrap().is_known());
        assert!(!"mg/dl".parse::<Unit>().unwrap().is_known());
        assert!(!"{}".parse::<Unit>().unwrap().is_known());
        for bad in ["", "mg dL", "µg", &"x".repeat(33)] {
            assert!(bad.parse::<Unit>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_kind_is_read_back_from_its_word() {
        for kind in [Kind::Gauge, Kind::Counter, Kind::Delta, Kind::State, Kind::Text, Kind::Event] {
            assert_eq!(kind.word().parse(), Ok(kind));
        }
        assert!("Gauge".parse::<Kind>().is_err());
    }
}
