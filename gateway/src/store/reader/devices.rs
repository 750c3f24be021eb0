//! Devices, and what there is to know of the whole store.

use std::collections::BTreeMap;

use proto::Instant;

use super::View;
use crate::store::error::ReadError;
use crate::store::ledger::{TENANT, from_sum};
use crate::store::sql::{Row, SqlError, params};
use crate::store::view::{Device, Fleet};

/// Devices in one answer.
const DEVICES_MAX: i64 = 10_000;
/// A device that left longer ago is missed: a day has each hour of people's and of sensors' habits in it.
const SILENT_US: i64 = 24 * 3_600 * 1_000_000;

const SELECT: &str = "select d.name, coalesce(d.display_name, d.name), d.connected, d.first_seen_us, d.last_seen_us,
      d.last_reading_us, d.live_lag_us, d.readings, d.batches,
      (select count(*) from quarantine q where q.device = d.id),
      (select count(*) from gap g where g.device = d.id),
      (select string_agg(a.kind, ' ' order by a.kind) from alarm a where a.device = d.id)
    from device d where d.tenant = ?1";

/// A device that was revoked after it was last heard, or within a day before, is not missed; one that came back by another
/// certificate is.
const FLEET: &str = "select count(*), count(case when d.connected = 1 then 1 end),
      count(case when d.connected = 0 and d.last_seen_us < ?2 and not exists
        (select 1 from cut_off c where c.device = d.name and c.cut_us > d.last_seen_us - ?3) then 1 end),
      coalesce(sum(cast(d.readings as double precision)), 0.0),
      (select count(*) from quarantine q where q.tenant = ?1),
      (select count(*) from gap g where g.tenant = ?1)
    from device d where d.tenant = ?1";

fn read(row: &Row<'_>) -> Result<Device, SqlError> {
    Ok(Device {
        id: row.get(0)?,
        display_name: row.get(1)?,
        connected: row.get(2)?,
        first_seen_us: row.get(3)?,
        last_seen_us: row.get(4)?,
        last_reading_us: row.get(5)?,
        lag_us: row.get(6)?,
        readings: row.get(7)?,
        batches: row.get(8)?,
        quarantined: row.get(9)?,
        gaps: row.get(10)?,
        alarms: row.get::<Option<String>>(11)?.iter().flat_map(|kinds| kinds.split(' ')).map(str::to_owned).collect(),
    })
}

impl View<'_> {
    /// All devices by name.
    ///
    /// # Errors
    /// As all questions: too late, or the disk.
    pub fn devices(&self) -> Result<Vec<Device>, ReadError> {
        Ok(self.db.prepare(&format!("{SELECT} order by d.name limit ?2")).rows(params![TENANT, DEVICES_MAX], read)?)
    }

    /// One device.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn device(&self, id: &str) -> Result<Option<Device>, ReadError> {
        Ok(self.db.prepare(&format!("{SELECT} and d.name = ?2")).first(params![TENANT, id], read)?)
    }

    /// How many readings count, of all devices.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn readings_total(&self) -> Result<i64, ReadError> {
        let sql = "select cast(coalesce(sum(readings), 0) as bigint) from device where tenant = ?";
        Ok(self.db.prepare(sql).one([TENANT], |row| row.get(0))?)
    }

    /// What there is of all devices together, at the instant `now`.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn fleet(&self, now: Instant) -> Result<Fleet, ReadError> {
        let mut fleet =
            self.db.prepare(FLEET).one(params![TENANT, now.0.saturating_sub(SILENT_US), SILENT_US], |row| {
                let (readings, quarantined, gaps) = (from_sum(row.get(3)?), row.get(4)?, row.get(5)?);
                let (devices, connected, silent) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(Fleet { devices, connected, silent, readings, quarantined, gaps, alarms: BTreeMap::new() })
            })?;
        let sql = "select kind, sum(cast(count as double precision)) from alarm where tenant = ?1 group by kind";
        self.db.prepare(sql).each([TENANT], |row| {
            fleet.alarms.insert(row.get(0)?, from_sum(row.get(1)?));
            Ok(())
        })?;
        Ok(fleet)
    }
}
