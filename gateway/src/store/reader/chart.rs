//! A span of time in as many points as there is room for: of readings, or of sums that tell the same shorter.

use super::View;
use super::buckets::Rollups;
use crate::store::error::ReadError;
use crate::store::rollup::{Bucket, Level};
use crate::store::view::{Chart, ChartLevel, ChartPoints, Span};

/// Readings that are looked through one by one, if there are not more of them. Beyond it, sums answer sooner.
const READINGS_MAX: i64 = 20_000;

impl View<'_> {
    /// What there is of `series` in `[from_us, to_us)`, in at most `points_max` points (but never fewer than 4): its
    /// readings, if they are few enough to look through and all there, as [`View::excerpt`] has them; or else spans of
    /// equal length, each of whole minutes, quarters or hours, whichever is the longest that serves. The first and the
    /// last may reach over the ends.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn chart(&self, series: i64, (from_us, to_us): (i64, i64), points_max: usize) -> Result<Chart, ReadError> {
        if self.serves_raw(series, (from_us, to_us))? {
            let excerpt = self.excerpt(series, (from_us, to_us), points_max)?;
            return Ok(Chart {
                level: if excerpt.is_thinned { ChartLevel::MinMax } else { ChartLevel::Raw },
                readings_in_range: excerpt.readings_in_range,
                points: ChartPoints::Readings(excerpt.readings),
            });
        }
        let rollups = Rollups::of(*self, series)?;
        let (from_us, to_us) = within(&rollups, (from_us, to_us))?;
        // One span may be cut at either end.
        let spans_max = i64::try_from(points_max.max(4) - 2).unwrap_or(i64::MAX);
        let length_us = to_us.saturating_sub(from_us).max(1).div_euclid(spans_max).saturating_add(1);
        let (level, chart_level) = match length_us {
            long if long >= Level::Hour.length_us() => (Level::Hour, ChartLevel::Hour),
            long if long >= Level::Quarter.length_us() => (Level::Quarter, ChartLevel::Quarter),
            _ => (Level::Minute, ChartLevel::Minute),
        };
        // Whole spans of the level, counted from 1970, so that they stay where they are while time goes on.
        let step_us = level.length_us().saturating_mul((length_us - 1).div_euclid(level.length_us()) + 1);
        let start_of = |time_us: i64| time_us.div_euclid(step_us).saturating_mul(step_us);
        let mut spans: Vec<Span> = Vec::new();
        let mut readings_in_range = 0;
        for (start_us, bucket) in rollups.spans(level, (level.start_us(from_us), to_us))? {
            readings_in_range += bucket.readings();
            let from_us = start_of(start_us);
            match spans.last_mut().filter(|span| span.from_us == from_us) {
                Some(span) => span.bucket.merge(&bucket),
                None => spans.push(Span { from_us, to_us: from_us.saturating_add(step_us), bucket }),
            }
        }
        Ok(Chart { level: chart_level, readings_in_range, points: ChartPoints::Spans(spans) })
    }

    /// Whether the readings themselves are to answer.
    fn serves_raw(&self, series: i64, (from_us, to_us): (i64, i64)) -> Result<bool, ReadError> {
        let sql = "select kind from series where id = ?1";
        let kind: Option<String> = self.db.prepare(sql).first([series], |row| row.get(0))?;
        // Sums say nothing of states, texts and events.
        if !matches!(kind.as_deref(), Some("gauge" | "counter" | "delta")) {
            return Ok(true);
        }
        let raw_from_us = self.raw_from_us()?;
        if from_us < raw_from_us {
            let sql = "select exists(select 1 from rollup where series = ?1 and level = 60 and start_us < ?2
                         and start_us >= ?3 and start_us < ?4 and gone > 0)";
            let values = [series, raw_from_us, Level::Hour.start_us(from_us), to_us];
            if self.db.prepare(sql).one(values, |row| row.get(0))? {
                return Ok(false);
            }
        }
        let sql = "select count(*) from (select 1 from reading where series = ?1 and time_us >= ?2 and time_us < ?3
                   limit ?4) as counted";
        let readings: i64 = self.db.prepare(sql).one([series, from_us, to_us, READINGS_MAX + 1], |row| row.get(0))?;
        Ok(readings <= READINGS_MAX)
    }
}

/// `[from_us, to_us)` without what lies before the first minute that holds readings, or behind the last.
fn within(rollups: &Rollups<'_>, (from_us, to_us): (i64, i64)) -> Result<(i64, i64), ReadError> {
    let Some((first, last)) = rollups.minutes_from(Level::Minute.start_us(from_us))? else {
        return Ok((from_us, from_us));
    };
    let end_us = Level::Minute.last_us(last).saturating_add(1);
    let from_us = from_us.max(first);
    Ok((from_us, to_us.min(end_us).max(from_us)))
}

/// How many readings are in `[from_us, to_us)`, whose ends are ends of spans of `level`.
pub(super) fn count(rollups: &Rollups<'_>, level: Level, range: (i64, i64)) -> Result<i64, ReadError> {
    Ok(rollups.spans(level, range)?.values().map(Bucket::readings).sum())
}
