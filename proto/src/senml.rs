//! SenML (RFC 8428) in JSON and CBOR: packs of devices that are not our agent, as columns.
//!
//! Base fields are added, names are joined and checked, units become UCUM, times become absolute. `v` is a gauge, `vb`
//! a state, `vs` a text, and `s`, a sum over time, a counter in unit times second (RFC 8428, section 4.3). Data values
//! (`vd`) have no place in a series and are refused.
//!
//! A pack is taken whole or not at all. Memory: at most 160 bytes a reading beside the texts, and 65 536 readings.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::body::Column;
use crate::reading::{Reading, Value};
use crate::series::{Kind, Series, SeriesName, Unit};
use crate::time::{Basis, Instant};
use crate::{BODY_READINGS_MAX, BODY_SERIES_MAX, FRAME_BYTES_MAX, TEXT_BYTES_MAX};

mod record;
mod units;

use record::{Field, Raw, Records, Scalar};

/// Times below this many seconds count from now, others from the Unix epoch (RFC 8428, section 4.5.3: 2^28 s).
const RELATIVE_BELOW_US: i64 = (1 << 28) * 1_000_000;
/// The last second of the year 9999: beyond it a time is a mistake, and microseconds stay far from their end.
const SECONDS_MAX: f64 = 253_402_300_799.0;
/// Versions understood: 10 is RFC 8428; 26 adds the secondary units of RFC 8798 (RFC 9100, section 2: 10 + 2^4).
const VERSIONS: [f64; 2] = [10.0, 26.0];

/// What a pack says.
#[derive(Clone, PartialEq, Debug)]
pub struct Pack {
    /// One for each series, in the order in which they come; all on source time.
    pub columns: Vec<Column>,
    /// Whether no time counted from `now`: only such a pack says the same whenever it comes.
    pub all_absolute: bool,
}

/// Why bytes are no pack. Records count from 1. Values are not repeated: they may concern a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SenmlError {
    /// Longer than any publish.
    #[error("a pack of {bytes} bytes is more than {FRAME_BYTES_MAX}; send several")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Nothing, or an array of nothing.
    #[error("the pack holds no records")]
    Empty,
    /// Neither a JSON nor a CBOR array.
    #[error("a pack starts with `[` in JSON or an array in CBOR, not with byte {0:#04x}")]
    NotAPack(u8),
    /// No JSON or CBOR, or too deeply nested.
    #[error("not a well-formed pack in {format}: {problem}")]
    Malformed {
        /// `JSON` or `CBOR`.
        format: &'static str,
        /// What the parser says, with the place.
        problem: String,
    },
    /// More than one body takes.
    #[error("more than {max} {what} in one pack; send several")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        max: usize,
    },
    /// A field of one record.
    #[error("record {record}, field `{field}`: {problem}")]
    Field {
        /// Which record, from 1.
        record: usize,
        /// Its label as in JSON.
        field: String,
        /// What is wrong and what would be right.
        problem: String,
    },
}

/// The pack in `bytes`, JSON or CBOR by its first byte; `now` is what relative times count from.
///
/// # Errors
/// [`SenmlError`], naming the record and the field where it can.
pub fn parse(bytes: &[u8], now: Instant) -> Result<Pack, SenmlError> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(SenmlError::TooLarge { bytes: bytes.len() });
    }
    let first = bytes.iter().copied().find(|byte| !byte.is_ascii_whitespace()).ok_or(SenmlError::Empty)?;
    let records = match (first, bytes.first()) {
        (b'[', _) => record::from_json(bytes),
        (_, Some(0x80..=0x9b | 0x9f)) => record::from_cbor(bytes), // CBOR major type 4 (RFC 8949, section 3.1)
        (other, _) => return Err(SenmlError::NotAPack(other)),
    };
    let Records(gathered) = records?;
    gathered?.finish(now)
}

/// What base fields and earlier records said so far, and the columns gathered.
#[derive(Default)]
struct Resolver {
    record: usize,
    readings: usize,
    name: String,
    time_us: i64,
    unit: Option<Unit>,
    value: Option<f64>,
    sum: f64,
    version: Option<f64>,
    columns: Vec<Column>,
    places: BTreeMap<Series, usize>,
}

