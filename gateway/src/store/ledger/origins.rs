//! Corrections: of all readings of one series and one record of the origin, the newest revision counts.
//!
//! Nothing is edited: a reading that no longer counts is marked in `reading_origin`, and reads leave it out. It does
//! not matter in which order revisions come: what decides is (revision, change), and only between equals the order.

use proto::{Change, Column, Origin, Reading};

use super::{StoreError, TENANT, Work, value};
use crate::store::sql::params;

/// Where a revision stands among those of its record: a later revision before an earlier one, and within a revision
/// (0 where the origin does not count) a withdrawal before a replacement before the record itself.
type Standing = (i64, i64);

fn standing(origin: &Origin) -> Standing {
    let change = match origin.change {
        Change::Add => 0,
        Change::Replace => 1,
        Change::Retract => 2,
    };
    // u64 in the order of i64.
    ((origin.revision ^ (1 << 63)).cast_signed(), change)
}

impl Work<'_> {
    /// Enters the origins of a column whose rows start at `first_id`. Answers how many readings less count than were
    /// added: those of the column and of earlier ones that are hidden now.
    pub(super) fn note_origins(
        &mut self,
        series: i64,
        column: &Column,
        times: &[i64],
        first_id: i64,
    ) -> Result<i64, StoreError> {
        let mut hidden = 0;
        for ((id, reading), &time) in (first_id..).zip(&column.readings).zip(times) {
            if let Some(origin) = &reading.origin {
                hidden += self.note_origin(series, origin, reading, time, id)?;
            }
        }
        Ok(hidden)
    }

    fn note_origin(
        &mut self,
        series: i64,
        origin: &Origin,
        reading: &Reading,
        time: i64,
        id: i64,
    ) -> Result<i64, StoreError> {
        let ours = standing(origin);
        let sql = "select revision, change from reading_origin where series = ?1 and origin = ?2
                   order by revision desc, change desc limit 1";
        let statement = self.db.prepare(sql);
        let best: Option<Standing> =
            statement.first(params![series, origin.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut earlier_hidden = 0;
        let counts = match best {
            _ if origin.change == Change::Retract => false,
            Some(best) if best > ours => false,
            Some(best) if best == ours && origin.change == Change::Add => {
                !self.is_repeated(series, origin, reading, time)?
            }
            _ => true,
        };
        // What counted so far gives way, except that several readings may come of one revision of one record.
        let supersedes = best.is_some_and(|best| ours > best || (ours == best && origin.change == Change::Replace));
        if supersedes {
            self.mark_counting(series, &origin.id)?;
            let sql = "update reading_origin set hidden = 1 where series = ?1 and origin = ?2 and hidden = 0";
            earlier_hidden = self.db.prepare(sql).execute(params![series, origin.id])?;
        }
        let sql = "insert into reading_origin (reading, tenant, series, origin, revision, change, hidden)
                   values (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.db.prepare(sql).execute(params![id, TENANT, series, origin.id, ours.0, ours.1, !counts])?;
        Ok(i64::try_from(earlier_hidden).unwrap_or(i64::MAX) + i64::from(!counts))
    }

    /// Marks the minutes of the readings that count of a record of the origin, because they will not any more.
    fn mark_counting(&mut self, series: i64, origin: &str) -> Result<(), StoreError> {
        let sql = "select r.time_us from reading_origin o join reading r on r.id = o.reading and r.series = o.series
                   where o.series = ?1 and o.origin = ?2 and o.hidden = 0";
        let times: Vec<i64> = self.db.prepare(sql).rows(params![series, origin], |row| row.get(0))?;
        times.into_iter().try_for_each(|time| self.mark(series, time))
    }

    /// Whether a reading that counts says the very same, of the same revision of the same record: a source that lost
    /// its cursor read it again.
    fn is_repeated(&self, series: i64, origin: &Origin, reading: &Reading, time: i64) -> Result<bool, StoreError> {
        let (revision, change) = standing(origin);
        // What has been removed because it was old cannot be compared; its record was counted once, and that is enough.
        let sql = "select r.value, r.form, r.code, r.text, r.id
                   from reading_origin o left join reading r on r.id = o.reading and r.series = o.series
                   where o.series = ?1 and o.origin = ?2 and o.revision = ?3 and o.change = ?4 and o.hidden = 0
                     and (r.time_us = ?5 or r.id is null)";
        let mut is_there = false;
        self.db.prepare(sql).each(params![series, origin.id, revision, change, time], |row| {
            is_there |= row.get::<Option<i64>>(4)?.is_none() || value::read(row, 0)?.same_bits(&reading.value);
            Ok(())
        })?;
        Ok(is_there)
    }
}
