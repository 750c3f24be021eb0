//! Minutes made from their readings, and longer spans from those.
//!
//! Readings that all come after the last one of their minute are folded in; otherwise the minute is made anew from all
//! that is there, which gives the very same bits. What has gone of a minute (see `gone`) counts first: as long as other
//! readings of the minute are there, it is kept apart, as level 0, so that a minute can be made anew at any time.

use std::collections::BTreeMap;

use super::bucket::Bucket;
use super::rows::{self, Place, Within};
use super::{Level, MINUTE_US};
use crate::store::ledger::value::{self, Share};
use crate::store::reader::VISIBLE;
use crate::store::sql::{Db, SqlError};

/// Hours that are read at once, of one series or of several together: each has at most 124 rows.
const HOURS_MAX: i64 = 500;
/// Hours between two touched ones that are rather read along than asked for apart.
const HOURS_BETWEEN: i64 = 2;

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
    let (mut made, mut open, mut hours) = (Made::new(), Vec::new(), 0);
    for span in spans(touched) {
        if !open.is_empty() && hours + span.hours() > HOURS_MAX {
            make(db, std::mem::take(&mut open), &mut made)?;
            hours = 0;
        }
        hours += span.hours();
        open.push(span);
    }
    make(db, open, &mut made)?;
    Ok(made)
}

/// Touched minutes that are near each other together.
fn spans(touched: Touched) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for ((series, minute_us), touch) in touched {
        let hour_us = Level::Hour.start_us(minute_us);
        match spans.last_mut().filter(|open| open.takes(series, hour_us)) {
            Some(open) => {
                open.until_us = hour_us;
                open.minutes.push((minute_us, touch));
            }
            None => spans.push(Span { series, from_us: hour_us, until_us: hour_us, minutes: vec![(minute_us, touch)] }),
        }
    }
    spans
}

/// What the touched minutes of `spans` come to, and all that is made of these.
fn make(db: Db<'_>, spans: Vec<Span>, made: &mut Made) -> Result<(), SqlError> {
    let within: Vec<_> = spans.iter().filter_map(Span::within).collect();
    let mut known = rows::within(db, &within)?;
    spans.into_iter().try_for_each(|span| span.make(db, &mut known, made))
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
    /// How many hours there are from its first to its last one, both counted.
    fn hours(&self) -> i64 {
        self.until_us.saturating_sub(self.from_us) / Level::Hour.length_us() + 1
    }

    fn takes(&self, series: i64, hour_us: i64) -> bool {
        let hours = |from: i64| hour_us.saturating_sub(from) / Level::Hour.length_us();
        // An hour that it has takes all of its minutes: what is made of them is made once.
        series == self.series && hours(self.until_us) <= HOURS_BETWEEN && hours(self.from_us) < HOURS_MAX
    }

    /// All that longer spans are made of again: the minutes of touched quarters, and the quarters of touched hours.
    fn within(&self) -> Option<Within> {
        let ((first, _), (last, _)) = (self.minutes.first()?, self.minutes.last()?);
        Some(Within {
            series: self.series,
            minutes_us: (Level::Quarter.start_us(*first), Level::Quarter.last_us(Level::Quarter.start_us(*last))),
            quarters_us: (self.from_us, Level::Hour.last_us(self.until_us)),
        })
    }

    /// Makes its buckets of what was added and what is `known`.
    fn make(self, db: Db<'_>, known: &mut Made, made: &mut Made) -> Result<(), SqlError> {
        let series = self.series;
        let mut put = |known: &mut Made, place, bucket| {
            known.insert((series, place), bucket);
            made.insert((series, place), bucket);
        };
        let (mut quarters, mut hours) = (Vec::new(), Vec::new());
        for (minute_us, touch) in self.minutes {
            quarters.push(Level::Quarter.start_us(minute_us));
            hours.push(Level::Hour.start_us(minute_us));
            let there = known.get(&(series, (Level::Minute, minute_us))).copied().unwrap_or_default();
            let bucket = if let Some(folded) = fold(&there, touch) {
                folded
            } else {
                let apart = known.get(&(series, (Level::Gone, minute_us))).copied();
                let gone = apart.unwrap_or(if there.gone > 0 { there } else { Bucket::default() });
                let bucket = from_readings(db, series, minute_us, gone)?;
                let is_mixed = 0 < bucket.gone && bucket.gone < bucket.readings();
                if is_mixed || apart.is_some() {
                    put(known, (Level::Gone, minute_us), if is_mixed { gone } else { Bucket::default() });
                }
                bucket
            };
            put(known, (Level::Minute, minute_us), bucket);
        }
        for (level, mut starts, below) in
            [(Level::Quarter, quarters, Level::Minute), (Level::Hour, hours, Level::Quarter)]
        {
            starts.dedup();
            for start_us in starts {
                let mut bucket = Bucket::default();
                let parts = (series, (below, start_us))..=(series, (below, level.last_us(start_us)));
                known.range(parts).for_each(|(_, part)| bucket.merge(part));
                put(known, (level, start_us), bucket);
            }
        }
        Ok(())
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
