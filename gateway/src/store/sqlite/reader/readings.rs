//! Readings of a span of time, of a day, and as they were committed.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::{Row, params};

use super::{ReadError, View, optional};
use crate::store::sqlite::readings::{FLAG_FUTURE, QUALITY_SOURCE};
use crate::store::sqlite::value;
use crate::store::view::{Day, Excerpt, Reading, TimeQuality};

/// Days in one answer: more than a hundred years.
const DAYS_MAX: usize = 40_000;

/// What [`read_reading`] reads.
pub(super) const COLUMNS: &str =
    "r.id, r.series, r.time_us, r.ordinal, r.quality, r.utc_offset_minutes, r.flags, r.value, r.form, r.code, r.text";
/// Which readings count: those that are not superseded, repeated or retracted.
pub(super) const VISIBLE: &str = "(r.flags & 2 = 0
    or exists (select 1 from reading_origin o where o.reading = r.id and o.hidden = 0))";

pub(super) fn read_reading(row: &Row<'_>) -> rusqlite::Result<Reading> {
    let flags: i64 = row.get(6)?;
    Ok(Reading {
        id: row.get(0)?,
        series: row.get(1)?,
        time_us: row.get(2)?,
        ordinal: row.get(3)?,
        quality: match row.get::<_, i64>(4)? {
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
            "select r.id, r.time_us, r.value, r.form from reading r
             where r.series = ?1 and r.time_us >= ?2 and r.time_us < ?3 and {VISIBLE} order by r.time_us, r.id"
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query(params![series, from_us, to_us])?;
        let mut thinner = Thinner::new(from_us, to_us, readings_max);
        while let Some(row) = rows.next()? {
            thinner.add(row.get(0)?, row.get(1)?, value::height(row.get(2)?, row.get(3)?));
        }
        let readings_in_range = thinner.readings;
        let is_thinned = thinner.is_thinned();
        let sql = format!("select {COLUMNS} from reading r where r.id = ?");
        let mut statement = self.db.prepare_cached(&sql)?;
        let read = |id: i64| Ok(statement.query_row([id], read_reading)?);
        let readings = thinner.finish().into_iter().map(read).collect::<Result<_, ReadError>>()?;
        Ok(Excerpt { is_thinned, readings_in_range, readings })
    }

    /// `[from_us, to_us)` without what lies before the first and behind the last reading, so that a careless span does
    /// not cost resolution.
    fn shrink(&self, series: i64, from_us: i64, to_us: i64) -> Result<(i64, i64), ReadError> {
        let end = |sql| -> Result<Option<i64>, ReadError> {
            Ok(self.db.prepare_cached(sql)?.query_row(params![series, from_us, to_us], |row| row.get(0))?)
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
        let mut days = Vec::new();
        let mut from_us = i64::MIN;
        let next = format!(
            "select r.time_us from reading r where r.series = ?1 and r.time_us >= ?2 and {VISIBLE}
             order by r.time_us limit 1"
        );
        let count = format!(
            "select count(*) from reading r where r.series = ?1 and r.time_us >= ?2 and r.time_us < ?3 and {VISIBLE}"
        );
        let mut next = self.db.prepare_cached(&next)?;
        let mut count = self.db.prepare_cached(&count)?;
        while days.len() < DAYS_MAX {
            let Some(time) = optional(next.query_row(params![series, from_us], |row| row.get(0)))? else { break };
            // Beyond the calendar (year 9999) there are no days.
            let Some((date, first, end)) = day_of(time, zone) else { break };
            let readings = count.query_row(params![series, first, end], |row| row.get(0))?;
            days.push(Day { date, from_us: first, to_us: end, readings });
            from_us = end;
        }
        Ok(days)
    }

    /// Readings that were committed after the one with id `after`, in that order, and the id to go on from.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn readings_after(&self, after: i64, readings_max: usize) -> Result<(Vec<Reading>, i64), ReadError> {
        let sql = format!("select {COLUMNS}, {VISIBLE} from reading r where r.id > ?1 order by r.id limit ?2");
        let mut statement = self.db.prepare_cached(&sql)?;
        let limit = i64::try_from(readings_max).unwrap_or(i64::MAX);
        let mut rows = statement.query([after, limit])?;
        let (mut readings, mut last) = (Vec::new(), after);
        while let Some(row) = rows.next()? {
            last = row.get(0)?;
            if row.get(11)? {
                readings.push(read_reading(row)?);
            }
        }
        Ok((readings, last))
    }

    /// The id of the newest reading.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn feed_end(&self) -> Result<i64, ReadError> {
        Ok(self.db.prepare_cached("select max(last_reading) from feed")?.query_row([], |row| row.get(0))?)
    }
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
    all: Vec<i64>,
    chosen: Vec<i64>,
    bucket: Option<Bucket>,
}

/// The lowest and the highest reading of one span.
struct Bucket {
    index: i128,
    lowest: Candidate,
    highest: Candidate,
}

#[derive(Clone, Copy)]
struct Candidate {
    /// Its place in the order of time.
    place: i64,
    id: i64,
    height: Option<f64>,
}

impl Thinner {
    fn new(from_us: i64, to_us: i64, readings_max: usize) -> Self {
        let span_us = (i128::from(to_us) - i128::from(from_us)).max(1);
        let buckets = i128::try_from(readings_max / 2).unwrap_or(1).max(1);
        Self { from_us, span_us, buckets, readings_max, readings: 0, all: Vec::new(), chosen: Vec::new(), bucket: None }
    }

    fn add(&mut self, id: i64, time_us: i64, height: Option<f64>) {
        let candidate = Candidate { place: self.readings, id, height };
        self.readings += 1;
        if self.all.len() < self.readings_max {
            self.all.push(id);
        }
        let index = (i128::from(time_us) - i128::from(self.from_us)) * self.buckets / self.span_us;
        match &mut self.bucket {
            Some(bucket) if bucket.index == index => bucket.add(candidate),
            _ => {
                self.close();
                self.bucket = Some(Bucket { index, lowest: candidate, highest: candidate });
            }
        }
    }

    fn close(&mut self) {
        let Some(Bucket { lowest, highest, .. }) = self.bucket.take() else { return };
        let (earlier, later) = if lowest.place <= highest.place { (lowest, highest) } else { (highest, lowest) };
        self.chosen.push(earlier.id);
        if earlier.place != later.place {
            self.chosen.push(later.id);
        }
    }

    fn is_thinned(&self) -> bool {
        usize::try_from(self.readings).is_ok_and(|readings| readings > self.readings_max)
    }

    fn finish(mut self) -> Vec<i64> {
        self.close();
        if self.is_thinned() { self.chosen } else { self.all }
    }
}

impl Bucket {
    fn add(&mut self, new: Candidate) {
        let Some(height) = new.height else { return };
        if self.lowest.height.is_none_or(|lowest| height < lowest) {
            self.lowest = new;
        }
        if self.highest.height.is_none_or(|highest| height > highest) {
            self.highest = new;
        }
    }
}
