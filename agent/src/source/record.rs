//! One line into readings: what files and wires have in common.

use std::borrow::Cow;

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

    /// Finds the columns by their names in a CSV file's header, which it answers with if they are not there.
    pub(super) fn take_header(&mut self, line: &[u8]) -> Result<(), String> {
        let text = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        let Row::Fields(names) = self.format.split(text).map_err(|problem| format!("it {problem}"))? else {
            return Ok(());
        };
        let time = self.time.as_mut().map(|time| &mut time.key);
        for key in self.mapping.keys_mut().chain(time) {
            let Key::Name(name) = key else { continue };
            let place = names
                .iter()
                .position(|found| found.trim() == name)
                .ok_or_else(|| format!("no column is named `{name}`; it has {}", listed(&names)))?;
            *key = Key::Number(place + 1);
        }
        self.columns = Some(names.len());
        Ok(())
    }

    /// Only the time of `line`, where it has one that can be read.
    pub(super) fn time_of(&self, line: &[u8]) -> Option<Instant> {
        self.split(line).ok()?.and_then(|row| self.stamp(&row).ok()).map(|stamp| stamp.instant)
    }

    fn split<'a>(&'a self, line: &'a [u8]) -> Result<Option<Row<'a>>, String> {
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

/// The columns' names; what has no letter is no name but a value, which is nobody's business.
fn listed(names: &[Cow<'_, str>]) -> String {
    let has_letter = |name: &&Cow<'_, str>| name.chars().any(char::is_alphabetic);
    let names: Vec<&str> = names.iter().filter(has_letter).map(AsRef::as_ref).collect();
    if names.is_empty() {
        "no names at all; set header = false".into()
    } else {
        names.join(", ").chars().take(200).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::fields::SeriesSettings;
    use proptest::prelude::*;

    fn parser(format: LineFormat, keys: [Key; 2]) -> Parser {
        let [time, value] = keys;
        let series: SeriesSettings = toml::from_str("column = 1\nname = \"v\"\nmin = 0").unwrap();
        let settings = TimeSettings { column: time, format: None, unit: None };
        Parser {
            format,
            mapping: Mapping::new(&[SeriesSettings { column: value, ..series }]).unwrap(),
            time: Some(TimeField::new(&settings, Some("Europe/Berlin")).unwrap()),
            columns: None,
        }
    }

    fn parsers() -> [Parser; 3] {
        let names = || [Key::Name("t".into()), Key::Name("v".into())];
        [
            parser(LineFormat::Csv { separator: ',' }, [Key::Number(1), Key::Number(2)]),
            parser(LineFormat::Json, names()),
            parser(LineFormat::KeyValue { separator: ' ' }, names()),
        ]
    }

    const GOOD: [&str; 3] =
        ["2026-03-01T12:00:00Z,4711", r#"{"t":"2026-03-01T12:00:00Z","v":4711}"#, "t=2026-03-01T12:00:00Z v=4711"];

    #[test]
    fn every_format_says_the_same() {
        for (parser, line) in parsers().iter().zip(GOOD) {
            let taken = parser.read(line.as_bytes(), Instant(0)).unwrap().unwrap();
            assert_eq!(taken.samples[0].reading.time, Instant(1_772_366_400_000_000));
            assert_eq!(taken.samples[0].reading.value, proto::Value::Number(4_711.0));
            assert_eq!(taken.samples[0].reading.utc_offset_minutes, Some(60));
        }
    }

    #[test]
    fn no_reason_repeats_a_value() {
        for (parser, line) in parsers().iter().zip(GOOD) {
            for wrong in ["-4711", "4711x", "x4711 4711", "\"4711"] {
                let problem = parser.read(line.replace("4711", wrong).as_bytes(), Instant(0)).unwrap_err();
                assert!(!problem.contains("4711"), "{problem}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for parser in parsers() {
                parser.read(&bytes, Instant(0)).ok();
            }
        }

        #[test]
        fn any_damage_to_a_good_line_is_answered(which in 0_usize..3, place in 0_usize..60, byte: u8) {
            let mut bytes = GOOD[which].as_bytes().to_vec();
            let place = place % bytes.len();
            bytes[place] = byte;
            parsers()[which].read(&bytes, Instant(0)).ok();
        }
    }
}
