//! The clock of each boot: learned once, and used for every batch of the boot ever after.

use proto::{BootId, Clock, Instant, Quality};

use super::batches::{FLAG_FUTURE, future_flag, quality_code};
use super::{StoreError, TENANT, Work, ordinals};
use crate::store::sql::{Cell, Many, params};

/// Readings re-timed at once, so that a long run without a clock does not fill the memory.
const RETIME_ROWS: i64 = 4_096;

/// A run of readings of one boot that were placed by a clock that did not know the time.
struct UnsetRun {
    offset_us: i64,
    first: i64,
    last: i64,
}

/// One reading of it.
struct UnsetRow {
    id: i64,
    series: i64,
    time: i64,
    flags: i64,
}

/// Moves a reading: its id, series and instant so far, and where to.
const MOVE: Many = Many {
    one: "update reading set time_us = ?4, ordinal = coalesce(?5, ordinal), quality = ?6, flags = ?7
          where id = ?1 and series = ?2 and time_us = ?3",
    // Taken out and put in: a hypertable lets no row move from one chunk to another.
    all: "with new as (
            select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::int[], $6::smallint[],
              $7::smallint[]) as new (id, series, was_us, time_us, ordinal, quality, flags)),
          gone as (
            delete from reading r using new where r.id = new.id and r.series = new.series and r.time_us = new.was_us
            returning r.*)
          insert into reading (tenant, quality, form, id, series, time_us, value, epoch, number, ordinal, flags,
              utc_offset_minutes, code, text, local_text)
          select g.tenant, new.quality, g.form, g.id, g.series, new.time_us, g.value, g.epoch, g.number,
              coalesce(new.ordinal, g.ordinal), new.flags, g.utc_offset_minutes, g.code, g.text, g.local_text
          from gone g join new on new.id = g.id",
};

