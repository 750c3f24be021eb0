//! A folder into which files are dropped: CSV, NDJSON, and exports of Dexcom Clarity and LibreView.
//!
//! It is looked at every few seconds. A file is read once it has kept its size for a while, from the place that was
//! reached, and that place goes into the same commit as its rows. A last line without an end is half a row until it has
//! been still for long; should it go on after that, what was taken of it is withdrawn. [`reader`] reads one file, [`memory`] knows which were
//! read and which records of exports were taken, [`export`] says what an export's row becomes, [`journey`] goes through
//! the folder.

use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::fields::{Mapping, SeriesSettings};
use super::format::LineFormat;
use super::record::{Parser, TimeField};
use super::times::{TimeSettings, zone_of};
use super::{BadSetting, Ended, Outlet, SourceClock, SourceError, SourceName};

mod export;
mod fuzz;
mod input;
mod journey;
mod look;
mod memory;
mod reader;
mod rest;

pub use export::Order as DateOrder;
use export::{Export, Vendor};
pub(super) use fuzz::{fuzz_cursor, fuzz_export};
use journey::Journey;
use memory::Memory;
use reader::{Layout, Rows};
use rest::Patience;

/// A folder's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The folder.
    pub path: PathBuf,
    /// `csv`, `ndjson`, `clarity` or `libreview`.
    pub format: Format,
    /// How the names of files end that are read, without the dot; left out: `ndjson` for ndjson, else `csv`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<String>,
    /// Which file comes first: by `name` or by when it was `modified`.
    #[serde(default)]
    pub order: Order,
    /// Seconds from one look to the next, 1 to 86400.
    #[serde(default = "every_s")]
    pub every_s: u32,
    /// Seconds for which a file must keep its size before it is read, 0 to 3600; 0 where files are renamed into place.
    #[serde(default = "settle_s")]
    pub settle_s: u32,
    /// Seconds for which a file must keep its size before a last line that has no end is taken as it stands, 60 to 86400.
    #[serde(default = "last_line_s")]
    pub last_line_s: u32,
    /// What becomes of a file that was read and stored: `keep`, `move` (into `done/`) or `remove`.
    #[serde(default)]
    pub after: After,
    /// Whether the readings are of now, so that they may raise alerts; else they go by the backfill lane.
    #[serde(default)]
    pub live: bool,
    /// csv: what stands between a row's fields.
    #[serde(default = "comma")]
    pub separator: char,
    /// csv: whether there is a row of names; without one, columns are numbers.
    #[serde(default = "yes")]
    pub header: bool,
    /// csv, ndjson: lines before the header that are no data.
    #[serde(default)]
    pub skip_lines: u32,
    /// Bytes one line may have; a longer one is rejected.
    #[serde(default = "line_bytes_max")]
    pub line_bytes_max: usize,
    /// csv, ndjson: where each row's time is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<TimeSettings>,
    /// The zone of local times, such as `America/New_York`; exports always need it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Exports: `day_first` or `month_first`, for dates that do not begin with the year; left out, each file must prove it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dates: Option<DateOrder>,
    /// csv, ndjson: what each row holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<SeriesSettings>,
}

/// How files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Rows of separated fields.
    Csv,
    /// A JSON object a line.
    Ndjson,
    /// Exports of Dexcom Clarity.
    Clarity,
    /// Exports of LibreView.
    Libreview,
}

/// Which file comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// By name.
    #[default]
    Name,
    /// The one that was modified first.
    Modified,
}

/// What becomes of a file that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// Nothing.
    #[default]
    Keep,
    /// It goes into the folder `done` within the folder.
    Move,
    /// It is deleted.
    Remove,
}

fn every_s() -> u32 {
    10
}

fn settle_s() -> u32 {
    5
}

fn last_line_s() -> u32 {
    60
}

fn comma() -> char {
    ','
}

fn yes() -> bool {
    true
}

fn line_bytes_max() -> usize {
    64 * 1024
}

