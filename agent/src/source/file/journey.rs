//! One run through a file: rows handed over at once, or each when it is due.

use std::time::Duration;

use proto::Lane;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::cursor::Cursor;
use super::reader::{Reader, Record};
use super::replay::{self, Schedule};
use super::{FileError, Settings};
use crate::source::times::{offset_at, zone_of};
use crate::source::{Ended, INTAKE_SAMPLES_MAX, Intake, Outlet, SourceClock, SourceError, SourceName};

/// Rows one intake holds: few enough to commit in one go, many enough for a fast import.
const INTAKE_ROWS_MAX: usize = 1_000;
/// How long a last line without an end must be as it is before it is taken as it stands, and how often it is looked at.
const LAST_LINE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A time further ahead of the clock than this is worth a word: one day.
const FAR_FUTURE_US: i64 = 86_400_000_000;

/// What one run of the source carries with it.
pub(super) struct Journey {
    pub(super) settings: Settings,
    pub(super) name: SourceName,
    pub(super) outlet: Outlet,
    pub(super) clock: SourceClock,
    pub(super) stop: CancellationToken,
}

impl Journey {
    /// All rows from `cursor` on, at once.
    pub(super) async fn import(&self, mut reader: Reader, mut cursor: Cursor) -> Result<Ended, SourceError> {
        let mut warned = false;
        loop {
            let records;
            (reader, records) = match self.next(reader).await? {
                Some(next) => next,
                None => return Ok(Ended::Stopped),
            };
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

    /// All rows from `cursor` on, each when it is due.
    pub(super) async fn replay(&self, mut reader: Reader, mut cursor: Cursor) -> Result<Ended, SourceError> {
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
            (reader, records) = match self.next(reader).await? {
                Some(next) => next,
                None => return Ok(Ended::Stopped),
            };
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

    /// The next rows; none where it is stopped while it waits for a last line to be written to its end.
    async fn next(&self, mut reader: Reader) -> Result<Option<(Reader, Vec<Record>)>, SourceError> {
        // One less than fits: a row may come with what is withdrawn of it.
        let rows_max = INTAKE_ROWS_MAX.min(INTAKE_SAMPLES_MAX / self.settings.series.len().max(1) - 1);
        let (mut unended, mut since) = (0, Instant::now());
        loop {
            let read = move || reader.read(rows_max).map(|records| (reader, records));
            let records;
            (reader, records) = blocking(&self.settings, read).await?;
            if !records.is_empty() || reader.unended() == 0 {
                return Ok(Some((reader, records)));
            }
            if reader.unended() != std::mem::replace(&mut unended, reader.unended()) {
                since = Instant::now();
            }
            if since.elapsed() >= LAST_LINE {
                reader.take_rest();
                continue;
            }
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                () = self.stop.cancelled() => return Ok(None),
            }
        }
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

/// Does `work` on a thread that may block, and waits for it.
pub(super) async fn blocking<T: Send + 'static>(
    settings: &Settings,
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(FileError::Interrupted { path: settings.path.display().to_string() }),
    }
}
