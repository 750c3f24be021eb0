//! One line into readings: what files and wires have in common.

use proto::{Basis, Instant};

use super::BadSetting;
use super::fields::{Key, Mapping, Taken};
use super::format::{LineFormat, Row};
use super::times::{Stamp, TimeReader, TimeSettings};

/// Reads lines as a source's settings say.
#[derive(Debug)]
pub(super) struct Parser {
    pub(super) format: LineFormat,
    pub(super) mapping: Mapping,
    /// Where a line's own time is, if it has one.
    pub(super) time: Option<TimeField>,
    /// How many fields a line must have, where that is known.
    pub(super) columns: Option<usize>,
}

/// The field that holds a line's time.
#[derive(Debug)]
pub(super) struct TimeField {
    /// As the settings name it.
    pub(super) label: Key,
    /// Where it is found: a header's name has become a number.
    pub(super) key: Key,
    reader: TimeReader,
}

impl TimeField {
    /// Checks the settings.
    pub(super) fn new(settings: &TimeSettings, time_zone: Option<&str>) -> Result<Self, BadSetting> {
        let reader = TimeReader::new(settings, time_zone)?;
        Ok(Self { label: settings.column.clone(), key: settings.column.clone(), reader })
    }
}

impl Parser {
    /// The readings in `line`, stamped with its own time or else with `arrival`; none for a blank line. Fails, without
    /// repeating values, where nothing in it can be used.
    pub(super) fn read(&self, line: &[u8], arrival: Instant) -> Result<Option<Taken>, String> {
        let Some(row) = self.split(line)? else { return Ok(None) };
        let (basis, stamp) = match &self.time {
            Some(_) => (Basis::Source, self.stamp(&row)?),
            None => (Basis::Boot, Stamp { instant: arrival, utc_offset_minutes: None, local_text: None }),
        };
        let taken = self.mapping.take(&row, basis, &stamp);
        match taken {
            Taken { samples, problem: Some(problem), .. } if samples.is_empty() => Err(problem),
            taken => Ok(Some(taken)),
        }
    }

    /// Only the time of `line`, where it has one that can be read.
    pub(super) fn time_of(&self, line: &[u8]) -> Option<Instant> {
        self.split(line).ok()?.and_then(|row| self.stamp(&row).ok()).map(|stamp| stamp.instant)
    }

    fn split<'a>(&self, line: &'a [u8]) -> Result<Option<Row<'a>>, String> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let row = self.format.split(line)?;
        match self.columns {
            Some(columns) if row.len() != columns => Err(format!("has {} fields, not {columns}", row.len())),
            _ => Ok(Some(row)),
        }
    }

    fn stamp(&self, row: &Row<'_>) -> Result<Stamp, String> {
        let time = self.time.as_ref().ok_or("has no time")?;
        let text = row.text(&time.key).map_err(|problem| format!("field {} {problem}", time.label))?;
        time.reader.read(text.trim()).map_err(|problem| format!("field {} {problem}", time.label))
    }
}