impl Resolver {
    /// Takes the next record in.
    fn take(&mut self, mut raw: Raw) -> Result<(), SenmlError> {
        self.record += 1;
        if let Some((label, problem)) = raw.problem.take() {
            return Err(self.error(&label, problem));
        }
        let only_base = raw.only_base();
        self.take_base(&mut raw)?;
        if only_base {
            return Ok(());
        }
        if raw.take(Field::Vd).is_some() {
            return Err(self.error("vd", "data values are not supported; send a number, a text or a boolean"));
        }
        let name = self.name(&mut raw)?;
        let unit = self.unit_of(&mut raw, Field::U)?.or_else(|| self.unit.clone());
        let unit = unit.unwrap_or_else(units::plain);
        let time = Instant(self.time_us.saturating_add(self.micros(&mut raw, Field::T)?.unwrap_or(0)));
        self.micros(&mut raw, Field::Ut)?;
        let sum = self.number(&mut raw, Field::S)?.map(|sum| sum + self.sum);
        let value = self.value(&mut raw, sum.is_some())?;
        if let Some((value, kind)) = value {
            self.add(Series { name: name.clone(), unit: unit.clone(), kind }, time, value)?;
        }
        if let Some(sum) = sum {
            let unit = units::over_time(&unit).ok_or_else(|| self.error("u", "too long to be summed over time"))?;
            self.add(Series { name, unit, kind: Kind::Counter }, time, Value::Number(self.finite("s", sum)?))?;
        }
        Ok(())
    }

    /// Base fields hold for their own record and all that follow.
    fn take_base(&mut self, raw: &mut Raw) -> Result<(), SenmlError> {
        if let Some(version) = self.number(raw, Field::Bver)? {
            let same = self.version.is_none_or(|before| before.to_bits() == version.to_bits());
            if !VERSIONS.contains(&version) || !same {
                return Err(self.error("bver", "only versions 10 and 26 are understood, the same in all records"));
            }
            self.version = Some(version);
        }
        if let Some(name) = self.text(raw, Field::Bn)? {
            if name.len() > SeriesName::BYTES_MAX {
                return Err(self.error("bn", format!("longer than the {} bytes of a name", SeriesName::BYTES_MAX)));
            }
            self.name = name;
        }
        if let Some(micros) = self.micros(raw, Field::Bt)? {
            self.time_us = micros;
        }
        if let Some(unit) = self.unit_of(raw, Field::Bu)? {
            self.unit = Some(unit);
        }
        self.value = self.number(raw, Field::Bv)?.or(self.value);
        self.sum = self.number(raw, Field::Bs)?.unwrap_or(self.sum);
        Ok(())
    }

    fn name(&self, raw: &mut Raw) -> Result<SeriesName, SenmlError> {
        let own = self.text(raw, Field::N)?.unwrap_or_default();
        if own.len() > SeriesName::BYTES_MAX {
            return Err(self.error("n", format!("longer than the {} bytes of a name", SeriesName::BYTES_MAX)));
        }
        format!("{}{own}", self.name).parse().map_err(|error| self.error("n", format!("{error}")))
    }

    /// The one value of a record; with a sum there need not be one, and a base value alone is a value too.
    fn value(&self, raw: &mut Raw, has_sum: bool) -> Result<Option<(Value, Kind)>, SenmlError> {
        let number = self.number(raw, Field::V)?;
        let switch = self.switch(raw)?;
        let text = self.text(raw, Field::Vs)?;
        match (number, switch, text) {
            (Some(number), None, None) => {
                let number = self.finite("v", self.value.map_or(number, |base| base + number))?;
                Ok(Some((Value::Number(number), Kind::Gauge)))
            }
            (None, Some(switch), None) => Ok(Some((Value::Bool(switch), Kind::State))),
            (None, None, Some(text)) if text.len() > TEXT_BYTES_MAX => {
                Err(self.error("vs", format!("{} bytes are more than the {TEXT_BYTES_MAX} of a text", text.len())))
            }
            (None, None, Some(text)) => Ok(Some((Value::Text(text), Kind::Text))),
            (None, None, None) if has_sum => Ok(None),
            (None, None, None) => match self.value {
                Some(base) => Ok(Some((Value::Number(base), Kind::Gauge))),
                None => Err(self.error("v", "no value; a record needs one of v, vb, vs or s")),
            },
            _ => Err(self.error("v", "more than one value; a record has one of v, vb and vs")),
        }
    }

