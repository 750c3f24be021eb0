//! One pass over what is new: read first, then written in one short transaction.

use super::remake::{Made, Touch, Touched, remake};
use super::{Level, Rolled, rows};
use crate::store::feed::{self, Place};
use crate::store::ledger::TENANT;
use crate::store::ledger::value;
use crate::store::reader::VISIBLE;
use crate::store::sql::{Cell, Db, Many, SqlError};

/// Readings of one pass. The more there are of a minute at once, the less often its row, and those of the spans around
/// it, are written again.
const READINGS_MAX: usize = 200_000;
/// A pass that has touched so many minutes takes no more readings: each costs up to three rows, in one transaction.
const MINUTES_MAX: usize = 10_000;
/// Readings that are taken at once. Each may touch a minute of its own.
const PART_MAX: usize = 20_000;
/// Marks of one pass. Each has a minute read anew.
const MARKS_MAX: usize = 2_000;

/// What is to be written.
pub(in crate::store) struct Pass {
    before: Place,
    after: Place,
    marks: Vec<i64>,
    made: Made,
    rolled: Rolled,
}

impl Pass {
    /// What is new since the last pass, summed up. None where nothing is.
    ///
    /// Only one may be between this and [`Pass::write`] at a time.
    pub(in crate::store) fn read(db: Db<'_>) -> Result<Option<Self>, SqlError> {
        let before = cursor(db)?;
        let mut touched = Touched::new();
        let (mut after, mut readings, mut is_behind) = (before, 0, true);
        while is_behind && readings < READINGS_MAX && touched.len() < MINUTES_MAX {
            let (end, taken) = take_readings(db, after, &mut touched)?;
            (after, readings, is_behind) = (end, readings + taken, taken == PART_MAX);
        }
        let marks = take_marks(db, &mut touched)?;
        if after == before && marks.is_empty() {
            return Ok(None);
        }
        is_behind |= marks.len() == MARKS_MAX;
        let rolled = Rolled { readings, marks: marks.len(), is_behind, ..Rolled::default() };
        Ok(Some(Self { before, after, marks, made: remake(db, touched)?, rolled }))
    }

    /// Writes it.
    pub(in crate::store) fn write(self, db: Db<'_>) -> Result<Rolled, SqlError> {
        let sql = "update rollup_state set last_turn = ?4, last_reading = ?5
                   where tenant = ?1 and last_turn = ?2 and last_reading = ?3";
        let values = [TENANT, self.before.turn, self.before.reading, self.after.turn, self.after.reading];
        if db.prepare(sql).execute(values)? == 0 {
            // Somebody else has been here. What was read is of no use.
            return Ok(Rolled { is_behind: true, ..Rolled::default() });
        }
        let marks: Vec<_> = self.marks.iter().map(|mark| vec![Cell::Int(*mark)]).collect();
        db.driver().execute_many(&UNMARK, &marks)?;
        Ok(Rolled { rows: rows::write(db, &self.made)?, ..self.rolled })
    }
}

/// How far the feed has been summed up.
pub(in crate::store) fn cursor(db: Db<'_>) -> Result<Place, SqlError> {
    let sql = "select last_turn, last_reading from rollup_state where tenant = ?1";
    db.prepare(sql).one([TENANT], |row| Ok(Place { turn: row.get(0)?, reading: row.get(1)? }))
}

/// Enters the readings after `before`. Answers where they end, and how many there were.
fn take_readings(db: Db<'_>, before: Place, touched: &mut Touched) -> Result<(Place, usize), SqlError> {
    // One that was moved out of the feed's span of time has marks.
    let columns = format!("r.series, r.time_us, r.value, r.form, {VISIBLE}");
    let mut readings = 0;
    let after = feed::each(db, &columns, before, PART_MAX, |row| {
        readings += 1;
        if row.get(5)? {
            let time_us: i64 = row.get(2)?;
            let added = (time_us, value::share(row.get(3)?, row.get(4)?));
            touched.entry((row.get(1)?, Level::Minute.start_us(time_us))).or_default().added.push(added);
        }
        Ok(())
    })?;
    Ok((after, readings))
}

/// Enters marked minutes. Answers the keys of the marks.
fn take_marks(db: Db<'_>, touched: &mut Touched) -> Result<Vec<i64>, SqlError> {
    let sql = "select id, series, start_us from rollup_mark where tenant = ?1 order by id limit ?2";
    let limit = i64::try_from(MARKS_MAX).unwrap_or(i64::MAX);
    db.prepare(sql).rows([TENANT, limit], |row| {
        let touch: &mut Touch = touched.entry((row.get(1)?, row.get(2)?)).or_default();
        touch.is_marked = true;
        row.get(0)
    })
}

const UNMARK: Many =
    Many { one: "delete from rollup_mark where id = ?1", all: "delete from rollup_mark where id = any ($1::bigint[])" };
/// Marks a minute: tenant, series, first instant.
pub(in crate::store) const MARK: Many = Many {
    one: "insert into rollup_mark (tenant, series, start_us) values (?1, ?2, ?3)",
    all: "insert into rollup_mark (tenant, series, start_us)
          select * from unnest($1::int[], $2::bigint[], $3::bigint[])",
};
