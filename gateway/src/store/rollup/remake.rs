//! Minutes made from their readings, and longer spans from those.
//!
//! Readings that all come after the last one of their minute are folded in; otherwise the minute is made anew from all
//! that is there, which gives the very same bits. What has gone of a minute (see `gone`) counts first: as long as other
//! readings of the minute are there, it is kept apart, as level 0, so that a minute can be made anew at any time.

use std::collections::BTreeMap;

use super::bucket::Bucket;
use super::rows::{self, COLUMNS, Place};
use super::{Level, MINUTE_US};
use crate::store::ledger::value::{self, Share};
use crate::store::reader::VISIBLE;
use crate::store::sql::{Db, SqlError};

/// Hours of one series that are read at once: at most 36 000 rows.
const SPAN_HOURS: i64 = 500;
/// Hours between two touched ones that are rather read along than asked for apart.
const SPAN_HOURS_BETWEEN: i64 = 2;

/// What happened to a minute.
#[derive(Default)]
pub(in crate::store) struct Touch {
    /// Readings that were added.
    pub(in crate::store) added: Vec<(i64, Share)>,
    /// Others were moved or hidden.
    pub(in crate::store) is_marked: bool,
}

/// Touched minutes, by series and first instant.
pub(in crate::store) type Touched = BTreeMap<(i64, i64), Touch>;
/// Buckets by series and place; an empty one is to be removed.
pub(in crate::store) type Made = BTreeMap<(i64, Place), Bucket>;

/// All buckets that hold a touched minute, as they are to be.
pub(in crate::store) fn remake(db: Db<'_>, touched: Touched) -> Result<Made, SqlError> {
    let mut made = Made::new();
    let mut span: Option<Span> = None;
    for ((series, minute_us), touch) in touched {
        let hour_us = Level::Hour.start_us(minute_us);
        if let Some(open) = span.take_if(|open| !open.takes(series, hour_us)) {
            open.make(db, &mut made)?;
        }
        let open =
            span.get_or_insert_with(|| Span { series, from_us: hour_us, until_us: hour_us, minutes: Vec::new() });
        open.until_us = hour_us;
        open.minutes.push((minute_us, touch));
    }
    if let Some(open) = span {
        open.make(db, &mut made)?;
    }
    Ok(made)
}

/// Touched minutes of one series that are near each other.
struct Span {
    series: i64,
    from_us: i64,
    /// The first instant of its last hour.
    until_us: i64,
    minutes: Vec<(i64, Touch)>,
}

impl Span {
    fn takes(&self, series: i64, hour_us: i64) -> bool {
        let hours = |from: i64| hour_us.saturating_sub(from) / Level::Hour.length_us();
        series == self.series && hours(self.until_us) <= SPAN_HOURS_BETWEEN && hours(self.from_us) < SPAN_HOURS
    }

    fn make(self, db: Db<'_>, made: &mut Made) -> Result<(), SqlError> {
        let mut known = self.known(db)?;
        let mut put = |known: &mut BTreeMap<Place, Bucket>, place, bucket| {
            known.insert(place, bucket);
            made.insert((self.series, place), bucket);
        };
        let (mut quarters, mut hours) = (Vec::new(), Vec::new());
        for (minute_us, touch) in self.minutes {
            quarters.push(Level::Quarter.start_us(minute_us));
            hours.push(Level::Hour.start_us(minute_us));
            let there = known.get(&(Level::Minute, minute_us)).copied().unwrap_or_default();
            let bucket = if let Some(folded) = fold(&there, touch) {
                folded
            } else {
                let apart = known.get(&(Level::Gone, minute_us)).copied();
                let gone = apart.unwrap_or(if there.gone > 0 { there } else { Bucket::default() });
                let bucket = from_readings(db, self.series, minute_us, gone)?;
                let is_mixed = 0 < bucket.gone && bucket.gone < bucket.readings();
                if is_mixed || apart.is_some() {
                    put(&mut known, (Level::Gone, minute_us), if is_mixed { gone } else { Bucket::default() });
                }
                bucket
            };
            put(&mut known, (Level::Minute, minute_us), bucket);
        }
        for (level, mut starts, below) in
            [(Level::Quarter, quarters, Level::Minute), (Level::Hour, hours, Level::Quarter)]
        {
            starts.dedup();
            for start_us in starts {
                let mut bucket = Bucket::default();
                let parts = known.range((below, start_us)..=(below, level.last_us(start_us)));
                parts.for_each(|(_, part)| bucket.merge(part));
                put(&mut known, (level, start_us), bucket);
            }
        }
        Ok(())
    }

    /// What the table has of all that longer spans are made of again: the minutes of touched quarters, and the quarters
    /// of touched hours.
    fn known(&self, db: Db<'_>) -> Result<BTreeMap<Place, Bucket>, SqlError> {
        let mut known = BTreeMap::new();
        let (Some((first, _)), Some((last, _))) = (self.minutes.first(), self.minutes.last()) else { return Ok(known) };
        let sql = format!(
            "select {COLUMNS} from rollup where series = ?1 and level in (0, 1) and start_us >= ?2 and start_us <= ?3
             union all
             select {COLUMNS} from rollup where series = ?1 and level = 15 and start_us >= ?4 and start_us <= ?5"
        );
        let quarters = (Level::Quarter.start_us(*first), Level::Quarter.last_us(Level::Quarter.start_us(*last)));
        let values = [self.series, quarters.0, quarters.1, self.from_us, Level::Hour.last_us(self.until_us)];
        db.prepare(&sql).each(values, |row| {
            known.extend([rows::read(row)?]);
            Ok(())
        })?;
        Ok(known)
    }
}

/// A minute with what was added to it, where that comes to the same as making it anew.
fn fold(there: &Bucket, touch: Touch) -> Option<Bucket> {
    let mut bucket = *there;
    // What was added may already be counted, because the minute was made anew since: then it is not later.
    let is_later = |(time_us, share): &(i64, Share)| {
        matches!(share, Share::Number(_)) && there.numbers.is_none_or(|numbers| numbers.last_us < *time_us)
    };
    if touch.is_marked || there.gone > 0 || !(there.is_empty() || touch.added.iter().all(is_later)) {
        return None;
    }
    bucket.add_all(touch.added);
    Some(bucket)
}

/// A minute made of what has gone of it and of all the readings that are there.
fn from_readings(db: Db<'_>, series: i64, minute_us: i64, gone: Bucket) -> Result<Bucket, SqlError> {
    let sql = format!(
        "select r.time_us, r.value, r.form from reading r
         where r.series = ?1 and r.time_us >= ?2 and r.time_us <= ?3 and {VISIBLE}"
    );
    let values = [series, minute_us, minute_us.saturating_add(MINUTE_US - 1)];
    let readings = db.prepare(&sql).rows(values, |row| Ok((row.get(0)?, value::share(row.get(1)?, row.get(2)?))))?;
    let mut bucket = gone;
    bucket.add_all(readings);
    Ok(bucket)
}
