//! What a metric's value means, by the data type of its birth (Eclipse Sparkplug 3.0.0, section 6.4.16).

use proto::{Kind, Value};

use super::wire::Raw;
use crate::source::fields::{Cell, Field};

/// The value for `field`, or what is wrong with it without repeating it.
pub(super) fn value(field: &Field, datatype: u32, raw: Raw<'_>) -> Result<Option<Value>, String> {
    let text = match (datatype, raw) {
        (1..=8 | 13, Raw::Integer(bits)) => integer(field, datatype, bits)?,
        (9, Raw::Float(value)) => f64::from(value).to_string(),
        (10, Raw::Double(value)) => value.to_string(),
        (11, Raw::Boolean(value)) => return field.value(Cell::Bool(value)),
        (12 | 14 | 15, Raw::Text(text)) => return field.value(Cell::Text(text.into())),
        (0..=15, _) => return Err(format!("is not carried as its data type {datatype} is")),
        _ => return Err(format!("is of the data type {datatype}, which is no single value")),
    };
    field.value(Cell::Number(&text))
}

/// An integer as text: signed ones are two's complement in the lower bits.
fn integer(field: &Field, datatype: u32, bits: u64) -> Result<String, String> {
    let [b0, b1, b2, b3, ..] = bits.to_le_bytes();
    let fits = |max: u64| if bits <= max { Ok(bits.to_string()) } else { Err("is beyond its data type".to_owned()) };
    let signed = match datatype {
        1 => i64::from(i8::from_le_bytes([b0])),
        2 => i64::from(i16::from_le_bytes([b0, b1])),
        3 => i64::from(i32::from_le_bytes([b0, b1, b2, b3])),
        4 => i64::from_le_bytes(bits.to_le_bytes()),
        5 => return fits(u8::MAX.into()),
        6 => return fits(u16::MAX.into()),
        7 => return fits(u32::MAX.into()),
        _ => return exact(field, bits).map(|()| bits.to_string()),
    };
    exact(field, signed.unsigned_abs())?;
    Ok(signed.to_string())
}

/// Numbers are held in 64 bits of floating point, of which 53 count.
fn exact(field: &Field, size: u64) -> Result<(), String> {
    let counting = u64::BITS.saturating_sub(size.leading_zeros()).saturating_sub(size.trailing_zeros());
    match field.series.kind {
        Kind::Text => Ok(()),
        _ if counting <= 53 => Ok(()),
        _ => Err("has more digits than a number holds exactly; `kind = \"text\"` keeps them".into()),
    }
}
