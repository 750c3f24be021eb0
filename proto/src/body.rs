//! Readings sealed together: one column per series, and nothing needed from outside to understand them.
//!
//! Shape: version, key id (0 = plain), boot id, columns. A column: series, basis, count, times, values, then what few
//! columns have: the origin's local time and record.
//!
//! Decoding allocates at most 64 bytes for each reading and 8 times the input besides; 65 536 readings is the most.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::reading::{Origin, Reading, Value};
use crate::series::{Kind, Series};
use crate::time::{Basis, BootId};
use crate::wire::{DecodeError, Reader, VERSION, put};
use crate::{BODY_READINGS_MAX, BODY_SERIES_MAX, EVENT_BYTES_MAX, TEXT_BYTES_MAX};

mod decimal;
mod float;
mod integers;
mod packing;
mod text;
mod times;
mod values;

/// Readings that were sealed together in one boot.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Body {
    /// The boot they were sealed in; times of basis `boot` count from its start.
    pub boot: BootId,
    /// One for each series and basis.
    pub columns: Vec<Column>,
}

/// One series' readings, in the order in which they were taken in.
#[derive(Clone, PartialEq, Debug)]
pub struct Column {
    /// What they measure.
    pub series: Series,
    /// What their times count from.
    pub basis: Basis,
    /// The readings.
    pub readings: Vec<Reading>,
}

/// The first half of the SHA-256 of a body's bytes: its identity's witness.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BodyHash(pub [u8; 16]);

impl BodyHash {
    /// The hash of sealed bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let mut half = [0; 16];
        half.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(half)
    }
}

impl fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Why readings cannot be sealed into one body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Seal them into more than one body.
    #[error("{found} {what} are more than the {max} that one body takes")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        found: usize,
        /// How much there may be.
        max: usize,
    },
    /// One value is longer than any body takes.
    #[error("a text of {bytes} bytes is more than the {max} that a reading takes")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The bound.
        max: usize,
    },
}

/// What a column says before its readings.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    name: &'a str,
    unit: &'a str,
    kind: Kind,
    basis: Basis,
    extras: u8,
}

/// Bits of [`Head::extras`].
const HAS_OFFSETS: u8 = 1;
const HAS_LOCAL_TEXTS: u8 = 2;
const HAS_ORIGINS: u8 = 4;

impl Body {
    /// How many readings there are.
    #[must_use]
    pub fn readings(&self) -> usize {
        self.columns.iter().map(|column| column.readings.len()).sum()
    }

    /// The sealed bytes. Fails where a bound is passed; what is sealed is decoded to the same bits.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        self.check_bounds()?;
        let mut bytes = Vec::with_capacity(64 + 2 * self.readings());
        bytes.push(VERSION);
        put(&mut bytes, &(0_u32, self.boot, self.columns.len() as u64));
        self.columns.iter().for_each(|column| column.encode(&mut bytes));
        Ok(bytes)
    }

    fn check_bounds(&self) -> Result<(), EncodeError> {
        let within =
            |what, found, max| if found > max { Err(EncodeError::TooMany { what, found, max }) } else { Ok(()) };
        within("series", self.columns.len(), BODY_SERIES_MAX)?;
        within("readings", self.readings(), BODY_READINGS_MAX)?;
        for column in &self.columns {
            let lengths = column.readings.iter().map(text_bytes);
            if let Some((bytes, max)) = lengths.clone().find(|(bytes, max)| bytes > max) {
                return Err(EncodeError::TooLong { bytes, max });
            }
            within("bytes of one column's text", lengths.map(|(bytes, _)| bytes).sum(), text::EXPANDED_BYTES_MAX)?;
        }
        Ok(())
    }

    /// The readings in `bytes`. Any bytes give a body or an error.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::versioned(bytes)?;
        let key: u32 = reader.take("key id")?;
        if key != 0 {
            return Err(DecodeError::Key(key));
        }
        let boot = reader.take("boot id")?;
        let mut columns = Vec::new();
        let mut left = BODY_READINGS_MAX;
        for _ in 0..reader.count("series", BODY_SERIES_MAX)? {
            let column = Column::decode(&mut reader, left)?;
            left -= column.readings.len();
            columns.push(column);
        }
        reader.finish()?;
        Ok(Self { boot, columns })
    }
}

