//! Devices, and what there is to know of the whole store.

use super::View;
use crate::store::error::ReadError;
use crate::store::ledger::{TENANT, from_sum};
use crate::store::sql::{Row, SqlError, params};
use crate::store::view::{Alarm, Device};

/// Devices in one answer.
const DEVICES_MAX: i64 = 10_000;
/// Alarms in one answer.
const ALARMS_MAX: i64 = 10_000;

const SELECT: &str = "select d.name, coalesce(d.display_name, d.name), d.connected, d.first_seen_us, d.last_seen_us,
      d.last_reading_us, d.live_lag_us, d.readings, d.batches,
      (select count(*) from quarantine q where q.device = d.id),
      (select count(*) from gap g where g.device = d.id),
      (select coalesce(sum(cast(e.missing as double precision)), 0.0) from epoch e where e.device = d.id),
      (select string_agg(a.kind, ' ' order by a.kind) from alarm a where a.device = d.id)
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
        missing: from_sum(row.get(11)?),
        alarms: row.get::<Option<String>>(12)?.iter().flat_map(|kinds| kinds.split(' ')).map(str::to_owned).collect(),
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

    /// What somebody should look at.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn alarms(&self) -> Result<Vec<Alarm>, ReadError> {
        let sql = "select d.name, a.kind, a.count from alarm a join device d on d.id = a.device
                   where a.tenant = ?1 order by d.name, a.kind limit ?2";
        let read = |row: &Row<'_>| Ok(Alarm { device: row.get(0)?, kind: row.get(1)?, count: row.get(2)? });
        Ok(self.db.prepare(sql).rows([TENANT, ALARMS_MAX], read)?)
    }
}
