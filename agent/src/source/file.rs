//! Readings from a CSV or NDJSON file: all at once, or played back in time.
//!
//! The cursor is the file's identity, the place behind the last row that was handed over, and when a replay began. An
//! import ends at the end of the file, and goes on from there at the next start.

use std::io;
use std::path::PathBuf;

use proto::Lane;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::fields::{Mapping, SeriesSettings};
use super::format::LineFormat;
use super::times::{TimeReader, TimeSettings, offset_at, zone_of};
use super::{BadSetting, Ended, INTAKE_SAMPLES_MAX, Intake, Outlet, SourceClock, SourceError, SourceName};

mod cursor;
mod reader;
mod replay;

use cursor::Cursor;
use reader::{Reader, Record};
use replay::Schedule;
pub(super) use replay::thousandths;

/// Rows one intake holds: few enough to commit in one go, many enough for a fast import.
const INTAKE_ROWS_MAX: usize = 1_000;
/// A time further ahead of the clock than this is worth a word: one day.
const FAR_FUTURE_US: i64 = 86_400_000_000;

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

/// What one run of the source carries with it.
struct Journey {
    settings: Settings,
    name: SourceName,
    outlet: Outlet,
    clock: SourceClock,
    stop: CancellationToken,
}

impl Journey {
    async fn import(&self, mut reader: Reader, mut cursor: Cursor) -> Result<Ended, SourceError> {
        let mut warned = false;
        loop {
            let records;
            (reader, records) = self.next(reader).await?;
            if records.is_empty() {
                return Ok(Ended::Finished);
            }
            let latest = self.clock.wall().map_or(i64::MAX, |now| now.0.saturating_add(FAR_FUTURE_US));
            let mut intake = Intake::empty(&self.name, Lane::Backfill);
            for record in records {
                if !warned && record.samples.first().is_some_and(|sample| sample.reading.time.0 > latest) {
                    warn!(source = %self.name, "{}: the time is more than a day ahead; it is kept", record.place);
                    warned = true;
                }
                record.add_to(&mut intake, &mut cursor);
            }
            intake.urgent = false;
            if !self.hand_over(intake, &cursor).await {
                return Ok(Ended::Stopped);
            }
        }
    }

    async fn replay(&self, mut reader: Reader, mut cursor: Cursor) -> Result<Ended, SourceError> {
        let speed = replay::thousandths("speed", self.settings.speed)?;
        let zone = zone_of("time_zone", self.settings.time_zone.as_deref())?;
        let mut schedule = match cursor.replay {
            Some(schedule) => schedule,
            None => match self.begin().await? {
                Some(schedule) => schedule,
                None => return Ok(Ended::Stopped),
            },
        };
        loop {
            let records;
            (reader, records) = self.next(reader).await?;
            if records.is_empty() {
                return Ok(Ended::Finished);
            }
            let mut intake = Intake::empty(&self.name, Lane::Live);
            for mut record in records {
                let Some(at) = record.samples.first().map(|sample| sample.reading.time) else {
                    record.add_to(&mut intake, &mut cursor);
                    continue;
                };
                let Some(due) = schedule.due(at, speed) else {
                    record.samples.clear(); // before the span that is played; what was rejected in it is still named
                    record.add_to(&mut intake, &mut cursor);
                    continue;
                };
                if self.clock.wall().is_none_or(|now| now < due) {
                    let handed = self.hand_over(std::mem::replace(&mut intake, self.empty()), &cursor).await;
                    if !handed || !self.clock.reached(due, &self.stop).await {
                        return Ok(Ended::Stopped);
                    }
                }
                for sample in &mut record.samples {
                    sample.reading.time = due;
                    sample.reading.local_text = None;
                    let offset = zone.as_ref().and_then(|zone| offset_at(zone, due));
                    sample.reading.utc_offset_minutes = offset.or(sample.reading.utc_offset_minutes);
                }
                cursor.replay = Some(schedule);
                record.add_to(&mut intake, &mut cursor);
            }
            if !self.hand_over(intake, &cursor).await {
                return Ok(Ended::Stopped);
            }
        }
    }

    fn empty(&self) -> Intake {
        Intake::empty(&self.name, Lane::Live)
    }

    /// A replay's first start: now, with the span that is asked for.
    async fn begin(&self) -> Result<Option<Schedule>, SourceError> {
        let span = replay::micros("last", self.settings.last.as_deref())?;
        let mut cutoff_us = i64::MIN;
        if let Some(span) = span {
            let settings = self.settings.clone();
            let last = blocking(&self.settings, move || Reader::open(&settings, None)?.0.last_time()).await?;
            cutoff_us = last.map_or(i64::MIN, |last| last.0.saturating_sub(span));
        }
        let start = self.clock.wall_known(&self.stop).await;
        Ok(start.map(|start| Schedule { start_us: start.0, cutoff_us, first_us: None }))
    }

    /// The next rows, read on a thread that may block.
    async fn next(&self, mut reader: Reader) -> Result<(Reader, Vec<Record>), SourceError> {
        let rows_max = INTAKE_ROWS_MAX.min(INTAKE_SAMPLES_MAX / self.settings.series.len().max(1));
        let read = move || reader.read(rows_max).map(|records| (reader, records));
        Ok(blocking(&self.settings, read).await?)
    }

    /// Whether it was taken; an empty intake need not be.
    async fn hand_over(&self, mut intake: Intake, cursor: &Cursor) -> bool {
        if intake.is_empty() {
            return !self.stop.is_cancelled();
        }
        if let Some(first) = intake.rejects.first() {
            let count = intake.rejects.len();
            warn!(source = %self.name, count, "rejected {count} lines; the first: {}: {}", first.place, first.reason);
        }
        intake.cursor = Some(cursor.encode());
        !self.stop.is_cancelled() && self.outlet.put_or_stop(intake, &self.stop).await
    }
}

async fn blocking<T: Send + 'static>(
    settings: &Settings,
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(FileError::Interrupted { path: settings.path.display().to_string() }),
    }
}

#[cfg(test)]
mod tests;