    fn add(&mut self, series: Series, time: Instant, value: Value) -> Result<(), SenmlError> {
        if self.readings == BODY_READINGS_MAX {
            return Err(SenmlError::TooMany { what: "readings", max: BODY_READINGS_MAX });
        }
        self.readings += 1;
        let place = *self.places.entry(series.clone()).or_insert(self.columns.len());
        if place == self.columns.len() {
            if place == BODY_SERIES_MAX {
                return Err(SenmlError::TooMany { what: "series", max: BODY_SERIES_MAX });
            }
            self.columns.push(Column { series, basis: Basis::Source, readings: Vec::new() });
        }
        if let Some(column) = self.columns.get_mut(place) {
            column.readings.push(Reading::new(time, value));
        }
        Ok(())
    }

    /// The pack, its relative times made absolute.
    fn finish(mut self, now: Instant) -> Result<Pack, SenmlError> {
        if self.record == 0 {
            return Err(SenmlError::Empty);
        }
        let mut all_absolute = true;
        let readings = self.columns.iter_mut().flat_map(|column| column.readings.iter_mut());
        for reading in readings.filter(|reading| reading.time.0 < RELATIVE_BELOW_US) {
            reading.time.0 = reading.time.0.saturating_add(now.0);
            all_absolute = false;
        }
        Ok(Pack { columns: self.columns, all_absolute })
    }

    fn number(&self, raw: &mut Raw, field: Field) -> Result<Option<f64>, SenmlError> {
        match raw.take(field) {
            None => Ok(None),
            Some(Scalar::Number(number)) => self.finite(field.label(), number).map(Some),
            Some(_) => Err(self.error(field.label(), "is to be a number")),
        }
    }

    fn finite(&self, label: &str, number: f64) -> Result<f64, SenmlError> {
        let problem = "is to be a finite number; what has no number is to be left out";
        number.is_finite().then_some(number).ok_or_else(|| self.error(label, problem))
    }

    fn text(&self, raw: &mut Raw, field: Field) -> Result<Option<String>, SenmlError> {
        match raw.take(field) {
            None => Ok(None),
            Some(Scalar::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.error(field.label(), "is to be a text")),
        }
    }

    fn switch(&self, raw: &mut Raw) -> Result<Option<bool>, SenmlError> {
        match raw.take(Field::Vb) {
            None => Ok(None),
            Some(Scalar::Bool(switch)) => Ok(Some(switch)),
            Some(_) => Err(self.error("vb", "is to be true or false")),
        }
    }

    /// Seconds as microseconds, to the nearest.
    fn micros(&self, raw: &mut Raw, field: Field) -> Result<Option<i64>, SenmlError> {
        let Some(seconds) = self.number(raw, field)? else { return Ok(None) };
        if seconds.abs() > SECONDS_MAX {
            return Err(self.error(field.label(), "is beyond the year 9999; times are in seconds"));
        }
        let micros = seconds * 1e6;
        #[expect(clippy::cast_possible_truncation, reason = "bounded above to 2.6e17")]
        Ok(Some((micros + if micros < 0.0 { -0.5 } else { 0.5 }) as i64))
    }

    fn unit_of(&self, raw: &mut Raw, field: Field) -> Result<Option<Unit>, SenmlError> {
        let Some(text) = self.text(raw, field)? else { return Ok(None) };
        let short: String = text.chars().take(40).collect();
        let problem = || format!("`{short}` is neither a SenML unit (RFC 8428, RFC 8798) nor a UCUM code known here");
        units::to_ucum(&text).map(Some).ok_or_else(|| self.error(field.label(), problem()))
    }

    fn error(&self, field: &str, problem: impl Into<String>) -> SenmlError {
        SenmlError::Field { record: self.record, field: field.into(), problem: problem.into() }
    }
}

#[cfg(test)]
mod tests;
