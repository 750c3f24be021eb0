//! Lines from a serial port: meters, sensors and small boards that print what they measure.
//!
//! The port may be unplugged and plugged in again at any time. It is closed before it is opened anew, because while it
//! is held open the same adapter comes back under another number. Nothing is ever written to the port.

use serde::{Deserialize, Serialize};

use super::device::{Codec, Device, Line, Link, check_port};
use super::fields::{Key, Mapping, SeriesSettings};
use super::format::LineFormat;
use super::pattern::Pattern;
use super::record::{Parser, TimeField};
use super::times::TimeSettings;
use super::{BadSetting, SourceError};

pub use super::device::Parity;

pub(super) mod lines;

/// A serial port's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The port, by a name that survives replugging: `/dev/serial/by-id/…`; or `tcp://host:port`.
    pub port: String,
    /// Bits per second.
    #[serde(default = "baud")]
    pub baud: u32,
    /// Bits of a character: 5 to 8.
    #[serde(default = "data_bits")]
    pub data_bits: u8,
    /// `none`, `even` or `odd`.
    #[serde(default)]
    pub parity: Parity,
    /// 1 or 2.
    #[serde(default = "stop_bits")]
    pub stop_bits: u8,
    /// `csv`, `json`, `key_value` or `pattern`.
    pub format: Format,
    /// What a line looks like, for format `pattern`: a regular expression with a named group where a value is, such as
    /// `T=(?<t>[0-9.]+)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// What stands between fields or pairs; left out: a comma for csv, a space for `key_value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    /// How many fields a line has; another number is rejected. Left out: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<usize>,
    /// Where each line's own time is. Left out: lines are stamped as they arrive, to the millisecond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<TimeSettings>,
    /// The zone of local times; needed where lines have times without offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Bytes one line may have; a longer one is rejected, and the next one read.
    #[serde(default = "line_bytes_max")]
    pub line_bytes_max: usize,
    /// Seconds of silence after which the port is opened anew; 0: never.
    #[serde(default)]
    pub silence_s: u32,
    /// Take the first line after opening even where it may have lost its beginning.
    #[serde(default)]
    pub trust_first_line: bool,
    /// What each line holds.
    pub series: Vec<SeriesSettings>,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Separated fields, found by number.
    Csv,
    /// A JSON object, fields found by key or dotted path.
    Json,
    /// `name=value` pairs, found by name.
    KeyValue,
    /// A regular expression, fields found by the names of its groups.
    Pattern,
}

fn baud() -> u32 {
    9_600
}

fn data_bits() -> u8 {
    8
}

fn stop_bits() -> u8 {
    1
}

fn line_bytes_max() -> usize {
    4_096
}

impl Settings {
    /// Whether all settings can be. Opens nothing.
    ///
    /// # Errors
    /// [`BadSetting`], which names the setting.
    pub fn validate(&self) -> Result<(), BadSetting> {
        let wrong = |field: &str, problem: &str| Err(BadSetting::new(field, problem));
        check_port(&self.port)?;
        if !(50..=4_000_000).contains(&self.baud) {
            return wrong("baud", "is to be 50 to 4000000");
        }
        if !(5..=8).contains(&self.data_bits) {
            return wrong("data_bits", "is to be 5 to 8");
        }
        if !(1..=2).contains(&self.stop_bits) {
            return wrong("stop_bits", "is to be 1 or 2");
        }
        self.check_lines()
    }

    /// Whether all settings of lines can be.
    pub(super) fn check_lines(&self) -> Result<(), BadSetting> {
        if !(16..=65_536).contains(&self.line_bytes_max) {
            return Err(BadSetting::new("line_bytes_max", "is to be 16 to 65536"));
        }
        self.parser().map(|_| ())
    }

    /// Lines that come from no port, with everything else as it is by default.
    #[cfg(feature = "programs")]
    pub(super) fn of_lines(format: Format, series: Vec<SeriesSettings>) -> Self {
        Self {
            port: String::new(),
            baud: baud(),
            data_bits: data_bits(),
            parity: Parity::default(),
            stop_bits: stop_bits(),
            format,
            separator: None,
            columns: None,
            time: None,
            time_zone: None,
            line_bytes_max: line_bytes_max(),
            silence_s: 0,
            trust_first_line: false,
            pattern: None,
            series,
        }
    }

    fn pattern(&self) -> Result<Pattern, BadSetting> {
        let problem = |problem| BadSetting::new("pattern", problem);
        let text = self.pattern.as_deref();
        let text = text.ok_or_else(|| problem("is needed, such as 'T=(?<t>[0-9.]+) H=(?<h>[0-9.]+)%'".to_owned()))?;
        Pattern::new(text).map_err(problem)
    }

    /// What reads the lines.
    pub(super) fn parser(&self) -> Result<Parser, BadSetting> {
        let format = match self.format {
            Format::Pattern => LineFormat::Pattern(self.pattern()?),
            _ if self.pattern.is_some() => {
                return Err(BadSetting::new("pattern", "is for format = \"pattern\"; leave it out or set that"));
            }
            Format::Csv => LineFormat::Csv { separator: self.separator.unwrap_or(',') },
            Format::Json => LineFormat::Json,
            Format::KeyValue => LineFormat::KeyValue { separator: self.separator.unwrap_or(' ') },
        };
        let mapping = Mapping::new(&self.series)?;
        let keys = mapping.keys().chain(self.time.as_ref().map(|time| &time.column));
        for (index, key) in keys.enumerate() {
            let field = if index < mapping.len() { format!("series[{index}].column") } else { "time.column".into() };
            match (self.format, key) {
                (Format::Csv, Key::Name(_)) => {
                    return Err(BadSetting::new(field, "is to be a number from 1; lines have no header"));
                }
                (Format::Json | Format::KeyValue | Format::Pattern, Key::Number(_)) => {
                    return Err(BadSetting::new(field, "is to be a name in quotes"));
                }
                (Format::Pattern, Key::Name(name)) => is_group(&format, name, field)?,
                _ => {}
            }
        }
        let time = self.time.as_ref().map(|time| TimeField::new(time, self.time_zone.as_deref())).transpose()?;
        Ok(Parser { format, mapping, time, columns: self.columns })
    }
}

/// Whether a group of the pattern has that name.
fn is_group(format: &LineFormat, name: &str, field: String) -> Result<(), BadSetting> {
    let LineFormat::Pattern(pattern) = format else { return Ok(()) };
    if pattern.names().any(|known| known == name) {
        return Ok(());
    }
    let names = pattern.names().collect::<Vec<_>>().join(", ");
    Err(BadSetting::new(field, format!("`{name}` is no group of `pattern`, which has {names}")))
}

impl Device for Settings {
    fn validate(&self) -> Result<(), BadSetting> {
        self.validate()
    }

    fn link(&self) -> Link {
        let Self { baud, data_bits, parity, stop_bits, .. } = *self;
        Link { port: self.port.clone(), line: Line { baud, data_bits, parity, stop_bits } }
    }

    fn codec(&self, _cursor: Option<&[u8]>) -> Result<Box<dyn Codec>, SourceError> {
        Ok(Box::new(lines::Lines::new(self, self.parser()?)))
    }
}

#[cfg(test)]
mod tests;
