//! Batches: judged by the ledger, then their readings appended.

use proto::message::{Refusal, Settlement};
use proto::{Basis, BodyHash, Channel, Clock, Column, Instant, Lane, Number, Quality, Range};
use rusqlite::{CachedStatement, OptionalExtension, params};

use super::value::Cells;
use super::writer::Work;
use super::{StoreError, TENANT, to_sql};
use crate::seeded::Bug;
use crate::store::{Batch, Outcome, Quarantine};

/// A reading this much later than its arrival is flagged: it is kept and shown as what it is, but is not "the newest".
/// Five minutes is more than clocks disciplined by NTP ever differ.
const FUTURE_US: i64 = 5 * 60 * 1_000_000;
/// The bits of the column `flags`.
pub(super) const FLAG_FUTURE: i64 = 1;
pub(super) const FLAG_ORIGIN: i64 = 2;
/// The quality of a time that its origin gave, beside [`quality_code`]'s.
pub(super) const QUALITY_SOURCE: i64 = 3;

const INSERT: &str = "insert into reading
      (tenant, epoch, number, series, quality, id, time_us, ordinal, value, form, code, text, utc_offset_minutes,
       local_text, flags)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

/// The code of a clock's quality in the columns `quality`.
pub(super) fn quality_code(quality: Quality) -> i64 {
    match quality {
        Quality::Unset => 0,
        Quality::Held => 1,
        Quality::Synced => 2,
    }
}

/// Flags of a reading of `time` that came at `arrived`.
pub(super) fn future_flag(time: i64, arrived: Instant) -> i64 {
    if time > arrived.0.saturating_add(FUTURE_US) { FLAG_FUTURE } else { 0 }
}

/// Where columns come from, and what places them in time.
pub(super) struct Arrived<'a> {
    pub(super) device: i64,
    pub(super) at: Instant,
    /// The key of their epoch, and their number in it.
    pub(super) batch: Option<(i64, Number)>,
    pub(super) lane: Option<Lane>,
    pub(super) clock: Clock,
    pub(super) columns: &'a [Column],
}

/// [`INSERT`] at work.
struct Insert<'a> {
    statement: CachedStatement<'a>,
    /// Whether the last reading was a number and no more, so that the columns beside it are bound to null.
    was_plain: bool,
}

