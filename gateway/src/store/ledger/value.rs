//! How one value lies in the columns `value`, `form`, `code` and `text`, exact to the bit.

use std::cmp::Ordering;

use proto::{State, Value};

use crate::store::sql::{Row, SqlError};

/// What kind of value a row holds: the column `form`. These numbers are on disk; they never change.
mod form {
    pub(super) const NUMBER: i64 = 0;
    /// A number that a database does not keep; its bits are in `code`.
    pub(super) const NUMBER_BITS: i64 = 1;
    pub(super) const BOOL: i64 = 2;
    pub(super) const TEXT: i64 = 3;
    pub(super) const JSON: i64 = 4;
    pub(super) const LOW: i64 = 5;
    pub(super) const HIGH: i64 = 6;
    pub(super) const WARMING_UP: i64 = 7;
    pub(super) const SENSOR_ERROR: i64 = 8;
    pub(super) const CONTROL: i64 = 9;
    pub(super) const CALIBRATION_NEEDED: i64 = 10;
    pub(super) const OTHER: i64 = 11;
    pub(super) const ABSENT: i64 = 12;
    /// Text and JSON where a database does not keep the character NUL; see [`super::escaped`].
    pub(super) const TEXT_ESCAPED: i64 = 13;
    pub(super) const JSON_ESCAPED: i64 = 14;
}

/// A value as it lies in its four columns.
pub(super) struct Cells<'a> {
    pub(super) value: Option<f64>,
    pub(super) form: i64,
    pub(super) code: Option<i64>,
    pub(super) text: Option<&'a str>,
}

impl<'a> Cells<'a> {
    /// Where `value` lies.
    pub(super) fn of(value: &'a Value) -> Self {
        let plain = |form| Self { value: None, form, code: None, text: None };
        let coded = |form, code: i32| Self { code: Some(i64::from(code)), ..plain(form) };
        match value {
            Value::Number(number) if number.is_nan() || (*number == 0.0 && number.is_sign_negative()) => Self {
                value: (!number.is_nan()).then_some(0.0),
                code: Some(number.to_bits().cast_signed()),
                ..plain(form::NUMBER_BITS)
            },
            Value::Number(number) => Self { value: Some(*number), ..plain(form::NUMBER) },
            Value::Bool(on) => Self { value: Some(f64::from(u8::from(*on))), ..plain(form::BOOL) },
            Value::Text(text) => Self { text: Some(text), ..plain(form::TEXT) },
            Value::Json(json) => Self { text: Some(json), ..plain(form::JSON) },
            Value::State(state) => match *state {
                State::Low(code) => coded(form::LOW, code),
                State::High(code) => coded(form::HIGH, code),
                State::WarmingUp => plain(form::WARMING_UP),
                State::SensorError(code) => coded(form::SENSOR_ERROR, code),
                State::Control(code) => coded(form::CONTROL, code),
                State::CalibrationNeeded => plain(form::CALIBRATION_NEEDED),
                State::Other(code) => coded(form::OTHER, code),
            },
            Value::Absent => plain(form::ABSENT),
        }
    }
}

/// The value in the four columns from `first` on: value, form, code, text.
///
/// Forms of a newer program read as the state `other` with the form as its code: shown, not hidden.
pub(in crate::store) fn read(row: &Row<'_>, first: usize) -> Result<Value, SqlError> {
    let form: i64 = row.get(first + 1)?;
    let number = || row.get::<f64>(first);
    let code = || -> Result<i32, SqlError> { row.get(first + 2) };
    let text = || row.get::<String>(first + 3);
    Ok(match form {
        form::NUMBER => Value::Number(number()?),
        form::NUMBER_BITS => Value::Number(f64::from_bits(row.get::<i64>(first + 2)?.cast_unsigned())),
        form::BOOL => Value::Bool(number()? != 0.0),
        form::TEXT => Value::Text(text()?),
        form::JSON => Value::Json(text()?),
        form::TEXT_ESCAPED => Value::Text(unescaped(&text()?)),
        form::JSON_ESCAPED => Value::Json(unescaped(&text()?)),
        form::LOW => Value::State(State::Low(code()?)),
        form::HIGH => Value::State(State::High(code()?)),
        form::WARMING_UP => Value::State(State::WarmingUp),
        form::SENSOR_ERROR => Value::State(State::SensorError(code()?)),
        form::CONTROL => Value::State(State::Control(code()?)),
        form::CALIBRATION_NEEDED => Value::State(State::CalibrationNeeded),
        form::OTHER => Value::State(State::Other(code()?)),
        form::ABSENT => Value::Absent,
        unknown => Value::State(State::Other(i32::try_from(unknown).unwrap_or(i32::MAX))),
    })
}

/// What a reading adds to a sum over many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::store) enum Share {
    /// A finite number; -0.0 is 0, as SQLite has it.
    Number(f64),
    /// `low`
    Below,
    /// `high`
    Above,
    /// Anything else.
    Other,
}

impl Share {
    /// The order of numbers; what is none comes after them.
    pub(in crate::store) fn height_cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(left), Self::Number(right)) => left.total_cmp(right),
            (Self::Number(_), _) => Ordering::Less,
            (_, Self::Number(_)) => Ordering::Greater,
            _ => Ordering::Equal,
        }
    }
}

/// What a reading adds to a sum over many.
pub(in crate::store) fn share(value: Option<f64>, form: i64) -> Share {
    match (form, value) {
        (form::NUMBER | form::NUMBER_BITS | form::BOOL, Some(value)) if value.is_finite() => Share::Number(value + 0.0),
        (form::LOW, _) => Share::Below,
        (form::HIGH, _) => Share::Above,
        _ => Share::Other,
    }
}

/// Form and text for a database that does not keep the character NUL, if there is one in it.
pub(in crate::store) fn escaped(form: i64, text: &str) -> Option<(i64, String)> {
    let form = if form == form::JSON { form::JSON_ESCAPED } else { form::TEXT_ESCAPED };
    text.contains('\0').then(|| (form, text.replace('\\', "\\\\").replace('\0', "\\0")))
}

/// The reverse.
fn unescaped(text: &str) -> String {
    let (mut plain, mut characters) = (String::with_capacity(text.len()), text.chars());
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.push(if characters.next() == Some('0') { '\0' } else { '\\' }),
            other => plain.push(other),
        }
    }
    plain
}

/// How high a reading stands among others: `low` below and `high` above any number. None for what is neither.
pub(in crate::store) fn height(value: Option<f64>, form: i64) -> Option<f64> {
    match form {
        form::NUMBER | form::NUMBER_BITS | form::BOOL => value,
        form::LOW => Some(f64::NEG_INFINITY),
        form::HIGH => Some(f64::INFINITY),
        _ => None,
    }
}