/// The longest text of a reading, with its bound.
fn text_bytes(reading: &Reading) -> (usize, usize) {
    let value = match &reading.value {
        Value::Text(text) => (text.len(), TEXT_BYTES_MAX),
        Value::Json(json) => (json.len(), EVENT_BYTES_MAX),
        _ => (0, TEXT_BYTES_MAX),
    };
    let local = reading.local_text.as_ref().map_or(0, |text| text.len());
    let origin = reading.origin.as_ref().map_or(0, |origin| origin.id.len());
    [value, (local, TEXT_BYTES_MAX), (origin, TEXT_BYTES_MAX)].into_iter().max().unwrap_or(value)
}

impl Column {
    fn extras(&self) -> u8 {
        let any = |has: fn(&Reading) -> bool, bit| if self.readings.iter().any(has) { bit } else { 0 };
        any(|reading| reading.utc_offset_minutes.is_some(), HAS_OFFSETS)
            | any(|reading| reading.local_text.is_some(), HAS_LOCAL_TEXTS)
            | any(|reading| reading.origin.is_some(), HAS_ORIGINS)
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        let Series { name, unit, kind } = &self.series;
        let extras = self.extras();
        put(bytes, &Head { name: name.as_str(), unit: unit.as_str(), kind: *kind, basis: self.basis, extras });
        put(bytes, &(self.readings.len() as u64));
        let times: Vec<i64> = self.readings.iter().map(|reading| reading.time.0).collect();
        times::encode(&times, bytes);
        values::encode(self.readings.iter().map(|reading| &reading.value), bytes);
        if extras & HAS_OFFSETS != 0 {
            for run in self.readings.chunk_by(|left, right| left.utc_offset_minutes == right.utc_offset_minutes) {
                put(bytes, &(run.first().and_then(|reading| reading.utc_offset_minutes), run.len() as u64));
            }
        }
        if extras & HAS_LOCAL_TEXTS != 0 {
            encode_sparse(self.readings.iter().map(|reading| reading.local_text.as_deref()), bytes);
        }
        if extras & HAS_ORIGINS != 0 {
            encode_sparse(self.readings.iter().map(|reading| reading.origin.as_deref()), bytes);
        }
    }

    fn decode(reader: &mut Reader<'_>, readings_max: usize) -> Result<Self, DecodeError> {
        let head: Head<'_> = reader.take("series head")?;
        let count: u64 = reader.take("readings' count")?;
        let count = usize::try_from(count).ok().filter(|count| *count <= readings_max).ok_or(DecodeError::TooMany {
            what: "readings",
            found: count,
            max: BODY_READINGS_MAX as u64,
        })?;
        let name = head.name.parse().map_err(|_| DecodeError::Malformed("series name"))?;
        let unit = head.unit.parse().map_err(|_| DecodeError::Malformed("unit"))?;
        let times = times::decode(reader, count)?;
        let values = values::decode(reader, count)?;
        let mut readings: Vec<Reading> =
            times.into_iter().zip(values).map(|(time, value)| Reading::new(time, value)).collect();
        decode_extras(reader, head.extras, &mut readings)?;
        Ok(Self { series: Series { name, unit, kind: head.kind }, basis: head.basis, readings })
    }
}

