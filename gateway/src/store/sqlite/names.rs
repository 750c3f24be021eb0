//! Devices and series by name, remembered, with what a commit adds to their counts.

use std::collections::HashMap;

use proto::{Clock, DeviceId, Instant, Series};
use rusqlite::{Connection, OptionalExtension, params};

use super::ordinals::Empty;
use super::writer::Work;
use super::{StoreError, TENANT};

/// Series that one device may have. An agent's body holds at most 1 024; more than four times that are no names but
/// values, or hostile.
pub(super) const DEVICE_SERIES_MAX: usize = 4_096;
/// Series remembered, of all devices (about 400 bytes each); beyond it all are forgotten and read again.
const REMEMBERED_MAX: usize = 50_000;

/// What is remembered of names.
#[derive(Default)]
pub(super) struct Names {
    devices: HashMap<DeviceId, i64>,
    entries: HashMap<i64, Device>,
    /// Devices and series that this transaction has touched.
    touched: Vec<i64>,
    remembered: usize,
}

/// What is remembered of one device.
#[derive(Default)]
pub(super) struct Device {
    /// All of its series, and where each is among them.
    series: Vec<SeriesEntry>,
    places: HashMap<Series, usize>,
    /// Where the next series is expected: most batches have the same columns in the same order as the last one.
    expected: usize,
    /// The clock of the boot it was last asked for.
    pub(super) clock: Option<Clock>,
    /// Packs in table `pack`, once they have been counted.
    packs: Option<i64>,
    added: Added,
}

/// What is remembered of one series.
pub(super) struct SeriesEntry {
    series: Series,
    pub(super) key: i64,
    pub(super) empty: Empty,
}

/// What a transaction adds to a device's row.
#[derive(Default)]
pub(super) struct Added {
    touched: bool,
    seen: Option<Instant>,
    pub(super) batches: i64,
    /// By series, which may be there more than once. May be negative: a retraction takes away.
    pub(super) readings: Vec<(i64, i64)>,
    pub(super) newest: Option<Instant>,
    /// Event time of the newest reading that came by the live lane, and how long after it arrived.
    pub(super) live: Option<(Instant, i64)>,
}

impl Names {
    /// The key of a device, if it has ever been heard of.
    pub(super) fn known_device(&mut self, db: &Connection, id: &DeviceId) -> Result<Option<i64>, StoreError> {
        if let Some(&key) = self.devices.get(id) {
            return Ok(Some(key));
        }
        let sql = "select id from device where tenant = ?1 and name = ?2";
        let found: Option<i64> =
            db.prepare_cached(sql)?.query_row(params![TENANT, id.as_str()], |row| row.get(0)).optional()?;
        let Some(key) = found else { return Ok(None) };
        let entry = read_series(db, key)?;
        self.remembered += 1 + entry.series.len();
        self.devices.insert(id.clone(), key);
        self.entries.insert(key, entry);
        Ok(Some(key))
    }

    /// What this transaction adds to a device's row.
    pub(super) fn added(&mut self, device: i64) -> &mut Added {
        let entry = self.entries.entry(device).or_default();
        if !entry.added.touched {
            entry.added.touched = true;
            self.touched.push(device);
        }
        &mut entry.added
    }

    /// How many packs of a device are known, the one that was just entered included.
    pub(super) fn packs(&mut self, db: &Connection, device: i64) -> Result<&mut i64, StoreError> {
        let packs = &mut self.entries.entry(device).or_default().packs;
        match packs {
            Some(known) => *known += 1,
            None => {
                let sql = "select count(*) from pack where device = ?";
                *packs = Some(db.prepare_cached(sql)?.query_row([device], |row| row.get(0))?);
            }
        }
        Ok(packs.get_or_insert(0))
    }

    /// A series, which is entered if it is new.
    pub(super) fn series(
        &mut self,
        db: &Connection,
        device: i64,
        series: &Series,
    ) -> Result<&mut SeriesEntry, StoreError> {
        let entry = self.entries.entry(device).or_default();
        let is_expected = entry.series.get(entry.expected).is_some_and(|expected| expected.series == *series);
        let place = if is_expected { Some(entry.expected) } else { entry.places.get(series).copied() };
        let place = match place {
            Some(place) => place,
            None => {
                let sql = "insert into series (tenant, device, name, unit, kind) values (?1, ?2, ?3, ?4, ?5)";
                let Series { name, unit, kind } = series;
                let values = params![TENANT, device, name.as_str(), unit.as_str(), kind.word()];
                db.prepare_cached(sql)?.execute(values)?;
                self.remembered += 1;
                entry.enter(series.clone(), db.last_insert_rowid(), Empty::everywhere())
            }
        };
        entry.expected = if place + 1 < entry.series.len() { place + 1 } else { 0 };
        Ok(entry.series.get_mut(place).expect("a series is where its place says"))
    }

