//! Removing readings that are old, in small steps. What they summed up to stays: it is kept as what has gone of their
//! minutes, so that a late reading is added to it, and a minute can still be made anew from it and what is there.

use super::remake::{Made, Touch, Touched, remake};
use super::rows::{self, Place};
use super::{Level, Rolled};
use crate::store::ledger::TENANT;
use crate::store::ledger::value;
use crate::store::reader::VISIBLE;
use crate::store::sql::{Cell, Db, Many, SqlError};

/// Readings removed in one transaction, which devices wait for.
const READINGS_MAX: i64 = 1_000;
/// Series looked at in one transaction.
const SERIES_MAX: i64 = 200;

/// Goes round the series, from one step to the next.
#[derive(Default)]
pub(in crate::store) struct Retain {
    /// The last series that has been looked at.
    series: i64,
}

impl Retain {
    /// Removes some readings of before `before_us`, all in the transaction that `db` is in. None that a time-series store
    /// has not got yet goes, nor any that was committed after it. Those of which no rollup
    /// tells what matters stay: states, texts, and events have series of their own kinds. So do those whose time is not
    /// known yet.
    pub(in crate::store) fn step(&mut self, db: Db<'_>, before_us: i64) -> Result<Rolled, SqlError> {
        let before_us = Level::Hour.start_us(before_us);
        let sql = "select id from series where tenant = ?1 and id > ?2 and kind in ('gauge', 'counter', 'delta')
                   order by id limit ?3";
        let series: Vec<i64> = db.prepare(sql).rows([TENANT, self.series, SERIES_MAX], |row| row.get(0))?;
        let mut old = Vec::new();
        for series in &series {
            old = take_old(db, *series, before_us)?;
            if !old.is_empty() {
                break;
            }
            self.series = *series;
        }
        let is_behind = !series.is_empty();
        if !is_behind {
            // Round again, when this is next called.
            self.series = 0;
        }
        if old.is_empty() {
            return Ok(Rolled { is_behind, ..Rolled::default() });
        }
        let removed = old.len();
        let rows = remove(db, old)?;
        let sql = "update rollup_state set raw_from_us = ?2 where tenant = ?1 and raw_from_us < ?2";
        db.prepare(sql).execute([TENANT, before_us])?;
        Ok(Rolled { removed, rows, is_behind, ..Rolled::default() })
    }
}

/// A reading that is to go.
struct Old {
    id: i64,
    series: i64,
    time_us: i64,
    /// What it adds to its minute, if it counts.
    share: Option<value::Share>,
}

fn take_old(db: Db<'_>, series: i64, before_us: i64) -> Result<Vec<Old>, SqlError> {
    let sql = "select exists(select 1 from reading where series = ?1 and time_us < ?2 and quality <> 0)";
    if !db.prepare(sql).one([series, before_us], |row| row.get::<bool>(0))? {
        return Ok(Vec::new());
    }
    // Its device's row is locked, as by whoever writes its readings, so that none is hidden or moved meanwhile.
    let sql = "update device set readings = readings where id = (select device from series where id = ?1)";
    db.prepare(sql).execute([series])?;
    let sql = format!(
        "select r.id, r.time_us, r.value, r.form, {VISIBLE} from reading r
         where r.series = ?1 and r.time_us < ?2 and r.quality <> 0
           and r.id < (select coalesce(min(first_reading), {LAST}) from outbox) order by r.time_us, r.value limit ?3",
        LAST = i64::MAX,
    );
    db.prepare(&sql).rows([series, before_us, READINGS_MAX], |row| {
        let share = if row.get(4)? { Some(value::share(row.get(2)?, row.get(3)?)) } else { None };
        Ok(Old { id: row.get(0)?, series, time_us: row.get(1)?, share })
    })
}

fn remove(db: Db<'_>, old: Vec<Old>) -> Result<usize, SqlError> {
    let cells = |old: &Old| [old.id, old.series, old.time_us].map(Cell::Int).to_vec();
    let ids: Vec<_> = old.iter().map(cells).collect();
    let mut gone = Made::new();
    let mut touched = Touched::new();
    for Old { series, time_us, share, .. } in old {
        let minute_us = Level::Minute.start_us(time_us);
        let Some(share) = share else { continue };
        let place: (i64, Place) = (series, (Level::Gone, minute_us));
        let bucket = match gone.get_mut(&place) {
            Some(bucket) => bucket,
            None => {
                let so_far = rows::gone(db, series, minute_us)?;
                touched.insert((series, minute_us), Touch { is_marked: true, ..Touch::default() });
                gone.entry(place).or_insert(so_far)
            }
        };
        bucket.add(time_us, share);
        bucket.gone += 1;
    }
    rows::write(db, &gone)?;
    db.driver().execute_many(&REMOVE, &ids)?;
    rows::write(db, &remake(db, touched)?)
}

const REMOVE: Many = Many {
    one: "delete from reading where id = ?1 and series = ?2 and time_us = ?3",
    all: "delete from reading using unnest($1::bigint[], $2::bigint[], $3::bigint[]) as old (id, series, time_us)
          where reading.id = old.id and reading.series = old.series and reading.time_us = old.time_us",
};