fn decode_extras(reader: &mut Reader<'_>, extras: u8, readings: &mut [Reading]) -> Result<(), DecodeError> {
    if extras & !(HAS_OFFSETS | HAS_LOCAL_TEXTS | HAS_ORIGINS) != 0 {
        return Err(DecodeError::Malformed("series head"));
    }
    if extras & HAS_OFFSETS != 0 {
        let mut left = &mut *readings;
        while !left.is_empty() {
            let (offset, run): (Option<i16>, u64) = reader.take("utc offset")?;
            let run = usize::try_from(run).ok().filter(|run| (1..=left.len()).contains(run));
            let (now, later) = left.split_at_mut(run.ok_or(DecodeError::Malformed("utc offset's run"))?);
            now.iter_mut().for_each(|reading| reading.utc_offset_minutes = offset);
            left = later;
        }
    }
    if extras & HAS_LOCAL_TEXTS != 0 {
        decode_sparse(reader, readings, "local time", |reading, text: &str| {
            reading.local_text = Some(Box::from(text));
            text.len()
        })?;
    }
    if extras & HAS_ORIGINS != 0 {
        decode_sparse(reader, readings, "origin", |reading, origin: Origin| {
            let bytes = origin.id.len();
            reading.origin = Some(Box::new(origin));
            bytes
        })?;
    }
    Ok(())
}

/// Appends those of `items` that are there, each behind its distance from the one before.
fn encode_sparse<T: Serialize>(items: impl Iterator<Item = Option<T>>, bytes: &mut Vec<u8>) {
    let present: Vec<(usize, T)> = items.enumerate().filter_map(|(place, item)| Some((place, item?))).collect();
    put(bytes, &(present.len() as u64));
    let mut next = 0;
    for (place, item) in present {
        put(bytes, &((place - next) as u64, item));
        next = place + 1;
    }
}

/// Hands each item to `set` with the reading it belongs to; `set` answers how many bytes of text it has.
fn decode_sparse<'a, T: Deserialize<'a>>(
    reader: &mut Reader<'a>,
    readings: &mut [Reading],
    what: &'static str,
    mut set: impl FnMut(&mut Reading, T) -> usize,
) -> Result<(), DecodeError> {
    let mut left = readings.iter_mut();
    for _ in 0..reader.count(what, left.len())? {
        let (gap, item): (u64, T) = reader.take(what)?;
        let gap = usize::try_from(gap).unwrap_or(usize::MAX);
        let reading = left.nth(gap).ok_or(DecodeError::Malformed(what))?;
        let found = set(reading, item);
        if found > TEXT_BYTES_MAX {
            return Err(DecodeError::TooMany { what, found: found as u64, max: TEXT_BYTES_MAX as u64 });
        }
    }
    Ok(())
}

/// Gathers readings into columns, in the order in which they come. What the sealer fills.
#[derive(Default)]
pub struct Gatherer {
    columns: Vec<Column>,
    readings: usize,
    /// Series seen, so that a body's bound on series can be kept before it is passed.
    seen: BTreeSet<(Series, Basis)>,
}

impl Gatherer {
    /// Whether nothing was gathered yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.readings == 0
    }

    /// How many readings were gathered.
    #[must_use]
    pub fn readings(&self) -> usize {
        self.readings
    }

    /// Whether a reading of `series` could still be added.
    #[must_use]
    pub fn has_room_for(&self, series: &Series, basis: Basis) -> bool {
        let known = self.seen.contains(&(series.clone(), basis));
        self.readings < BODY_READINGS_MAX && (known || self.columns.len() < BODY_SERIES_MAX)
    }

    /// Adds a reading to its column.
    pub fn add(&mut self, series: &Series, basis: Basis, reading: Reading) {
        self.readings += 1;
        let same = |column: &&mut Column| column.series == *series && column.basis == basis;
        if let Some(column) = self.columns.iter_mut().find(same) {
            column.readings.push(reading);
            return;
        }
        self.seen.insert((series.clone(), basis));
        self.columns.push(Column { series: series.clone(), basis, readings: Vec::from([reading]) });
    }

    /// What was gathered, as a body of `boot`; leaves nothing behind.
    pub fn take(&mut self, boot: BootId) -> Body {
        let Self { columns, .. } = core::mem::take(self);
        Body { boot, columns }
    }
}
