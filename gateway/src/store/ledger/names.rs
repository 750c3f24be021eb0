//! Devices and series by name, remembered, with what a commit adds to their counts.

use std::collections::HashMap;

use proto::{Clock, DeviceId, Instant, Series};

use super::ordinals::Empty;
use super::{StoreError, TENANT, Work};
use crate::store::sql::{Cell, Db, Many, params};

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
    pub(super) fn known_device(&mut self, db: Db<'_>, id: &DeviceId) -> Result<Option<i64>, StoreError> {
        if let Some(&key) = self.devices.get(id).filter(|key| self.entries.contains_key(key)) {
            return Ok(Some(key));
        }
        let sql = "select id from device where tenant = ?1 and name = ?2";
        let Some(key) = db.prepare(sql).first(params![TENANT, id.as_str()], |row| row.get(0))? else { return Ok(None) };
        let entry = read_series(db, key)?;
        self.remembered += 1 + entry.series.len();
        self.devices.insert(id.clone(), key);
        self.entries.insert(key, entry);
        Ok(Some(key))
    }

    /// The key of a device, as far as it is remembered.
    pub(super) fn remembered_key(&self, id: &DeviceId) -> Option<i64> {
        self.devices.get(id).copied()
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
    pub(super) fn packs(&mut self, db: Db<'_>, device: i64) -> Result<&mut i64, StoreError> {
        let packs = &mut self.entries.entry(device).or_default().packs;
        match packs {
            Some(known) => *known += 1,
            None => {
                let sql = "select count(*) from pack where device = ?";
                *packs = Some(db.prepare(sql).one([device], |row| row.get(0))?);
            }
        }
        Ok(packs.get_or_insert(0))
    }

    /// A series, which is entered if it is new.
    pub(super) fn series(&mut self, db: Db<'_>, device: i64, series: &Series) -> Result<&mut SeriesEntry, StoreError> {
        let entry = self.entries.entry(device).or_default();
        let is_expected = entry.series.get(entry.expected).is_some_and(|expected| expected.series == *series);
        let place = if is_expected { Some(entry.expected) } else { entry.places.get(series).copied() };
        let place = match place {
            Some(place) => place,
            None => {
                let sql =
                    "insert into series (tenant, device, name, unit, kind) values (?1, ?2, ?3, ?4, ?5) returning id";
                let Series { name, unit, kind } = series;
                let (name, unit, kind) = (name.as_str(), unit.as_str(), kind.word());
                let key = db.prepare(sql).one(params![TENANT, device, name, unit, kind], |row| row.get(0))?;
                self.remembered += 1;
                entry.enter(series.clone(), key, Empty::everywhere())
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

    /// Forgets what is remembered of a device, but for its key.
    pub(super) fn forget(&mut self, device: i64) {
        if let Some(entry) = self.entries.remove(&device) {
            self.remembered = self.remembered.saturating_sub(1 + entry.series.len());
        }
    }

    /// Answers whether there was too much, and all of it is forgotten.
    pub(super) fn forget_much(&mut self) -> bool {
        let is_much = self.remembered > REMEMBERED_MAX;
        if is_much {
            *self = Self::default();
        }
        is_much
    }

    pub(super) fn write_back(&mut self, db: Db<'_>) -> Result<(), StoreError> {
        let (mut devices, mut tallies) = (Vec::with_capacity(self.touched.len()), Vec::new());
        for device in self.touched.drain(..) {
            let Some(entry) = self.entries.get_mut(&device) else { continue };
            let mut added = std::mem::take(&mut entry.added);
            devices.push(added.cells(device));
            tallies.append(&mut added.tallies());
        }
        db.driver().execute_many(&SEEN, &devices)?;
        db.driver().execute_many(&TALLY, &tallies)?;
        Ok(())
    }
}

fn read_series(db: Db<'_>, device: i64) -> Result<Device, StoreError> {
    let mut entry = Device::default();
    db.prepare("select id, name, unit, kind from series where device = ?").each([device], |row| {
        let (name, unit, kind): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
        // What does not parse was written by hand; it is never matched by what a device sends.
        if let (Ok(name), Ok(unit), Ok(kind)) = (name.parse(), unit.parse(), kind.parse()) {
            entry.enter(Series { name, unit, kind }, row.get(0)?, Empty::default());
        }
        Ok(())
    })?;
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

const SEEN: Many = Many {
    // In `set`, a column's name means its value before the update.
    one: "update device set
            first_seen_us = coalesce(first_seen_us, ?2),
            last_seen_us = max(coalesce(last_seen_us, ?2), coalesce(?2, last_seen_us)),
            readings = readings + ?3, batches = batches + ?4,
            last_reading_us = max(coalesce(last_reading_us, ?5), coalesce(?5, last_reading_us)),
            live_lag_us = case when ?6 >= coalesce(live_time_us, ?6) then ?7 else live_lag_us end,
            live_time_us = max(coalesce(live_time_us, ?6), coalesce(?6, live_time_us))
          where id = ?1",
    // `greatest` leaves out nulls.
    all: "update device d set
            version = d.version + 1,
            first_seen_us = coalesce(d.first_seen_us, new.seen_us),
            last_seen_us = greatest(d.last_seen_us, new.seen_us),
            readings = d.readings + new.readings, batches = d.batches + new.batches,
            last_reading_us = greatest(d.last_reading_us, new.newest_us),
            live_lag_us = case when new.live_time_us >= coalesce(d.live_time_us, new.live_time_us) then new.live_lag_us
                          else d.live_lag_us end,
            live_time_us = greatest(d.live_time_us, new.live_time_us)
          from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
            as new (id, seen_us, readings, batches, newest_us, live_time_us, live_lag_us)
          where d.id = new.id",
};
const TALLY: Many = Many {
    one: "insert into series_tally (series, tenant, readings) values (?1, ?2, ?3)
          on conflict (series) do update set readings = series_tally.readings + excluded.readings",
    all: "insert into series_tally (series, tenant, readings)
          select * from unnest($1::bigint[], $2::int[], $3::bigint[])
          on conflict (series) do update set readings = series_tally.readings + excluded.readings",
};

impl Added {
    /// For [`SEEN`].
    fn cells(&self, device: i64) -> Vec<Cell<'static>> {
        let readings: i64 = self.readings.iter().map(|(_, readings)| readings).sum();
        let (live_time, live_lag) = self.live.map(|(time, lag)| (time.0, lag)).unzip();
        let whole = |number: Option<i64>| number.map_or(Cell::Null, Cell::Int);
        let (seen, newest) = (self.seen.map(|seen| seen.0), self.newest.map(|newest| newest.0));
        let (readings, batches) = (Cell::Int(readings), Cell::Int(self.batches));
        vec![Cell::Int(device), whole(seen), readings, batches, whole(newest), whole(live_time), whole(live_lag)]
    }

    /// For [`TALLY`], each series once.
    fn tallies(&mut self) -> Vec<Vec<Cell<'static>>> {
        self.readings.sort_unstable_by_key(|(series, _)| *series);
        let of_one = self.readings.chunk_by(|(left, _), (right, _)| left == right);
        let row = |of_one: &[(i64, i64)]| {
            let (series, _) = of_one.first()?;
            let readings: i64 = of_one.iter().map(|(_, readings)| readings).sum();
            Some(vec![Cell::Int(*series), Cell::Int(TENANT), Cell::Int(readings)])
        };
        of_one.filter_map(row).collect()
    }
}

impl Work<'_> {
    /// The key of a device, which is entered if it is new. `seen` is the arrival of a message, if it is one.
    pub(super) fn device(&mut self, id: &DeviceId, seen: Option<Instant>) -> Result<i64, StoreError> {
        let names = &mut self.memory.names;
        let device = match names.known_device(self.db, id)? {
            Some(device) => device,
            None => {
                let sql = "insert into device (tenant, name) values (?1, ?2) returning id";
                let device = self.db.prepare(sql).one(params![TENANT, id.as_str()], |row| row.get(0))?;
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
