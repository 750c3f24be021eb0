//! A column's values: the few that do not fit its shape one by one, then all others in that shape.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::packing::{BitReader, BitWriter};
use super::{decimal, float, integers, text};
use crate::reading::{State, Value};
use crate::wire::{DecodeError, Reader, put};
use crate::{EVENT_BYTES_MAX, TEXT_BYTES_MAX};

/// What most values of a column are. The order is the wire's.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Shape {
    /// Whole numbers of a power of ten, which follows.
    Decimal(u8),
    /// Doubles as they are.
    Float,
    Bits,
    Text,
    Json,
}

/// A value that does not fit its column's shape.
#[derive(Serialize, Deserialize)]
enum Odd<'a> {
    State(State),
    Absent,
    Number([u8; 8]),
    Bool(bool),
    Text(&'a str),
    Json(&'a str),
}

impl<'a> Odd<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::State(state) => Self::State(*state),
            Value::Absent => Self::Absent,
            Value::Number(number) => Self::Number(number.to_bits().to_be_bytes()),
            Value::Bool(on) => Self::Bool(*on),
            Value::Text(text) => Self::Text(text),
            Value::Json(json) => Self::Json(json),
        }
    }

    fn into_value(self) -> Result<Value, DecodeError> {
        Ok(match self {
            Self::State(state) => Value::State(state),
            Self::Absent => Value::Absent,
            Self::Number(bits) => Value::Number(f64::from_bits(u64::from_be_bytes(bits))),
            Self::Bool(on) => Value::Bool(on),
            Self::Text(text) => Value::Text(bounded(text, TEXT_BYTES_MAX)?),
            Self::Json(json) => Value::Json(bounded(json, EVENT_BYTES_MAX)?),
        })
    }
}

fn bounded(text: &str, bytes_max: usize) -> Result<String, DecodeError> {
    if text.len() > bytes_max {
        let (found, max) = (text.len() as u64, bytes_max as u64);
        return Err(DecodeError::TooMany { what: "bytes of text", found, max });
    }
    Ok(text.into())
}

/// Appends `values`; their count is the reader's business.
pub(super) fn encode<'a>(values: impl Iterator<Item = &'a Value> + Clone, bytes: &mut Vec<u8>) {
    // Nearly all columns are plain numbers, and need no looking for what is odd.
    if let Some(numbers) = values.clone().map(plain_number).collect::<Option<Vec<f64>>>() {
        put(bytes, &0_u64);
        return encode_numbers(&numbers, bytes);
    }
    let class = commonest(values.clone());
    let fits = |value: &Value| class.holds(value);
    let odd = values.clone().enumerate().filter(|(_, value)| !fits(value));
    let odd: Vec<(usize, &Value)> = odd.collect();
    put(bytes, &(odd.len() as u64));
    let mut next = 0;
    for (place, value) in &odd {
        put(bytes, &((place - next) as u64));
        put(bytes, &Odd::of(value));
        next = place + 1;
    }
    let fitting = values.filter(|value| fits(value));
    match class {
        Class::Number => encode_numbers(&fitting.filter_map(plain_number).collect::<Vec<f64>>(), bytes),
        Class::Bool => {
            put(bytes, &Shape::Bits);
            let mut writer = BitWriter::new(bytes);
            fitting.for_each(|value| writer.put(u64::from(*value == Value::Bool(true)), 1));
            writer.finish();
        }
        Class::Text => encode_texts(Shape::Text, fitting, bytes),
        Class::Json => encode_texts(Shape::Json, fitting, bytes),
    }
}

/// Which of a column's values its shape is made for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Number,
    Bool,
    Text,
    Json,
}

impl Class {
    fn holds(self, value: &Value) -> bool {
        match value {
            Value::Number(_) => self == Self::Number && plain_number(value).is_some(),
            Value::Bool(_) => self == Self::Bool,
            Value::Text(_) => self == Self::Text,
            Value::Json(_) => self == Self::Json,
            Value::State(_) | Value::Absent => false,
        }
    }
}

/// The number, if it is one that decimals can hold: one NaN or -0.0 must not turn a column of short decimals into one
/// of long doubles.
fn plain_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) if number.is_finite() && number.to_bits() != (-0.0_f64).to_bits() => Some(*number),
        _ => None,
    }
}

fn commonest<'a>(values: impl Iterator<Item = &'a Value> + Clone) -> Class {
    let count = |class: Class| values.clone().filter(|value| class.holds(value)).count();
    let counts =
        [(Class::Number, count(Class::Number)), (Class::Bool, count(Class::Bool)), (Class::Text, count(Class::Text))];
    let most = counts.into_iter().chain([(Class::Json, count(Class::Json))]).max_by_key(|(_, count)| *count);
    most.map_or(Class::Number, |(class, _)| class)
}

fn encode_numbers(numbers: &[f64], bytes: &mut Vec<u8>) {
    match decimal::shortest(numbers) {
        Some((scale, whole)) => {
            put(bytes, &Shape::Decimal(scale));
            integers::encode(whole.iter().copied(), bytes);
        }
        None => {
            put(bytes, &Shape::Float);
            float::encode(numbers, bytes);
        }
    }
}

fn encode_texts<'a>(shape: Shape, values: impl Iterator<Item = &'a Value>, bytes: &mut Vec<u8>) {
    put(bytes, &shape);
    let texts: Vec<&str> = values
        .filter_map(|value| if let Value::Text(text) | Value::Json(text) = value { Some(text.as_str()) } else { None })
        .collect();
    text::encode(&texts, bytes);
}

/// Takes `count` values.
pub(super) fn decode(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Value>, DecodeError> {
    let mut odd = Vec::new();
    let mut left = count - reader.count("odd values", count)?;
    let fitting = left;
    for _ in fitting..count {
        let gap: u64 = reader.take("odd value's place")?;
        let gap =
            usize::try_from(gap).ok().filter(|gap| *gap <= left).ok_or(DecodeError::Malformed("odd value's place"))?;
        left -= gap;
        odd.push((gap, reader.take::<Odd<'_>>("odd value")?.into_value()?));
    }
    let shaped = decode_shaped(reader, fitting)?;
    if odd.is_empty() {
        return Ok(shaped);
    }
    let mut shaped = shaped.into_iter();
    let mut values = Vec::with_capacity(count);
    for (gap, value) in odd {
        values.extend(shaped.by_ref().take(gap));
        values.push(value);
    }
    values.extend(shaped);
    Ok(values)
}

fn decode_shaped(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Value>, DecodeError> {
    Ok(match reader.take("shape")? {
        Shape::Decimal(scale) => {
            let whole = integers::decode(reader, count, "decimals")?;
            let numbers = whole.into_iter().map(|whole| decimal::number_of(whole, scale).map(Value::Number));
            numbers.collect::<Option<_>>().ok_or(DecodeError::Malformed("decimal scale"))?
        }
        Shape::Float => float::decode(reader, count)?.into_iter().map(Value::Number).collect(),
        Shape::Bits => {
            let mut bits = BitReader::new(reader.rest());
            let values: Result<_, _> = (0..count).map(|_| Ok(Value::Bool(bits.take(1)? == 1))).collect();
            reader.skip(bits.used());
            values?
        }
        Shape::Text => text::decode(reader, count, TEXT_BYTES_MAX)?.into_iter().map(Value::Text).collect(),
        Shape::Json => text::decode(reader, count, EVENT_BYTES_MAX)?.into_iter().map(Value::Json).collect(),
    })
}
