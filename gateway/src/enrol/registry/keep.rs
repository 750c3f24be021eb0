//! What was issued, and the entry of the audit trail that says so: both or neither, before anybody has the certificate.

use proto::{DeviceId, Instant};

use super::{Certificate, KEPT_US, Registry, RegistryError, TENANT, cut};
use crate::audit::entry::Entry;
use crate::store::sql::{Db, SqlError, params};

/// An hour.
pub(super) const HOUR_US: i64 = 3_600 * 1_000_000;
/// Shared claims whose use is known.
const CLAIM_USES_MAX: i64 = 10_000;

/// A certificate that nobody has yet.
pub struct Made<'a> {
    /// It.
    pub certificate: &'a Certificate,
    /// How often its device had been cut off when it was decided that it may have one; see [`Registry::times_cut`].
    pub times_cut: i64,
    /// The claim that many share by which it was asked for, if by one.
    pub claim: Option<&'a DeviceId>,
    /// What the audit trail is to say of it.
    pub entries: &'a [Entry],
}

impl Registry {
    /// Notes what was issued, together with its entries in the audit trail.
    ///
    /// # Errors
    /// Its device was cut off meanwhile, the trail takes nothing, or the database. Then nothing is noted, and nobody may
    /// get the certificate.
    pub fn keep(&mut self, made: &Made<'_>, now: Instant) -> Result<(), RegistryError> {
        self.side.transact_audited(made.entries, |db| {
            if cut::times(db, &made.certificate.device)? != made.times_cut {
                return Err(RegistryError::CutOff);
            }
            note(db, made.certificate, now)?;
            if let Some(claim) = made.claim {
                count(db, claim, now)?;
            }
            Ok(())
        })
    }
}

fn note(db: Db<'_>, certificate: &Certificate, now: Instant) -> Result<(), SqlError> {
    let Certificate { serial, device, key, not_after, chain } = certificate;
    db.prepare("delete from certificate where not_after_us < ?1").execute([now.0 - KEPT_US])?;
    let sql = "insert into certificate (serial, tenant, device, key, issued_us, not_after_us, chain)
               values (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (device, key, chain) = (device.as_str(), key.as_slice(), chain.as_slice());
    db.prepare(sql).execute(params![serial, TENANT, device, key, now.0, not_after.0, chain])?;
    db.prepare("delete from enrolment where device = ?1 and key = ?2").execute(params![device, key])?;
    Ok(())
}

/// One more by `claim`. An hour begins with its first certificate.
fn count(db: Db<'_>, claim: &DeviceId, now: Instant) -> Result<(), SqlError> {
    let sql =
        "delete from claim_use where name in (select name from claim_use order by hour_us desc limit 1 offset ?1)";
    db.prepare(sql).execute([CLAIM_USES_MAX])?;
    let sql = "insert into claim_use (name, tenant, issued, hour_us, in_hour) values (?1, ?2, 1, ?3, 1)
               on conflict (name) do update set issued = claim_use.issued + 1,
                   in_hour = case when claim_use.hour_us > ?3 - ?4 then claim_use.in_hour + 1 else 1 end,
                   hour_us = case when claim_use.hour_us > ?3 - ?4 then claim_use.hour_us else ?3 end";
    db.prepare(sql).execute(params![claim.as_str(), TENANT, now.0, HOUR_US])?;
    Ok(())
}
