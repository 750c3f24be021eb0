//! Readings of a span of time, of a day, and as they were committed.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::buckets::Rollups;
use super::{View, chart};
use crate::store::error::ReadError;
use crate::store::feed::{self, Place};
use crate::store::ledger::batches::{FLAG_FUTURE, QUALITY_SOURCE};
use crate::store::ledger::value;
use crate::store::rollup::Level;
use crate::store::sql::{Row, SqlError};
use crate::store::view::{Day, Excerpt, Reading, TimeQuality};

/// Days in one answer: more than a hundred years.
const DAYS_MAX: usize = 40_000;

/// What [`read_reading`] reads.
pub(super) const COLUMNS: &str =
    "r.id, r.series, r.time_us, r.ordinal, r.quality, r.utc_offset_minutes, r.flags, r.value, r.form, r.code, r.text";
/// Which readings count: those that are not superseded, repeated or retracted.
pub(in crate::store) const VISIBLE: &str = "(r.flags & 2 = 0
    or exists (select 1 from reading_origin o where o.reading = r.id and o.hidden = 0))";

pub(super) fn read_reading(row: &Row<'_>) -> Result<Reading, SqlError> {
    let flags: i64 = row.get(6)?;
    Ok(Reading {
        id: row.get(0)?,
        series: row.get(1)?,
        time_us: row.get(2)?,
        ordinal: row.get(3)?,
        quality: match row.get::<i64>(4)? {
            1 => TimeQuality::Held,
            2 => TimeQuality::Synced,
            QUALITY_SOURCE => TimeQuality::Source,
            _ => TimeQuality::Unset,
        },
        utc_offset_minutes: row.get(5)?,
        is_future: flags & FLAG_FUTURE != 0,
        value: value::read(row, 7)?,
    })
}

impl View<'_> {
    /// Readings of `series` in `[from_us, to_us)`. Where there are more than `readings_max`, each of half as many equal
    /// spans gives its lowest and its highest; `low` counts as lower and `high` as higher than any number, and what is
    /// no number and no limit is shown only where there is nothing else.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn excerpt(
        &self,
        series: i64,
        (from_us, to_us): (i64, i64),
        readings_max: usize,
    ) -> Result<Excerpt, ReadError> {
        let (from_us, to_us) = self.shrink(series, from_us, to_us)?;
        let sql = format!(
            "select {COLUMNS} from reading r
             where r.series = ?1 and r.time_us >= ?2 and r.time_us < ?3 and {VISIBLE} order by r.time_us, r.id"
        );
        let mut thinner = Thinner::new(from_us, to_us, readings_max);
        self.db.prepare(&sql).each([series, from_us, to_us], |row| thinner.add(row))?;
        let (is_thinned, readings_in_range) = (thinner.is_thinned(), thinner.readings);
        Ok(Excerpt { is_thinned, readings_in_range, readings: thinner.finish() })
    }

    /// `[from_us, to_us)` without what lies before the first and behind the last reading, so that a careless span does
    /// not cost resolution.
    fn shrink(&self, series: i64, from_us: i64, to_us: i64) -> Result<(i64, i64), ReadError> {
        let end = |sql| -> Result<Option<i64>, ReadError> {
            Ok(self.db.prepare(sql).one([series, from_us, to_us], |row| row.get(0))?)
        };
        let first = end("select min(time_us) from reading where series = ?1 and time_us >= ?2 and time_us < ?3")?;
        let last = end("select max(time_us) from reading where series = ?1 and time_us >= ?2 and time_us < ?3")?;
        Ok(first.zip(last).map_or((from_us, from_us), |(first, last)| (first, last.saturating_add(1))))
    }

    /// The days in `zone` that hold readings of `series`.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn days(&self, series: i64, zone: &TimeZone) -> Result<Vec<Day>, ReadError> {
        let rollups = Rollups::of(*self, series)?;
        let mut days = Vec::new();
        let mut from_us = i64::MIN;
        while days.len() < DAYS_MAX {
            let Some((minute_us, _)) = rollups.minutes_from(from_us)? else { break };
            // Beyond the calendar (year 9999) there are no days.
            let Some((date, first, end)) = day_of(minute_us, zone) else { break };
            let readings = chart::count(&rollups, level_of(first, end), (first, end))?;
            if readings > 0 {
                days.push(Day { date, from_us: first, to_us: end, readings });
            }
            from_us = end;
        }
        Ok(days)
    }

    /// Readings that were committed after `after`, at most `readings_max` with those that do not count, and the place to
    /// go on from.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn readings_after(&self, after: Place, readings_max: usize) -> Result<(Vec<Reading>, Place), ReadError> {
        let mut readings = Vec::new();
        let columns = format!("{}, {VISIBLE}", COLUMNS.trim_start_matches("r.id, "));
        let end = feed::each(self.db, &columns, after, readings_max, |row| {
            if row.get(11)? {
                readings.push(read_reading(row)?);
            }
            Ok(())
        })?;
        Ok((readings, end))
    }
}

