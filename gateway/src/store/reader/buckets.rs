//! Readings summed up, up to the newest: what the roller has not reached yet is summed up for the answer alone.

use std::collections::BTreeMap;

use super::View;
use crate::store::error::ReadError;
use crate::store::feed::Span;
use crate::store::ledger::TENANT;
use crate::store::rollup::pass;
use crate::store::rollup::remake::{Made, Touch, Touched, remake};
use crate::store::rollup::rows::{self, COLUMNS};
use crate::store::rollup::{Bucket, Level};
use crate::store::sql::Db;

/// Readings of all series that the roller has not reached yet and that are looked through for those of one. Where there
/// are more, what is newer than anything that it has reached is looked for instead.
const BEHIND_MAX: i64 = 20_000;
/// Marks of a series that are heeded. Beyond it, an answer is as old as the roller is behind.
const MARKS_MAX: i64 = 1_000;

/// The rollups of one series, up to date.
pub(super) struct Rollups<'a> {
    view: View<'a>,
    series: i64,
    /// Those that are not as the table has them.
    newer: Made,
}

impl View<'_> {
    /// The spans of `level` that hold readings of `series`, by their first instants, those in `[from_us, to_us)`: as they
    /// were summed up last.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn buckets(
        &self,
        series: i64,
        level: Level,
        (from_us, to_us): (i64, i64),
    ) -> Result<Vec<(i64, Bucket)>, ReadError> {
        let sql = format!(
            "select {COLUMNS} from rollup where series = ?1 and level = ?2 and start_us >= ?3 and start_us < ?4
             order by start_us"
        );
        let values = [series, level.code(), from_us, to_us];
        Ok(self.db.prepare(&sql).rows(values, |row| {
            let ((_, start_us), bucket) = rows::read(row)?;
            Ok((start_us, bucket))
        })?)
    }

    /// From when on the readings themselves are there.
    pub(super) fn raw_from_us(&self) -> Result<i64, ReadError> {
        let sql = "select raw_from_us from rollup_state where tenant = ?1";
        Ok(self.db.prepare(sql).one([TENANT], |row| row.get(0))?)
    }
}

impl<'a> Rollups<'a> {
    /// Looks for what the roller has not reached yet.
    pub(super) fn of(view: View<'a>, series: i64) -> Result<Self, ReadError> {
        let touched = touched(view, series)?;
        Ok(Self { view, series, newer: remake(view.db, touched)? })
    }

    /// The spans of `level` whose first instants are in `[from_us, to_us)`.
    pub(super) fn spans(&self, level: Level, (from_us, to_us): (i64, i64)) -> Result<BTreeMap<i64, Bucket>, ReadError> {
        let mut spans: BTreeMap<i64, Bucket> =
            self.view.buckets(self.series, level, (from_us, to_us))?.into_iter().collect();
        for ((_, (_, start_us)), bucket) in self.newer(level, from_us).take_while(|((_, (_, start)), _)| *start < to_us)
        {
            spans.insert(*start_us, *bucket);
        }
        spans.retain(|_, bucket| !bucket.is_empty());
        Ok(spans)
    }

    /// The first instants of the first minute from `from_us` on that holds readings, and of the last of all.
    pub(super) fn minutes_from(&self, from_us: i64) -> Result<Option<(i64, i64)>, ReadError> {
        // In the order of the key, so that no database walks over more than one row, whatever it believes of the table.
        let end = |sql| -> Result<Option<i64>, ReadError> {
            Ok(self.view.db.prepare(sql).first([self.series, from_us], |row| row.get(0))?)
        };
        let first = end("select start_us from rollup where series = ?1 and level = 1 and start_us >= ?2
                         order by start_us limit 1")?;
        let last = end("select start_us from rollup where series = ?1 and level = 1 and start_us >= ?2
                        order by start_us desc limit 1")?;
        let mut newer = self.newer(Level::Minute, from_us).filter(|(_, bucket)| !bucket.is_empty());
        let newer_first = newer.next().map(|((_, (_, start_us)), _)| *start_us);
        let newer_last = newer.next_back().map(|((_, (_, start_us)), _)| *start_us).or(newer_first);
        let first = first.into_iter().chain(newer_first).min();
        let last = last.into_iter().chain(newer_last).max();
        Ok(first.zip(last))
    }

    fn newer(&self, level: Level, from_us: i64) -> impl DoubleEndedIterator<Item = (&(i64, rows::Place), &Bucket)> {
        let (first, last) = ((self.series, (level, from_us)), (self.series, (level, i64::MAX)));
        self.newer.range(first..=last)
    }
}

/// The minutes of a series that the roller is yet to make.
fn touched(view: View<'_>, series: i64) -> Result<Touched, ReadError> {
    let db = view.db;
    let mut touched = Touched::new();
    let mut touch = |time_us| {
        let minute = (series, Level::Minute.start_us(time_us));
        touched.insert(minute, Touch { is_marked: true, ..Touch::default() });
        Ok(())
    };
    if let Some(Span { first, last, from_us, to_us, .. }) = behind(db)? {
        // Where their span of time is not known, they are found by their ids alone: with the plus, SQLite does not walk
        // over all of the series.
        let series_column = if from_us == i64::MIN { "+r.series" } else { "r.series" };
        let sql = format!(
            "select r.time_us from reading r where r.id >= ?2 and r.id <= ?3 and {series_column} = ?1
             and r.time_us >= ?4 and r.time_us <= ?5"
        );
        db.prepare(&sql).each([series, first, last, from_us, to_us], |row| touch(row.get(0)?))?;
    }
    // What is newest, also where there is too much to look through, or where it has not come to its place in the feed.
    let sql = "select start_us from rollup where series = ?1 and level = 1 order by start_us desc limit 1";
    let newest: Option<i64> = db.prepare(sql).first([series], |row| row.get(0))?;
    let sql = "select r.time_us from reading r where r.series = ?1 and r.time_us >= ?2
               order by r.time_us desc limit ?3";
    db.prepare(sql).each([series, newest.unwrap_or(i64::MIN), BEHIND_MAX], |row| touch(row.get(0)?))?;
    let sql = "select start_us from rollup_mark where series = ?1 order by id limit ?2";
    db.prepare(sql).each([series, MARKS_MAX], |row| touch(row.get(0)?))?;
    Ok(touched)
}

/// What the roller has not reached yet: among which ids and instants it is. None if there is nothing, or too much.
fn behind(db: Db<'_>) -> Result<Option<Span>, ReadError> {
    let end = db.driver().feed_end()?;
    let mut spans = db.driver().feed(pass::cursor(db)?, usize::try_from(BEHIND_MAX).unwrap_or(usize::MAX))?;
    if let Some(open) = spans.last_mut().filter(|span| span.last == i64::MAX) {
        // Where there is one writer, it has no end.
        open.last = end.reading;
    }
    let readings: i64 = spans.iter().map(|span| span.last.saturating_sub(span.first).saturating_add(1)).sum();
    let is_whole = spans.last().is_some_and(|span| (span.turn, span.last) == (end.turn, end.reading));
    if readings == 0 || readings > BEHIND_MAX || !is_whole {
        return Ok(None);
    }
    Ok(spans.into_iter().reduce(|left, right| Span {
        turn: right.turn,
        first: left.first.min(right.first),
        last: left.last.max(right.last),
        from_us: left.from_us.min(right.from_us),
        to_us: left.to_us.max(right.to_us),
    }))
}