impl Work<'_> {
    /// The clock that places a batch that came with `clock`: the one of its boot that came first, if that knew the
    /// time; or else this one.
    pub(super) fn clock_for(&mut self, device: i64, clock: &Clock) -> Result<Clock, StoreError> {
        if let Some(first) = self.boot_clock(device, clock.boot)? {
            return Ok(first);
        }
        self.learn_clock(device, clock)?;
        Ok(*clock)
    }

    /// Keeps `clock` if it is the first of its boot that knows the time, and re-times what was placed without one.
    /// Answers whether it was.
    pub(super) fn learn_clock(&mut self, device: i64, clock: &Clock) -> Result<bool, StoreError> {
        if clock.quality == Quality::Unset || self.boot_clock(device, clock.boot)?.is_some() {
            return Ok(false);
        }
        let sql = "insert into boot_clock (tenant, device, boot, offset_us, quality) values (?1, ?2, ?3, ?4, ?5)";
        let quality = quality_code(clock.quality);
        let values = params![TENANT, device, clock.boot.0, clock.offset_us, quality];
        self.db.prepare(sql).execute(values)?;
        let sql =
            "select offset_us, first_reading, last_reading from unset_run where device = ?1 and boot = ?2 order by id";
        let runs: Vec<UnsetRun> = self.db.prepare(sql).rows(params![device, clock.boot.0], |row| {
            Ok(UnsetRun { offset_us: row.get(0)?, first: row.get(1)?, last: row.get(2)? })
        })?;
        self.memory.names.forget_empty(device);
        let mut newest = None;
        for run in runs {
            newest = newest.max(self.retime(&run, clock)?);
            self.claim_again(device, run.first, run.last)?;
        }
        let sql = "delete from unset_run where device = ?1 and boot = ?2";
        self.db.prepare(sql).execute(params![device, clock.boot.0])?;
        // Every batch of this boot that is still to come asks for it.
        self.memory.names.entry(device).clock = Some(*clock);
        let added = self.memory.names.added(device);
        added.newest = added.newest.max(newest);
        Ok(true)
    }

    /// Notes that the readings after `before` were placed by a clock that did not know the time.
    pub(super) fn note_unset(&mut self, device: i64, clock: &Clock, before: i64) -> Result<(), StoreError> {
        let (first, last) = (before + 1, self.memory.last_reading);
        if first > last {
            return Ok(());
        }
        // Batches that were recorded one after the other are one run.
        let sql = "update unset_run set last_reading = ?5
                   where device = ?1 and boot = ?2 and offset_us = ?3 and last_reading = ?4 - 1";
        let boot = clock.boot.0;
        if self.db.prepare(sql).execute(params![device, boot, clock.offset_us, first, last])? == 0 {
            let sql = "insert into unset_run (tenant, device, boot, offset_us, first_reading, last_reading)
                       values (?1, ?2, ?3, ?4, ?5, ?6)";
            self.db.prepare(sql).execute(params![TENANT, device, boot, clock.offset_us, first, last])?;
        }
        Ok(())
    }

    fn boot_clock(&mut self, device: i64, boot: BootId) -> Result<Option<Clock>, StoreError> {
        let remembered = &mut self.memory.names.entry(device).clock;
        if let Some(clock) = remembered.filter(|clock| clock.boot == boot) {
            return Ok(Some(clock));
        }
        let sql = "select offset_us, quality from boot_clock where device = ?1 and boot = ?2";
        let found = self.db.prepare(sql).first(params![device, boot.0], |row| {
            let is_held = row.get::<i64>(1)? == quality_code(Quality::Held);
            let quality = if is_held { Quality::Held } else { Quality::Synced };
            Ok(Clock { boot, offset_us: row.get(0)?, quality })
        })?;
        *remembered = found.or(*remembered);
        Ok(found)
    }

    /// Moves a run to where `clock` places it. Answers the newest instant that is not in the future.
    fn retime(&mut self, run: &UnsetRun, clock: &Clock) -> Result<Option<Instant>, StoreError> {
        let (mut from, mut newest) = (run.first, None);
        loop {
            let rows = self.unset_rows(from, run.last)?;
            let Some(last) = rows.last() else { return Ok(newest) };
            from = last.id + 1;
            newest = newest.max(self.move_readings(rows, run, clock)?);
        }
    }

    /// Those readings of a run that count from the boot.
    fn unset_rows(&self, from: i64, last: i64) -> Result<Vec<UnsetRow>, StoreError> {
        let sql = "select id, series, time_us, flags from reading where id between ?1 and ?2 and quality = ?3
                   order by id limit ?4";
        let values = [from, last, quality_code(Quality::Unset), RETIME_ROWS];
        Ok(self.db.prepare(sql).rows(values, |row| {
            Ok(UnsetRow { id: row.get(0)?, series: row.get(1)?, time: row.get(2)?, flags: row.get(3)? })
        })?)
    }

    /// Moves readings to where `clock` places them. Answers the newest instant that is not in the future.
    fn move_readings(
        &mut self,
        mut rows: Vec<UnsetRow>,
        run: &UnsetRun,
        clock: &Clock,
    ) -> Result<Option<Instant>, StoreError> {
        let (mut moves, mut newest) = (Vec::with_capacity(rows.len()), None);
        rows.sort_by_key(|row| row.series);
        for of_series in rows.chunk_by(|left, right| left.series == right.series) {
            // Undone and done again rather than shifted, so that a cut at the end of time is not carried along.
            let place = |row: &UnsetRow| clock.absolute(Instant(row.time.saturating_sub(run.offset_us)));
            let placed: Vec<(&UnsetRow, Instant)> = of_series.iter().map(|row| (row, place(row))).collect();
            let elsewhere = placed.iter().filter(|(row, time)| time.0 != row.time).map(|(_, time)| time.0);
            let mut ranks = ordinals::ranks(
                self.db,
                of_series.first().map_or(0, |row| row.series),
                &elsewhere.collect::<Vec<_>>(),
            )?
            .into_iter();
            for (row, time) in placed {
                if time.0 != row.time {
                    self.mark(row.series, row.time)?;
                    self.mark(row.series, time.0)?;
                }
                // What stays keeps its rank.
                let rank = if time.0 == row.time { None } else { ranks.next() };
                let future = future_flag(time.0, self.now);
                let (quality, flags) = (quality_code(clock.quality), (row.flags & !FLAG_FUTURE) | future);
                let rank = rank.map_or(Cell::Null, Cell::Int);
                let [id, series, was, time_us, quality, flags] =
                    [row.id, row.series, row.time, time.0, quality, flags].map(Cell::Int);
                moves.push(vec![id, series, was, time_us, rank, quality, flags]);
                newest = newest.max((future == 0).then_some(time));
            }
        }
        self.db.driver().execute_many(&MOVE, &moves)?;
        Ok(newest)
    }
}
