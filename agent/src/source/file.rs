//! Readings from a CSV or NDJSON file: all at once, or played back in time.
//!
//! The cursor is the file's identity, the place behind the last row that was handed over, and when a replay began. An
//! import ends at the end of the file, and goes on from there at the next start.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::fields::{Mapping, SeriesSettings};
use super::format::LineFormat;
use super::times::{TimeReader, TimeSettings};
use super::{BadSetting, Ended, Outlet, SourceClock, SourceError, SourceName};

mod cursor;
mod journey;
mod reader;
mod replay;

use cursor::Cursor;
use journey::{Journey, blocking};
use reader::Reader;
pub(super) use replay::thousandths;

/// A cursor that can be read is written and read again to the same. For `super::fuzzing` alone.
pub(super) fn fuzz_cursor(bytes: &[u8]) {
    if let Ok(cursor) = Cursor::decode(bytes) {
        assert_eq!(Cursor::decode(&cursor.encode()).ok(), Some(cursor.clone()));
        let _ = cursor.knows(bytes);
    }
}

/// A file's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// `csv` or `ndjson`; left out, the path's ending says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// What stands between a CSV row's fields.
    #[serde(default = "comma")]
    pub separator: char,
    /// Whether CSV has a row of names; without one, columns are numbers.
    #[serde(default = "yes")]
    pub header: bool,
    /// Lines before the header that are no data.
    #[serde(default)]
    pub skip_lines: u32,
    /// Bytes one line may have; a longer one is rejected.
    #[serde(default = "line_bytes_max")]
    pub line_bytes_max: usize,
    /// Where each row's time is.
    pub time: TimeSettings,
    /// The zone of local times, such as `America/New_York`; needed where times have no offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// `import` or `replay`.
    #[serde(default)]
    pub mode: Mode,
    /// Replay: seconds of the file in one second, to three decimals.
    #[serde(default = "one")]
    pub speed: f64,
    /// Replay: only rows within this time before the last row, such as `1 day` (24 hours).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// What each row holds.
    pub series: Vec<SeriesSettings>,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Rows of separated fields.
    Csv,
    /// A JSON object a line.
    Ndjson,
}

/// When rows are handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// At once, with their own times, on the backfill lane.
    #[default]
    Import,
    /// One after the other as in life, stamped with the present, on the live lane.
    Replay,
}

fn comma() -> char {
    ','
}

fn yes() -> bool {
    true
}

fn one() -> f64 {
    1.0
}

fn line_bytes_max() -> usize {
    64 * 1024
}

/// Why a file cannot be read, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refuses.
    #[error("cannot {act} {path}: {error}; check that the file is there and that the agent may read it")]
    Io {
        /// What was attempted.
        act: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// A folder, a pipe or a device.
    #[error("{path} is no plain file")]
    NotAFile {
        /// Its path.
        path: String,
    },
    /// The agent does not unpack.
    #[error("{path} is compressed; unpack it first, as with `gunzip --keep`")]
    Compressed {
        /// The file.
        path: String,
    },
    /// The header does not name what the settings ask for.
    #[error("{path} line {line}: {problem}")]
    Header {
        /// The file.
        path: String,
        /// The header's line.
        line: u64,
        /// What is missing.
        problem: String,
    },
    /// Another file is where the file was.
    #[error("{path} is not the file it was: {problem}; give the source another name to read it from the beginning")]
    Changed {
        /// The file.
        path: String,
        /// How that is known.
        problem: &'static str,
    },
    /// The thread that reads was stopped.
    #[error("reading {path} was interrupted")]
    Interrupted {
        /// The file.
        path: String,
    },
}

impl Settings {
    /// Whether all settings can be. Opens nothing.
    ///
    /// # Errors
    /// [`BadSetting`], which names the setting.
    pub fn validate(&self) -> Result<(), BadSetting> {
        self.line_format()?;
        if !(256..=1024 * 1024).contains(&self.line_bytes_max) {
            return Err(BadSetting::new("line_bytes_max", "is to be 256 to 1048576"));
        }
        Mapping::new(&self.series)?;
        TimeReader::new(&self.time, self.time_zone.as_deref())?;
        if self.mode == Mode::Import && (self.last.is_some() || self.speed.to_bits() != one().to_bits()) {
            return Err(BadSetting::new("mode", "`speed` and `last` are for mode = \"replay\""));
        }
        replay::thousandths("speed", self.speed)?;
        replay::micros("last", self.last.as_deref())?;
        Ok(())
    }

    fn line_format(&self) -> Result<LineFormat, BadSetting> {
        let ending = self.path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let format = match (self.format, ending) {
            (Some(format), _) => format,
            (None, "csv" | "tsv" | "txt") => Format::Csv,
            (None, "ndjson" | "jsonl") => Format::Ndjson,
            (None, "gz") => return Err(BadSetting::new("path", "compressed files are not read; unpack it first")),
            (None, _) => return Err(BadSetting::new("format", "is needed, the path's ending does not say it")),
        };
        if self.separator == '"' || self.separator.is_control() && self.separator != '\t' {
            return Err(BadSetting::new("separator", "is to be a tab or a printable character other than a quote"));
        }
        Ok(match format {
            Format::Csv => LineFormat::Csv { separator: self.separator },
            Format::Ndjson => LineFormat::Json,
        })
    }
}

/// Reads the file from `cursor` on; ends at its end.
///
/// # Errors
/// [`SourceError`] where the file cannot be read or is not the one that `cursor` is about.
pub async fn run(
    settings: Settings,
    name: SourceName,
    cursor: Option<Vec<u8>>,
    outlet: Outlet,
    clock: SourceClock,
    stop: CancellationToken,
) -> Result<Ended, SourceError> {
    settings.validate()?;
    let before = cursor.as_deref().map(Cursor::decode).transpose()?;
    let opening = settings.clone();
    let (reader, cursor) = blocking(&settings, move || Reader::open(&opening, before)).await?;
    let journey = Journey { settings, name, outlet, clock, stop };
    match journey.settings.mode {
        Mode::Import => journey.import(reader, cursor).await,
        Mode::Replay => journey.replay(reader, cursor).await,
    }
}

#[cfg(test)]
mod tests;