impl Settings {
    /// Whether all settings can be. Opens nothing.
    ///
    /// # Errors
    /// [`BadSetting`], which names the setting.
    pub fn validate(&self) -> Result<(), BadSetting> {
        let wrong = |field: &str, problem: &str| Err(BadSetting::new(field, problem));
        if !self.path.is_absolute() {
            return wrong("path", "is to be an absolute path, such as /var/lib/tributary/inbox");
        }
        if !(1..=86_400).contains(&self.every_s) {
            return wrong("every_s", "is to be 1 to 86400");
        }
        if self.settle_s > 3_600 {
            return wrong("settle_s", "is to be 0 to 3600");
        }
        if !(60..=86_400).contains(&self.last_line_s) {
            return wrong("last_line_s", "is to be 60 to 86400");
        }
        if !(256..=1024 * 1024).contains(&self.line_bytes_max) {
            return wrong("line_bytes_max", "is to be 256 to 1048576");
        }
        if self.ending().is_empty() || self.ending().contains(['/', '.']) {
            return wrong("ending", "is to be what stands behind a name's last dot, such as csv");
        }
        if self.separator == '"' || self.separator.is_control() && self.separator != '\t' {
            return wrong("separator", "is to be a tab or a printable character other than a quote");
        }
        if !self.live && self.series.iter().any(|series| series.urgent) {
            return wrong("live", "is to be true where a series is urgent: what is of the past is no hurry");
        }
        self.rows().map(|_| ())
    }

    fn ending(&self) -> &str {
        let usual = if self.format == Format::Ndjson { "ndjson" } else { "csv" };
        self.ending.as_deref().unwrap_or(usual)
    }

    fn patience(&self) -> Patience {
        let [settle, last_line] = [self.settle_s, self.last_line_s].map(|seconds| Duration::from_secs(seconds.into()));
        Patience { settle, last_line: last_line.max(settle) }
    }

    fn layout(&self) -> Layout {
        Layout { header: self.header, skip_lines: self.skip_lines, line_bytes_max: self.line_bytes_max }
    }

    fn is_export(&self) -> bool {
        matches!(self.format, Format::Clarity | Format::Libreview)
    }

    /// What reads the rows of one file.
    fn rows(&self) -> Result<Rows, BadSetting> {
        let vendor = match self.format {
            Format::Csv => return self.mapped(LineFormat::Csv { separator: self.separator }),
            Format::Ndjson => return self.mapped(LineFormat::Json),
            Format::Clarity => Vendor::Clarity,
            Format::Libreview => Vendor::Libreview,
        };
        if self.time.is_some() || !self.series.is_empty() {
            let field = if self.time.is_some() { "time" } else { "series" };
            return Err(BadSetting::new(
                field,
                "has no place beside this `format`, whose columns are known; leave it out",
            ));
        }
        Ok(Rows::Export(Export::new(vendor, self.dates, self.zone()?)))
    }

    fn mapped(&self, format: LineFormat) -> Result<Rows, BadSetting> {
        if self.dates.is_some() {
            return Err(BadSetting::new("dates", "is for exports; say how times are written in `time.format`"));
        }
        let mapping = Mapping::new(&self.series)?;
        let needed = || BadSetting::new("time", "is needed: the column that each row's time is in");
        let time = self.time.as_ref().ok_or_else(needed)?;
        let time = Some(TimeField::new(time, self.time_zone.as_deref())?);
        Ok(Rows::Mapped(Parser { format, mapping, time, columns: None }))
    }

    fn zone(&self) -> Result<TimeZone, BadSetting> {
        let needed = || BadSetting::new("time_zone", "is needed: exports hold local times only; such as Europe/Berlin");
        zone_of("time_zone", self.time_zone.as_deref())?.ok_or_else(needed)
    }
}

/// Looks into the folder until it is told to stop.
///
/// # Errors
/// [`SourceError`] where the folder cannot be looked into.
pub async fn run(
    settings: Settings,
    name: SourceName,
    cursor: Option<Vec<u8>>,
    outlet: Outlet,
    clock: SourceClock,
    stop: CancellationToken,
) -> Result<Ended, SourceError> {
    settings.validate()?;
    let memory = cursor.as_deref().map(Memory::decode).transpose()?.unwrap_or_default();
    Journey::new(settings, name, memory, outlet, clock, stop).run().await
}

#[cfg(test)]
mod tests;
