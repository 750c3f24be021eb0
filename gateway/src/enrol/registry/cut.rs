//! Devices that are cut off, and certificates that are revoked.

use proto::{DeviceId, Instant};

use super::{CUT_OFF_MAX, KEPT_US, NOTHING, Registry, RegistryError, TENANT};
use crate::enrol::authority::Held;
use crate::enrol::cuts::{Cut, CutOff};
use crate::store::sql::{Db, SqlError, params};

impl Registry {
    /// What is said against devices' certificates: those that are revoked and would else be good, if only for asking for the
    /// next one; and whole devices.
    ///
    /// # Errors
    /// The database.
    pub fn cut_off(&mut self, now: Instant) -> Result<CutOff, RegistryError> {
        self.side.look(|db| {
            let mut said = CutOff::new();
            let sql = "select device, serial from certificate where revoked_us is not null and not_after_us >= ?1";
            db.prepare(sql).each([now.0 - KEPT_US], |row| {
                if let Some(device) = device(&row.get::<String>(0)?) {
                    said.entry(device).or_default().revoked.insert(row.get(1)?);
                }
                Ok(())
            })?;
            let sql = "select c.device, c.cut_us, k.serial from cut_off c
                       left join certificate k on k.device = c.device and k.revoked_us is null";
            db.prepare(sql).each(NOTHING, |row| {
                let Some(device) = device(&row.get::<String>(0)?) else { return Ok(()) };
                let since = Instant(row.get(1)?);
                let new = || Cut { since, good: std::collections::BTreeSet::new() };
                let cut = said.entry(device).or_default().cut.get_or_insert_with(new);
                cut.good.extend(row.get::<Option<String>>(2)?);
                Ok(())
            })?;
            Ok(said)
        })
    }

    /// Cuts `device` off: none of the certificates that it has counts any more, whoever issued them, `held` and others, and
    /// nothing does that would have let it have another. All gateways know within a second or two.
    ///
    /// # Errors
    /// There are too many already; the database.
    pub fn revoke(&mut self, device: &DeviceId, held: &[Held], now: Instant) -> Result<(), RegistryError> {
        self.side.transact(|db| {
            if times(db, device)? == 0 {
                let count: i64 = db.prepare("select count(*) from cut_off").one(NOTHING, |row| row.get(0))?;
                if count >= CUT_OFF_MAX {
                    return Err(RegistryError::TooManyCutOff);
                }
            }
            Ok(revoke(db, device, held, now)?)
        })
    }

    /// Takes a device back: certificates that are not known here count again. Those that are known to be revoked do not.
    ///
    /// # Errors
    /// It is not cut off; the database.
    pub fn reinstate(&mut self, device: &DeviceId) -> Result<(), RegistryError> {
        self.side.transact(|db| {
            let gone = db.prepare("delete from cut_off where device = ?1").execute(params![device.as_str()])?;
            if gone == 0 { Err(RegistryError::NotCutOff(device.to_string())) } else { Ok(()) }
        })
    }

    /// How often `device` was cut off, if it is.
    ///
    /// # Errors
    /// The database.
    pub fn times_cut(&mut self, device: &DeviceId) -> Result<i64, RegistryError> {
        self.side.look(|db| Ok(times(db, device)?))
    }

    /// Whether anybody here has ever heard of `device`: a certificate, a claim or a request of it, or a message.
    ///
    /// # Errors
    /// The database.
    pub fn knows(&mut self, device: &DeviceId) -> Result<bool, RegistryError> {
        self.side.look(|db| {
            let sql = "select (select count(*) from certificate where device = ?1)
                     + (select count(*) from claim where device = ?1)
                     + (select count(*) from enrolment where device = ?1)
                     + (select count(*) from cut_off where device = ?1)
                     + (select count(*) from device where name = ?1)";
            let count: i64 = db.prepare(sql).one(params![device.as_str()], |row| row.get(0))?;
            Ok(count > 0)
        })
    }
}

/// A name that is none was not written by us.
fn device(name: &str) -> Option<DeviceId> {
    name.parse().ok()
}

/// See [`Registry::times_cut`].
pub(super) fn times(db: Db<'_>, device: &DeviceId) -> Result<i64, SqlError> {
    let sql = "select times from cut_off where device = ?1";
    Ok(db.prepare(sql).first(params![device.as_str()], |row| row.get(0))?.unwrap_or(0))
}

fn revoke(db: Db<'_>, device: &DeviceId, held: &[Held], now: Instant) -> Result<(), SqlError> {
    let name = device.as_str();
    let sql = "insert into cut_off (device, tenant, cut_us, times) values (?1, ?2, ?3, 1)
               on conflict (device) do update set cut_us = ?3, times = cut_off.times + 1";
    db.prepare(sql).execute(params![name, TENANT, now.0])?;
    let sql = "update certificate set revoked_us = ?2 where device = ?1 and revoked_us is null";
    db.prepare(sql).execute(params![name, now.0])?;
    let sql = "insert into certificate (serial, tenant, device, key, issued_us, not_after_us, chain, revoked_us)
               values (?1, ?2, ?3, ?4, ?5, ?6, ?4, ?5)
               on conflict (serial) do nothing";
    for Held { serial, not_after, .. } in held {
        let nothing: &[u8] = &[];
        db.prepare(sql).execute(params![serial, TENANT, name, nothing, now.0, not_after.0])?;
    }
    // A code that was not used, and a yes to a request: whoever has the device may have those too.
    db.prepare("delete from claim where device = ?1 and used_us is null").execute(params![name])?;
    db.prepare("delete from enrolment where device = ?1").execute(params![name])?;
    Ok(())
}
