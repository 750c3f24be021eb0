//! Devices are locked first, in the order of their names: so no two gateways wait for each other.

use futures_util::future::join3;
use proto::DeviceId;
use tokio_postgres::types::ToSql;

use super::{Driver, NUMBER};
use crate::store::sql::{Cell, Locked, SqlError};

/// The one tenant, as its column has it.
const TENANT_INT4: i32 = 1;

impl Driver<'_> {
    /// See [`crate::store::sql::Driver::lock`].
    pub(super) fn lock_devices(&self, devices: &[&DeviceId]) -> Result<Vec<Locked>, SqlError> {
        let names: Vec<_> = devices.iter().map(|device| Cell::Text(device.as_str())).collect();
        let locked = self.try_lock(&names)?;
        if locked.len() == devices.len() {
            return Ok(locked);
        }
        // Some are new. To lock them after others would be out of order: nothing has been written yet, so it begins
        // again, and enters them first.
        self.session.run(self.patience, "rollback")?;
        self.begin();
        let enter = self.ready(
            "insert into device (tenant, name)
              select ?1, new.name from unnest(?2::text[]) as new (name)
              where not exists (select from device d where d.tenant = ?1 and d.name = new.name)
              order by new.name on conflict do nothing",
        )?;
        self.ask(async { Ok(self.session.client().execute(&enter.statement, &[&TENANT_INT4, &names]).await?) })?;
        self.try_lock(&names)
    }

    /// Locks those of `names` that are there, and draws the number of this commit.
    fn try_lock(&self, names: &[Cell<'_>]) -> Result<Vec<Locked>, SqlError> {
        let lock = self.ready(
            "select id, version from device
              where tenant = ?1 and name = any(?2) order by name for update",
        )?;
        let number = self.ready(NUMBER)?;
        let client = self.session.client();
        self.session.wait(self.patience, async {
            let values: [&(dyn ToSql + Sync); 2] = [&TENANT_INT4, &names];
            let locked = client.query(&lock.statement, &values);
            let number = client.query_one(&number.statement, &[]);
            let (queued, locked, number) = join3(self.queue.run(client), locked, number).await;
            queued?;
            let locked = locked?;
            self.number.set(Some(number?.try_get(0)?));
            locked.iter().map(|row| Ok(Locked { key: row.try_get(0)?, version: row.try_get(1)? })).collect()
        })
    }
}
