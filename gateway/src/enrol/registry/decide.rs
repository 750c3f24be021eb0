//! Who may have a certificate.

use proto::{DeviceId, Instant};

use super::{Asked, Decision, NOTHING, TENANT};
use crate::enrol::Claimant;
use crate::store::sql::{Db, SqlError, params};

/// Requests that wait for the operator.
const WAITING_MAX: i64 = 1_000;
/// Certificates that one device may have been issued within [`RECENT_US`].
const ISSUED_MAX: i64 = 4;
const RECENT_US: i64 = 24 * 3_600 * 1_000_000;

/// Says what is to become of a request, and notes what that uses up.
pub(super) fn decide(db: Db<'_>, asked: &Asked<'_>, now: Instant) -> Result<Decision, SqlError> {
    let Asked { by, device, key } = asked;
    let sql = "select chain, issued_us, not_after_us from certificate
               where device = ?1 and key = ?2 and revoked_us is null and not_after_us >= ?3
               order by not_after_us desc";
    let known = db.prepare(sql).first(params![device.as_str(), *key, now.0], |row| {
        Ok((row.get(0)?, row.get::<i64>(1)?, row.get::<i64>(2)?))
    })?;
    if let Some((chain, issued, not_after)) = known {
        // A key in a token stays: its device renews what is old for the same key.
        let is_old = now.0 - issued > (not_after - issued) / 2;
        if **by != Claimant::Device || !is_old {
            return Ok(Decision::Known(chain));
        }
    }
    match by {
        Claimant::Code(claim) => decide_code(db, asked, claim, now),
        Claimant::Shared => decide_shared(db, asked, now),
        Claimant::Device if was_revoked(db, device)? => Ok(Decision::NotAllowed),
        Claimant::Device => issue_within_bounds(db, device, now),
        Claimant::Expired { serial, .. } if is_newest(db, asked, serial)? && !is_taken(db, asked, now)? => {
            issue_within_bounds(db, device, now)
        }
        // An older one, one that was revoked, or one that is not known here may be a copy: by rule, or by hand.
        Claimant::Expired { .. } => decide_shared(db, asked, now),
    }
}

fn issue_within_bounds(db: Db<'_>, device: &DeviceId, now: Instant) -> Result<Decision, SqlError> {
    let sql = "select count(*) from certificate where device = ?1 and issued_us >= ?2";
    let recent: i64 = db.prepare(sql).one(params![device.as_str(), now.0 - RECENT_US], |row| row.get(0))?;
    Ok(if recent < ISSUED_MAX { Decision::Issue } else { Decision::TooMany })
}

/// Whether what is shown is the last certificate that the device was issued, or is asked about the key of that one: its
/// answer may have been lost.
fn is_newest(db: Db<'_>, asked: &Asked<'_>, shown: &str) -> Result<bool, SqlError> {
    let sql = "select serial, key, revoked_us from certificate where device = ?1
               order by issued_us desc, not_after_us desc limit 1";
    let newest = db.prepare(sql).first(params![asked.device.as_str()], |row| {
        Ok((row.get::<String>(0)?, row.get::<Vec<u8>>(1)?, row.get::<Option<i64>>(2)?))
    })?;
    Ok(newest.is_some_and(|(serial, key, revoked)| revoked.is_none() && (serial == shown || key == asked.key)))
}

fn decide_code(db: Db<'_>, asked: &Asked<'_>, claim: &[u8; 32], now: Instant) -> Result<Decision, SqlError> {
    let sql = "select id, device, expires_us, used_by from claim where key = ?1";
    let found = db.prepare(sql).first(params![claim], |row| {
        Ok((row.get::<i64>(0)?, row.get::<Option<String>>(1)?, row.get::<i64>(2)?, row.get::<Option<Vec<u8>>>(3)?))
    })?;
    let Some((id, device, expires_us, used_by)) = found else { return Ok(Decision::NoClaim) };
    if device.as_ref().is_some_and(|device| device != asked.device.as_str()) {
        return Ok(Decision::NoClaim);
    }
    match used_by {
        Some(key) if key == asked.key && was_revoked(db, asked.device)? => Ok(Decision::NotAllowed),
        Some(key) if key == asked.key => Ok(Decision::Issue),
        Some(_) => Ok(Decision::ClaimUsed),
        None if expires_us < now.0 => Ok(Decision::NoClaim),
        // Nobody takes over the name of a device that lives by a code that was not made for it.
        None if device.is_none() && is_taken(db, asked, now)? => Ok(Decision::NotAllowed),
        None => {
            // From now on it is this device's: the same key gets no other name by it.
            let sql = "update claim set used_us = ?2, used_by = ?3, device = ?4 where id = ?1";
            db.prepare(sql).execute(params![id, now.0, asked.key, asked.device.as_str()])?;
            Ok(Decision::Issue)
        }
    }
}

fn decide_shared(db: Db<'_>, asked: &Asked<'_>, now: Instant) -> Result<Decision, SqlError> {
    let sql = "select state from enrolment where device = ?1 and key = ?2";
    let answered: Option<i64> = db.prepare(sql).first(params![asked.device.as_str(), asked.key], |row| row.get(0))?;
    match answered {
        Some(1) => return Ok(Decision::Issue),
        Some(2) => return Ok(Decision::NotAllowed),
        Some(_) => return Ok(Decision::Waiting),
        None => {}
    }
    // A rule admits new devices; who takes the name of one that lives, or was cut off, is for the operator to see.
    if is_ruled_in(db, asked.device)? && !is_taken(db, asked, now)? && !was_revoked(db, asked.device)? {
        return Ok(Decision::Issue);
    }
    let waiting: i64 = db.prepare("select count(*) from enrolment where state = 0").one(NOTHING, |row| row.get(0))?;
    if waiting >= WAITING_MAX {
        return Ok(Decision::TooMany);
    }
    let sql = "insert into enrolment (tenant, device, key, asked_us, state) values (?1, ?2, ?3, ?4, 0)";
    db.prepare(sql).execute(params![TENANT, asked.device.as_str(), asked.key, now.0])?;
    Ok(Decision::Waiting)
}

/// Whether the device has a certificate that is good, with another key.
fn is_taken(db: Db<'_>, asked: &Asked<'_>, now: Instant) -> Result<bool, SqlError> {
    let sql = "select count(*) from certificate where device = ?1 and revoked_us is null and not_after_us >= ?2";
    let count: i64 = db.prepare(sql).one(params![asked.device.as_str(), now.0], |row| row.get(0))?;
    Ok(count > 0)
}

/// Whether the last certificate that the device was issued was revoked: it was cut off, and only what the operator makes
/// for it since, a code or a word, lets it in again.
fn was_revoked(db: Db<'_>, device: &DeviceId) -> Result<bool, SqlError> {
    let sql = "select revoked_us from certificate where device = ?1 order by issued_us desc, not_after_us desc limit 1";
    let newest = db.prepare(sql).first(params![device.as_str()], |row| row.get::<Option<i64>>(0))?;
    Ok(newest.flatten().is_some())
}

fn is_ruled_in(db: Db<'_>, device: &DeviceId) -> Result<bool, SqlError> {
    let patterns: Vec<String> = db.prepare("select pattern from enrolment_rule").rows(NOTHING, |row| row.get(0))?;
    Ok(patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => device.as_str().starts_with(beginning),
        None => device.as_str() == pattern,
    }))
}
