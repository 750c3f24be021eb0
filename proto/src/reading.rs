//! One value at one instant, with what its origin said about it.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Instant;

/// One value of one series at one instant.
#[derive(Clone, PartialEq, Debug)]
pub struct Reading {
    /// When, on the column's basis.
    pub time: Instant,
    /// What was measured.
    pub value: Value,
    /// Minutes east of UTC at the origin, where it gives its local time. Only on source time.
    pub utc_offset_minutes: Option<i16>,
    /// The origin's local time as it wrote it; only where instant and offset do not already say the same, such as a
    /// local time that did not exist.
    pub local_text: Option<Box<str>>,
    /// The origin's own record, where it names its records, so that it can be corrected later.
    pub origin: Option<Box<Origin>>,
}

impl Reading {
    /// A reading of which only instant and value are known.
    #[must_use]
    pub fn new(time: Instant, value: Value) -> Self {
        Self { time, value, utc_offset_minutes: None, local_text: None, origin: None }
    }

    /// Equality to the bit: two NaN of one payload are the same, `0.0` and `-0.0` are not.
    #[must_use]
    pub fn same_bits(&self, other: &Self) -> bool {
        self.time == other.time
            && self.value.same_bits(&other.value)
            && self.utc_offset_minutes == other.utc_offset_minutes
            && self.local_text == other.local_text
            && self.origin == other.origin
    }
}

/// What a reading says. It may concern a person's health, so it prints without its content.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// A finite or other IEEE 754 double; every bit of it is kept.
    Number(f64),
    /// On or off.
    Bool(bool),
    /// Words, at most [`crate::TEXT_BYTES_MAX`] bytes.
    Text(String),
    /// A JSON object of an event, at most [`crate::EVENT_BYTES_MAX`] bytes, kept as written.
    Json(String),
    /// No number, and the reason why.
    State(State),
    /// Nothing: what a retraction leaves.
    Absent,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number(_) => "Number(redacted)",
            Self::Bool(_) => "Bool(redacted)",
            Self::Text(_) => "Text(redacted)",
            Self::Json(_) => "Json(redacted)",
            Self::State(_) => "State(redacted)",
            Self::Absent => "Absent",
        })
    }
}

impl Value {
    /// Equality to the bit.
    #[must_use]
    pub fn same_bits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(left), Self::Number(right)) => left.to_bits() == right.to_bits(),
            _ => self == other,
        }
    }
}

/// Why there is no number. Codes and limits are kept as the device sent them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// Below what the sensor can measure; the limit or code it gave: `low(39)`.
    Low(i32),
    /// Above what the sensor can measure: `high(401)`.
    High(i32),
    /// The sensor has not settled yet.
    WarmingUp,
    /// The sensor failed, with its code: `sensor_error(9)`.
    SensorError(i32),
    /// A reading of control solution, not of a person; the value as shown: `control(108)`.
    Control(i32),
    /// The device asks to be calibrated before it measures on.
    CalibrationNeeded,
    /// A code this version has no word for, kept raw.
    Other(i32),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Low(code) => write!(f, "low({code})"),
            Self::High(code) => write!(f, "high({code})"),
            Self::WarmingUp => f.write_str("warming_up"),
            Self::SensorError(code) => write!(f, "sensor_error({code})"),
            Self::Control(code) => write!(f, "control({code})"),
            Self::CalibrationNeeded => f.write_str("calibration_needed"),
            Self::Other(code) => write!(f, "other({code})"),
        }
    }
}

impl core::str::FromStr for State {
    type Err = BadState;

    fn from_str(text: &str) -> Result<Self, BadState> {
        let bad = || BadState(text.chars().take(40).collect());
        match text {
            "warming_up" => return Ok(Self::WarmingUp),
            "calibration_needed" => return Ok(Self::CalibrationNeeded),
            _ => {}
        }
        let (word, rest) = text.split_once('(').ok_or_else(bad)?;
        let code = rest.strip_suffix(')').and_then(|code| code.parse().ok()).ok_or_else(bad)?;
        match word {
            "low" => Ok(Self::Low(code)),
            "high" => Ok(Self::High(code)),
            "sensor_error" => Ok(Self::SensorError(code)),
            "control" => Ok(Self::Control(code)),
            "other" => Ok(Self::Other(code)),
            _ => Err(bad()),
        }
    }
}

/// Text that is no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no state; states look like low(39), high(401), warming_up, sensor_error(9)")]
pub struct BadState(String);

/// The origin's own record that a reading comes from.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The origin's name for the record, at most [`crate::TEXT_BYTES_MAX`] bytes.
    pub id: String,
    /// Grows with each edit at the origin; 0 where it does not count.
    pub revision: u64,
    /// What became of the record.
    pub change: Change,
}

/// What a reading does to an earlier one of the same origin id. Nothing is edited in place: changes are appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash, Serialize, Deserialize)]
pub enum Change {
    /// A new record.
    #[default]
    Add,
    /// It takes the place of earlier revisions.
    Replace,
    /// The record was withdrawn; the value is [`Value::Absent`].
    Retract,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_value_does_not_show_what_it_holds() {
        for value in [Value::Number(118.0), Value::Text("118".into()), Value::State(State::Low(118))] {
            let shown = alloc::format!("{:?}", Reading::new(Instant(1), value));
            assert!(!shown.contains("118") && shown.contains("redacted"), "{shown}");
        }
    }

    #[test]
    fn every_state_is_read_back_from_its_text() {
        for state in [
            State::Low(39),
            State::High(401),
            State::WarmingUp,
            State::SensorError(-9),
            State::Control(108),
            State::CalibrationNeeded,
            State::Other(7),
        ] {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        for bad in ["", "low", "low(", "low(x)", "tepid(3)"] {
            assert!(bad.parse::<State>().is_err(), "{bad:?}");
        }
    }
}