impl Work<'_> {
    /// Records a batch, if the ledger does not know it yet.
    pub(super) fn batch(&mut self, batch: &Batch) -> Result<Outcome, StoreError> {
        let device = self.device(&batch.device, Some(batch.arrived))?;
        let epoch = self.epoch(device, batch.epoch)?;
        epoch.arrived(batch.arrived);
        let (key, state) = (epoch.key, epoch.state_of(batch.number));
        match state {
            None => {}
            Some(Settlement::Gap) => self.withdraw_gap(device, key, batch.number)?,
            Some(settled) => match self.batch_hash(key, batch.number)? {
                Some(hash) if hash != batch.hash => {
                    return self.conflict(&as_quarantine(batch, "another body was committed under this identity"));
                }
                // What could not be read before can be read now: it moves.
                Some(_) if settled == Settlement::Quarantined => {
                    self.release(device, key, batch.number, batch.hash)?;
                }
                _ => return Ok(Outcome::Known),
            },
        }
        if !self.has_room_for(device, batch.columns.iter().map(|column| &column.series)) {
            self.alarm(device, "too_many_series")?;
            return self.quarantine(&as_quarantine(batch, "the device would have more series than it may (4096)"));
        }
        let clock = self.clock_for(device, &batch.clock)?;
        let before = self.memory.last_reading;
        self.append(&Arrived {
            device,
            at: batch.arrived,
            batch: Some((key, batch.number)),
            lane: Some(batch.lane),
            clock,
            columns: &batch.columns,
        })?;
        if clock.quality == Quality::Unset && batch.columns.iter().any(|column| column.basis == Basis::Boot) {
            self.note_unset(device, &clock, before)?;
        }
        let row = BatchRow { hash: batch.hash, lane: Some(batch.lane), clock: Some(clock), arrived: batch.arrived };
        self.batch_row(key, batch.number, &row, self.memory.last_reading - before)?;
        let epoch = self.epoch(device, batch.epoch)?;
        epoch.repaired += u64::from(state == Some(Settlement::Gap));
        epoch.settle(Range::one(batch.number), Settlement::Stored);
        self.memory.names.added(device).batches += 1;
        Ok(Outcome::Recorded)
    }

    /// Appends readings.
    pub(super) fn append(&mut self, arrived: &Arrived<'_>) -> Result<(), StoreError> {
        let db = self.db;
        let mut insert = Insert { statement: db.prepare_cached(INSERT)?, was_plain: false };
        // What all readings of a batch share is bound once; a binding outlives the execution.
        let (epoch, number) = arrived.batch.map(|(epoch, number)| (epoch, to_sql(number))).unzip();
        insert.statement.raw_bind_parameter(1, TENANT)?;
        insert.statement.raw_bind_parameter(2, epoch)?;
        insert.statement.raw_bind_parameter(3, number)?;
        let (mut times, mut counts, mut newest_of_all) = (Vec::new(), Vec::with_capacity(arrived.columns.len()), None);
        for column in arrived.columns {
            let on_boot_clock = column.basis == Basis::Boot;
            let place = |time: Instant| if on_boot_clock { arrived.clock.absolute(time).0 } else { time.0 };
            times.clear();
            times.extend(column.readings.iter().map(|reading| place(reading.time)));
            let before = self.memory.last_reading;
            let (series, newest) = self.append_column(arrived, column, &times, &mut insert)?;
            let hidden = self.note_origins(series, column, &times, before + 1)?;
            counts.push((series, self.memory.last_reading - before - hidden));
            newest_of_all = newest_of_all.max(newest);
        }
        insert.statement.clear_bindings();
        self.count(arrived, &counts, newest_of_all);
        Ok(())
    }

    /// Answers the series and the newest instant that is not in the future.
    fn append_column(
        &mut self,
        arrived: &Arrived<'_>,
        column: &Column,
        times: &[i64],
        Insert { statement: insert, was_plain }: &mut Insert<'_>,
    ) -> Result<(i64, Option<Instant>), StoreError> {
        let entry = self.memory.names.series(self.db, arrived.device, &column.series)?;
        let ranks = entry.empty.ranks(self.db, entry.key, times)?;
        let on_boot_clock = column.basis == Basis::Boot;
        let quality = if on_boot_clock { quality_code(arrived.clock.quality) } else { QUALITY_SOURCE };
        // An instant of a clock that does not know the time is neither new nor old.
        let is_timed = !on_boot_clock || arrived.clock.quality != Quality::Unset;
        insert.raw_bind_parameter(4, entry.key)?;
        insert.raw_bind_parameter(5, quality)?;
        let mut newest = None;
        for (place, (reading, &time)) in column.readings.iter().zip(times).enumerate() {
            if Bug::TimeInIdentity.is_on() && ranks.of(place) > 0 {
                continue;
            }
            let cells = Cells::of(&reading.value);
            let future = future_flag(time, arrived.at);
            let origin = if reading.origin.is_some() { FLAG_ORIGIN } else { 0 };
            self.memory.last_reading += 1;
            insert.raw_bind_parameter(6, self.memory.last_reading)?;
            insert.raw_bind_parameter(7, time)?;
            insert.raw_bind_parameter(8, ranks.of(place))?;
            insert.raw_bind_parameter(9, cells.value)?;
            insert.raw_bind_parameter(10, cells.form)?;
            // Most readings are plain numbers: what they all lack is bound once.
            let is_plain = cells.code.is_none()
                && cells.text.is_none()
                && reading.utc_offset_minutes.is_none()
                && reading.local_text.is_none();
            if !(is_plain && *was_plain) {
                insert.raw_bind_parameter(11, cells.code)?;
                insert.raw_bind_parameter(12, cells.text)?;
                insert.raw_bind_parameter(13, reading.utc_offset_minutes)?;
                insert.raw_bind_parameter(14, reading.local_text.as_deref())?;
            }
            *was_plain = is_plain;
            insert.raw_bind_parameter(15, future | origin)?;
            insert.raw_execute()?;
            if future == 0 && is_timed {
                newest = newest.max(Some(Instant(time)));
            }
        }
        Ok((entry.key, newest))
    }

    /// Adds to what the commit will say of the device.
    fn count(&mut self, arrived: &Arrived<'_>, readings: &[(i64, i64)], newest: Option<Instant>) {
        let added = self.memory.names.added(arrived.device);
        added.readings.extend_from_slice(readings);
        added.newest = added.newest.max(newest);
        if arrived.lane != Some(Lane::Backfill)
            && let Some(newest) = newest
            && added.live.is_none_or(|(time, _)| time <= newest)
        {
            added.live = Some((newest, arrived.at.0.saturating_sub(newest.0)));
        }
    }

    /// The hash of a batch whose row is still kept.
    pub(super) fn batch_hash(&self, epoch: i64, number: Number) -> Result<Option<BodyHash>, StoreError> {
        let sql = "select hash from batch where epoch = ?1 and number = ?2";
        let mut statement = self.db.prepare_cached(sql)?;
        let found = statement.query_row(params![epoch, to_sql(number)], |row| row.get(0)).optional()?;
        Ok(found.map(BodyHash))
    }

    /// Enters or renews the row of a batch.
    pub(super) fn batch_row(
        &self,
        epoch: i64,
        number: Number,
        row: &BatchRow,
        readings: i64,
    ) -> Result<(), StoreError> {
        let lane = match row.lane {
            Some(Lane::Live) => 0,
            Some(Lane::Backfill) => 1,
            None => 2,
        };
        let (offset_us, quality) = row.clock.map(|clock| (clock.offset_us, quality_code(clock.quality))).unzip();
        let sql =
            "insert or replace into batch (tenant, epoch, number, hash, lane, offset_us, quality, arrived_us, readings)
                   values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let arrived_us = row.arrived.0;
        self.db.prepare_cached(sql)?.execute(params![
            TENANT,
            epoch,
            to_sql(number),
            row.hash.0,
            lane,
            offset_us,
            quality,
            arrived_us,
            readings
        ])?;
        Ok(())
    }
}

/// What the ledger keeps of a batch while its device may still send it.
pub(super) struct BatchRow {
    pub(super) hash: BodyHash,
    pub(super) lane: Option<Lane>,
    pub(super) clock: Option<Clock>,
    pub(super) arrived: Instant,
}

fn as_quarantine(batch: &Batch, reason: &str) -> Quarantine {
    Quarantine {
        device: batch.device.clone(),
        channel: Channel::Batch,
        identity: Some((batch.epoch, batch.number, batch.hash)),
        arrived: batch.arrived,
        reason: reason.to_owned(),
        bytes: batch.body.clone(),
    }
}

/// Refused for a reason of its own.
pub(super) const CONFLICT: Outcome = Outcome::Refused(Refusal::Conflict);
