//! Batches: judged by the ledger, then their readings appended.

use proto::message::{Refusal, Settlement};
use proto::{Basis, BodyHash, Channel, Clock, Column, Instant, Lane, Number, Quality, Range};

use super::claims::Claimed;
use super::value::Cells;
use super::{AlarmKind, Memory, StoreError, TENANT, Work, to_sql};
use crate::seeded::Bug;
use crate::store::sql::{Cell, Many, ReadingRow, Run};
use crate::store::{Batch, Outcome, Quarantine};

/// A reading this much later than its arrival is flagged: it is kept and shown as what it is, but is not "the newest".
/// Five minutes is more than clocks disciplined by NTP ever differ.
const FUTURE_US: i64 = 5 * 60 * 1_000_000;
/// The bits of the column `flags`.
pub(in crate::store) const FLAG_FUTURE: i64 = 1;
pub(in crate::store) const FLAG_ORIGIN: i64 = 2;
/// The quality of a time that its origin gave, beside [`quality_code`]'s.
pub(in crate::store) const QUALITY_SOURCE: i64 = 3;

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

/// Why what would go beyond [`super::names::DEVICE_SERIES_MAX`] is kept aside.
pub(super) const TOO_MANY_SERIES: &str = "the device would have more series than it may (4096)";

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

impl Work<'_> {
    /// Records a batch, if the ledger does not know it yet.
    pub(super) fn batch(&mut self, batch: &Batch) -> Result<Outcome, StoreError> {
        let device = self.device(&batch.device, Some(batch.arrived))?;
        let epoch = self.epoch(device, batch.epoch)?;
        epoch.arrived(batch.arrived);
        let (key, state) = (epoch.key, epoch.state_of(batch.number));
        if let Some(settled @ (Settlement::Stored | Settlement::Quarantined)) = state {
            match self.batch_hash(key, batch.number)? {
                Some(hash) if hash != batch.hash => {
                    return self.conflict(&as_quarantine(batch, "another body was committed under this identity"));
                }
                Some(_) if settled == Settlement::Quarantined => {} // what could not be read before may be read now
                _ => return Ok(Outcome::Known),
            }
        }
        if !self.has_room_for(device, batch.columns.iter().map(|column| &column.series)) {
            self.alarm(device, AlarmKind::TooManySeries)?;
            return self.quarantine(&as_quarantine(batch, TOO_MANY_SERIES));
        }
        // It will be stored: not before this is anything withdrawn that stood for it.
        match state {
            Some(Settlement::Gap) => self.withdraw_gap(device, key, batch.number)?,
            Some(_) => self.release(device, key, batch.number, batch.hash)?,
            None => {}
        }
        self.store(device, key, batch)?;
        let epoch = self.epoch(device, batch.epoch)?;
        epoch.repaired += u64::from(state == Some(Settlement::Gap));
        epoch.settle(Range::one(batch.number), Settlement::Stored);
        self.memory.names.added(device).batches += 1;
        Ok(Outcome::Recorded)
    }

    /// Stores a batch's readings, and enters its row.
    fn store(&mut self, device: i64, epoch: i64, batch: &Batch) -> Result<(), StoreError> {
        let clock = self.clock_for(device, &batch.clock)?;
        self.reserve_readings()?;
        let before = self.memory.last_reading;
        self.append(&Arrived {
            device,
            at: batch.arrived,
            batch: Some((epoch, batch.number)),
            lane: Some(batch.lane),
            clock,
            columns: &batch.columns,
        })?;
        if clock.quality == Quality::Unset && batch.columns.iter().any(|column| column.basis == Basis::Boot) {
            self.note_unset(device, &clock, before)?;
        }
        let readings = self.memory.last_reading - before;
        self.claim(device, Claimed::Batch { epoch, number: batch.number }, before);
        let (lane, clock) = (Some(batch.lane), Some(clock));
        self.batch_row(
            epoch,
            batch.number,
            BatchRow { hash: batch.hash, lane, clock, arrived: batch.arrived, readings },
        );
        Ok(())
    }

    /// Appends readings.
    pub(super) fn append(&mut self, arrived: &Arrived<'_>) -> Result<(), StoreError> {
        self.reserve_readings()?;
        let (mut times, mut counts, mut newest_of_all) = (Vec::new(), Vec::with_capacity(arrived.columns.len()), None);
        for column in arrived.columns {
            let on_boot_clock = column.basis == Basis::Boot;
            let place = |time: Instant| if on_boot_clock { arrived.clock.absolute(time).0 } else { time.0 };
            times.clear();
            times.extend(column.readings.iter().map(|reading| place(reading.time)));
            let before = self.memory.last_reading;
            let (series, newest) = self.append_column(arrived, column, &times)?;
            let hidden = self.note_origins(series, column, &times, before + 1)?;
            counts.push((series, self.memory.last_reading - before - hidden));
            newest_of_all = newest_of_all.max(newest);
        }
        self.count(arrived, &counts, newest_of_all);
        Ok(())
    }

    /// Answers the series and the newest instant that is not in the future.
    fn append_column(
        &mut self,
        arrived: &Arrived<'_>,
        column: &Column,
        times: &[i64],
    ) -> Result<(i64, Option<Instant>), StoreError> {
        let Memory { names, last_reading, .. } = &mut *self.memory;
        let entry = names.series(self.db, arrived.device, &column.series)?;
        let ranks = entry.empty.ranks(self.db, entry.key, times)?;
        let on_boot_clock = column.basis == Basis::Boot;
        let quality = if on_boot_clock { quality_code(arrived.clock.quality) } else { QUALITY_SOURCE };
        // An instant of a clock that does not know the time is neither new nor old.
        let is_timed = !on_boot_clock || arrived.clock.quality != Quality::Unset;
        let mut newest = None;
        let mut rows = column.readings.iter().zip(times).enumerate().filter_map(|(place, (reading, &time_us))| {
            let ordinal = ranks.of(place);
            if Bug::TimeInIdentity.is_on() && ordinal > 0 {
                return None;
            }
            let Cells { value, form, code, text } = Cells::of(&reading.value);
            let future = future_flag(time_us, arrived.at);
            if future == 0 && is_timed {
                newest = newest.max(Some(Instant(time_us)));
            }
            let origin = if reading.origin.is_some() { FLAG_ORIGIN } else { 0 };
            *last_reading += 1;
            let (utc_offset_minutes, local_text) = (reading.utc_offset_minutes, reading.local_text.as_deref());
            let (id, flags) = (*last_reading, future | origin);
            Some(ReadingRow { id, time_us, ordinal, value, form, code, text, utc_offset_minutes, local_text, flags })
        });
        let run = Run { batch: arrived.batch, series: entry.key, quality };
        self.db.driver().append(&run, &mut rows)?;
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
    pub(super) fn batch_hash(&mut self, epoch: i64, number: Number) -> Result<Option<BodyHash>, StoreError> {
        self.write_batch_rows()?;
        let sql = "select hash from batch where epoch = ?1 and number = ?2";
        Ok(self.db.prepare(sql).first([epoch, to_sql(number)], |row| row.get(0))?.map(BodyHash))
    }

    /// Enters or renews the row of a batch, with others, before it is next asked for.
    pub(super) fn batch_row(&mut self, epoch: i64, number: Number, row: BatchRow) {
        self.batch_rows.insert((epoch, to_sql(number)), row);
    }

    /// Writes the rows that were entered.
    pub(super) fn write_batch_rows(&mut self) -> Result<(), StoreError> {
        if self.batch_rows.is_empty() {
            return Ok(());
        }
        let entered = std::mem::take(&mut self.batch_rows);
        let rows: Vec<_> = entered.iter().map(|(key, row)| row.cells(key)).collect();
        Ok(self.db.driver().execute_many(&WRITE_ROWS, &rows)?)
    }
}