/// The longest spans of which a day is made. Offsets from UTC have been whole quarters of an hour everywhere since 1986
/// (Nepal), and whole minutes since 1972 (Liberia); before that, a day is cut to the minute.
fn level_of(first_us: i64, end_us: i64) -> Level {
    let is_made_of = |level: &Level| level.start_us(first_us) == first_us && level.start_us(end_us) == end_us;
    [Level::Hour, Level::Quarter].into_iter().find(is_made_of).unwrap_or(Level::Minute)
}

/// The day that holds an instant: its date, its first instant, and that of the next day.
fn day_of(time_us: i64, zone: &TimeZone) -> Option<(String, i64, i64)> {
    let local = Timestamp::from_microsecond(time_us).ok()?.to_zoned(zone.clone());
    let first = local.start_of_day().ok()?;
    let end = local.date().tomorrow().ok()?.to_zoned(zone.clone()).ok()?;
    Some((local.date().to_string(), first.timestamp().as_microsecond(), end.timestamp().as_microsecond()))
}

/// Chooses readings as they come by, in the order of time.
struct Thinner {
    from_us: i64,
    span_us: i128,
    buckets: i128,
    readings_max: usize,
    readings: i64,
    /// All, while they are few enough.
    all: Vec<Reading>,
    chosen: Vec<Reading>,
    bucket: Option<Bucket>,
}

/// The lowest and the highest reading of one span.
struct Bucket {
    index: i128,
    lowest: Candidate,
    highest: Option<Candidate>,
}

struct Candidate {
    /// Its place in the order of time.
    place: i64,
    reading: Reading,
    height: Option<f64>,
}

impl Thinner {
    fn new(from_us: i64, to_us: i64, readings_max: usize) -> Self {
        let span_us = (i128::from(to_us) - i128::from(from_us)).max(1);
        let buckets = i128::try_from(readings_max / 2).unwrap_or(1).max(1);
        Self { from_us, span_us, buckets, readings_max, readings: 0, all: Vec::new(), chosen: Vec::new(), bucket: None }
    }

    /// Takes in a row of [`COLUMNS`].
    fn add(&mut self, row: &Row<'_>) -> Result<(), SqlError> {
        let place = self.readings;
        self.readings += 1;
        if self.all.len() < self.readings_max {
            self.all.push(read_reading(row)?);
        }
        let index = (i128::from(row.get::<i64>(2)?) - i128::from(self.from_us)) * self.buckets / self.span_us;
        let height = value::height(row.get(7)?, row.get(8)?);
        let candidate = || Ok(Candidate { place, reading: read_reading(row)?, height });
        match &mut self.bucket {
            Some(bucket) if bucket.index == index => bucket.add(height, candidate)?,
            _ => {
                self.close();
                self.bucket = Some(Bucket { index, lowest: candidate()?, highest: None });
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        let Some(Bucket { lowest, highest, .. }) = self.bucket.take() else { return };
        let mut pair = vec![lowest];
        pair.extend(highest);
        pair.sort_by_key(|candidate| candidate.place);
        self.chosen.extend(pair.into_iter().map(|candidate| candidate.reading));
    }

    fn is_thinned(&self) -> bool {
        usize::try_from(self.readings).is_ok_and(|readings| readings > self.readings_max)
    }

    fn finish(mut self) -> Vec<Reading> {
        self.close();
        if self.is_thinned() { self.chosen } else { self.all }
    }
}

impl Bucket {
    /// Takes in a reading of `height`, which is made only if it is wanted.
    fn add(
        &mut self,
        height: Option<f64>,
        candidate: impl Fn() -> Result<Candidate, SqlError>,
    ) -> Result<(), SqlError> {
        let Some(new) = height else { return Ok(()) };
        let top = self.highest.as_ref().map_or(self.lowest.height, |highest| highest.height);
        if self.lowest.height.is_none() {
            self.lowest = candidate()?;
        } else if self.lowest.height.is_some_and(|lowest| new < lowest) {
            let lowest = std::mem::replace(&mut self.lowest, candidate()?);
            self.highest.get_or_insert(lowest);
        } else if top.is_some_and(|top| new > top) {
            self.highest = Some(candidate()?);
        }
        Ok(())
    }
}
