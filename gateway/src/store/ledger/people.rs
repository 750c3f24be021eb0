//! The people and places of the settings.

use proto::DeviceId;

use super::{StoreError, TENANT, Work};
use crate::store::sql::params;

/// A person or place as the settings name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectSeed {
    /// The name in addresses.
    pub id: String,
    /// The name that is shown.
    pub display_name: String,
    /// IANA name of the zone in which their days are.
    pub zone: String,
    /// The devices whose readings are about them, since ever and until further notice.
    pub devices: Vec<DeviceId>,
}

/// Since ever.
const EVER: i64 = i64::MIN;

/// Makes the database say what `seed` says. Zones and assignments with a date, which the settings cannot have, stay.
pub(super) fn ensure_subject(work: &mut Work<'_>, seed: &SubjectSeed) -> Result<(), StoreError> {
    if jiff::tz::TimeZone::get(&seed.zone).is_err() {
        return Err(StoreError::Zone { zone: seed.zone.clone() });
    }
    let db = work.db;
    let sql = "insert into subject (tenant, name, display_name) values (?1, ?2, ?3)
               on conflict (tenant, name) do update set display_name = ?3 returning id";
    let subject: i64 = db.prepare(sql).one(params![TENANT, seed.id, seed.display_name], |row| row.get(0))?;
    let sql = "insert into subject_zone (tenant, subject, from_us, zone) values (?1, ?2, ?3, ?4)
               on conflict (subject, from_us) do update set zone = ?4";
    db.prepare(sql).execute(params![TENANT, subject, EVER, seed.zone])?;
    let sql = "delete from assignment where subject = ?1 and device is not null and from_us = ?2 and to_us is null";
    db.prepare(sql).execute(params![subject, EVER])?;
    for device in &seed.devices {
        let device = work.device(device, None)?;
        let sql = "delete from assignment where device = ?1 and from_us = ?2 and to_us is null";
        db.prepare(sql).execute(params![device, EVER])?;
        let sql = "insert into assignment (tenant, subject, device, from_us) values (?1, ?2, ?3, ?4)";
        db.prepare(sql).execute(params![TENANT, subject, device, EVER])?;
    }
    Ok(())
}