    /// Forgets where a device has no readings, because some of its readings were moved.
    pub(super) fn forget_empty(&mut self, device: i64) {
        let series = self.entries.get_mut(&device).into_iter().flat_map(|entry| &mut entry.series);
        series.for_each(|entry| entry.empty = Empty::default());
    }

    /// What is remembered of a device.
    pub(super) fn entry(&mut self, device: i64) -> &mut Device {
        self.entries.entry(device).or_default()
    }

    pub(super) fn forget_much(&mut self) {
        if self.remembered > REMEMBERED_MAX {
            *self = Self::default();
        }
    }

    pub(super) fn write_back(&mut self, db: &Connection) -> Result<(), StoreError> {
        for device in self.touched.drain(..) {
            let Some(entry) = self.entries.get_mut(&device) else { continue };
            std::mem::take(&mut entry.added).write(db, device)?;
        }
        Ok(())
    }
}

fn read_series(db: &Connection, device: i64) -> Result<Device, StoreError> {
    let mut statement = db.prepare_cached("select id, name, unit, kind from series where device = ?")?;
    let mut rows = statement.query([device])?;
    let mut entry = Device::default();
    while let Some(row) = rows.next()? {
        let (name, unit, kind): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
        // What does not parse was written by hand; it is never matched by what a device sends.
        let (Ok(name), Ok(unit), Ok(kind)) = (name.parse(), unit.parse(), kind.parse()) else { continue };
        entry.enter(Series { name, unit, kind }, row.get(0)?, Empty::default());
    }
    Ok(entry)
}

impl Device {
    /// Adds a series. Answers its place.
    fn enter(&mut self, series: Series, key: i64, empty: Empty) -> usize {
        let place = self.series.len();
        self.places.insert(series.clone(), place);
        self.series.push(SeriesEntry { series, key, empty });
        place
    }
}

impl Added {
    fn write(mut self, db: &Connection, device: i64) -> Result<(), StoreError> {
        let readings: i64 = self.readings.iter().map(|(_, readings)| readings).sum();
        let seen = self.seen.map(|seen| seen.0);
        let (live_time, live_lag) = self.live.map(|(time, lag)| (time.0, lag)).unzip();
        // In `set`, a column's name means its value before the update.
        let sql = "update device set
                     first_seen_us = coalesce(first_seen_us, ?2),
                     last_seen_us = max(coalesce(last_seen_us, ?2), coalesce(?2, last_seen_us)),
                     readings = readings + ?3, batches = batches + ?4,
                     last_reading_us = max(coalesce(last_reading_us, ?5), coalesce(?5, last_reading_us)),
                     live_lag_us = case when ?6 >= coalesce(live_time_us, ?6) then ?7 else live_lag_us end,
                     live_time_us = max(coalesce(live_time_us, ?6), coalesce(?6, live_time_us))
                   where id = ?1";
        let newest = self.newest.map(|newest| newest.0);
        db.prepare_cached(sql)?.execute(params![device, seen, readings, self.batches, newest, live_time, live_lag])?;
        let sql = "insert into series_tally (series, tenant, readings) values (?1, ?2, ?3)
                   on conflict do update set readings = readings + ?3";
        let mut statement = db.prepare_cached(sql)?;
        self.readings.sort_unstable_by_key(|(series, _)| *series);
        for of_one in self.readings.chunk_by(|(left, _), (right, _)| left == right) {
            let Some((series, _)) = of_one.first() else { continue };
            let readings: i64 = of_one.iter().map(|(_, readings)| readings).sum();
            statement.execute(params![series, TENANT, readings])?;
        }
        Ok(())
    }
}

impl Work<'_> {
    /// The key of a device, which is entered if it is new. `seen` is the arrival of a message, if it is one.
    pub(super) fn device(&mut self, id: &DeviceId, seen: Option<Instant>) -> Result<i64, StoreError> {
        let names = &mut self.memory.names;
        let device = match names.known_device(self.db, id)? {
            Some(device) => device,
            None => {
                let sql = "insert into device (tenant, name) values (?1, ?2)";
                self.db.prepare_cached(sql)?.execute(params![TENANT, id.as_str()])?;
                let device = self.db.last_insert_rowid();
                names.remembered += 1;
                names.devices.insert(id.clone(), device);
                names.entries.insert(device, Device::default());
                device
            }
        };
        if seen.is_some() {
            let added = names.added(device);
            added.seen = added.seen.max(seen);
        }
        Ok(device)
    }

    /// Whether `device` may have all of `wanted`.
    pub(super) fn has_room_for<'s>(&self, device: i64, mut wanted: impl ExactSizeIterator<Item = &'s Series>) -> bool {
        let Some(entry) = self.memory.names.entries.get(&device) else { return true };
        let mut room = DEVICE_SERIES_MAX.saturating_sub(entry.series.len());
        if wanted.len() <= room {
            return true;
        }
        wanted.all(|series| {
            if entry.places.contains_key(series) {
                return true;
            }
            // Two columns may be of one new series: counted twice, which only matters at the bound.
            let fits = room > 0;
            room = room.saturating_sub(1);
            fits
        })
    }
}