/// What the ledger keeps of a batch while its device may still send it.
pub(super) struct BatchRow {
    pub(super) hash: BodyHash,
    pub(super) lane: Option<Lane>,
    pub(super) clock: Option<Clock>,
    pub(super) arrived: Instant,
    pub(super) readings: i64,
}

const WRITE_ROWS: Many = Many {
    one: "insert into batch (tenant, epoch, number, hash, lane, offset_us, quality, arrived_us, readings)
          values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
          on conflict (epoch, number) do update set hash = excluded.hash, lane = excluded.lane,
            offset_us = excluded.offset_us, quality = excluded.quality, arrived_us = excluded.arrived_us,
            readings = excluded.readings",
    all: "insert into batch (tenant, epoch, number, hash, lane, offset_us, quality, arrived_us, readings)
          select * from unnest($1::int[], $2::bigint[], $3::bigint[], $4::bytea[], $5::smallint[], $6::bigint[],
            $7::smallint[], $8::bigint[], $9::bigint[])
          on conflict (epoch, number) do update set hash = excluded.hash, lane = excluded.lane,
            offset_us = excluded.offset_us, quality = excluded.quality, arrived_us = excluded.arrived_us,
            readings = excluded.readings",
};

impl BatchRow {
    fn cells(&self, (epoch, number): &(i64, i64)) -> Vec<Cell<'_>> {
        let lane = match self.lane {
            Some(Lane::Live) => 0,
            Some(Lane::Backfill) => 1,
            None => 2,
        };
        let (offset_us, quality) = self.clock.map(|clock| (clock.offset_us, quality_code(clock.quality))).unzip();
        let whole = |number: Option<i64>| number.map_or(Cell::Null, Cell::Int);
        vec![
            Cell::Int(TENANT),
            Cell::Int(*epoch),
            Cell::Int(*number),
            Cell::Blob(&self.hash.0),
            Cell::Int(lane),
            whole(offset_us),
            whole(quality),
            Cell::Int(self.arrived.0),
            Cell::Int(self.readings),
        ]
    }
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
