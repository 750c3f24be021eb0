//! The clock of each boot: learned once, and used for every batch of the boot ever after.

use proto::{BootId, Clock, Instant, Quality};

use super::batches::{FLAG_FUTURE, future_flag, quality_code};
use super::{StoreError, TENANT, Work, ordinals};
use crate::store::sql::params;

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
            for row in rows {
                // Undone and done again rather than shifted, so that a cut at the end of time is not carried along.
                let time = clock.absolute(Instant(row.time.saturating_sub(run.offset_us)));
                newest = newest.max(self.move_reading(&row, time, clock.quality)?);
            }
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

    fn move_reading(&self, row: &UnsetRow, time: Instant, quality: Quality) -> Result<Option<Instant>, StoreError> {
        let rank = if time.0 == row.time {
            None
        } else {
            Some(ordinals::next_rank(self.db, row.series, time.0)?.unwrap_or(0))
        };
        let future = future_flag(time.0, self.now);
        let sql =
            "update reading set time_us = ?2, ordinal = coalesce(?3, ordinal), quality = ?4, flags = ?5 where id = ?1";
        let flags = (row.flags & !FLAG_FUTURE) | future;
        self.db.prepare(sql).execute(params![row.id, time.0, rank, quality_code(quality), flags])?;
        Ok((future == 0).then_some(time))
    }
}
