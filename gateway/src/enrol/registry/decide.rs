//! Who may have a certificate.

use proto::{DeviceId, Instant};

use super::keep::HOUR_US;
use super::{Asked, Bounds, Decision, NOTHING, TENANT};
use crate::enrol::Claimant;
use crate::store::sql::{Db, SqlError, params};

/// Requests that wait for the operator; and of those, by one claim that many share: who has stolen one keeps out nobody who
/// has another.
const WAITING_MAX: i64 = 1_000;
const WAITING_OF_CLAIM_MAX: i64 = 250;
/// A request that is made again is noted as new when it was noted so long ago.
const AGAIN_US: i64 = 5 * 60 * 1_000_000;
/// How long the operator's answer holds for a device that does not come for its certificate.
const ANSWERED_US: i64 = 30 * 24 * HOUR_US;
/// Certificates that one device may have been issued within [`RECENT_US`].
const ISSUED_MAX: i64 = 4;
const RECENT_US: i64 = 24 * 3_600 * 1_000_000;

/// Says what is to become of a request, and notes what that uses up.
pub(super) fn decide(db: Db<'_>, asked: &Asked<'_>, bounds: &Bounds, now: Instant) -> Result<Decision, SqlError> {
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
        Claimant::Shared(claim) => decide_shared(db, asked, Some(claim), bounds, now),
        Claimant::Device if was_revoked(db, device)? => Ok(Decision::NotAllowed),
        Claimant::Device => issue_within_bounds(db, device, now),
        Claimant::Expired { serial, .. } if is_newest(db, asked, serial)? && !is_taken(db, asked, now)? => {
            issue_within_bounds(db, device, now)
        }
        // An older one, one that was revoked, or one that is not known here may be a copy: by rule, or by hand.
        Claimant::Expired { .. } => decide_shared(db, asked, None, bounds, now),
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
        // Nobody takes over the name of a device that lives, or was cut off, by a code that was not made for it.
        None if device.is_none() && (is_taken(db, asked, now)? || was_revoked(db, asked.device)?) => {
            Ok(Decision::NotAllowed)
        }
        None => {
            // From now on it is this device's: the same key gets no other name by it.
            let sql = "update claim set used_us = ?2, used_by = ?3, device = ?4 where id = ?1";
            db.prepare(sql).execute(params![id, now.0, asked.key, asked.device.as_str()])?;
            Ok(Decision::Issue)
        }
    }
}

fn decide_shared(
    db: Db<'_>,
    asked: &Asked<'_>,
    claim: Option<&DeviceId>,
    bounds: &Bounds,
    now: Instant,
) -> Result<Decision, SqlError> {
    let (device, key) = (asked.device.as_str(), asked.key);
    let sql = "select state from enrolment where device = ?1 and key = ?2";
    match db.prepare(sql).first(params![device, key], |row| row.get::<i64>(0))? {
        Some(1) => return Ok(Decision::Issue),
        Some(2) => return Ok(Decision::NotAllowed),
        Some(_) => {
            let sql = "update enrolment set asked_us = ?3 where device = ?1 and key = ?2 and asked_us < ?4";
            db.prepare(sql).execute(params![device, key, now.0, now.0 - AGAIN_US])?;
            return Ok(Decision::Waiting);
        }
        None => {}
    }
    // A rule admits new devices; who takes the name of one that lives, or was cut off, is for the operator to see.
    if is_ruled_in(db, asked.device)? && !is_taken(db, asked, now)? && !was_revoked(db, asked.device)? {
        let is_spent = claim.map_or(Ok(false), |claim| is_spent(db, claim, bounds, now))?;
        return Ok(if is_spent { Decision::Spent } else { Decision::Issue });
    }
    wait(db, asked, claim, bounds, now)
}

/// Has the request wait for the operator, if there is room. First they make room who have not asked again for long.
fn wait(
    db: Db<'_>,
    asked: &Asked<'_>,
    claim: Option<&DeviceId>,
    bounds: &Bounds,
    now: Instant,
) -> Result<Decision, SqlError> {
    let claim = claim.map(DeviceId::as_str);
    let waiting_us = i64::try_from(bounds.waiting.as_micros()).unwrap_or(i64::MAX);
    let sql = "delete from enrolment where (state = 0 and asked_us < ?1) or (state <> 0 and asked_us < ?2)";
    db.prepare(sql).execute([now.0.saturating_sub(waiting_us), now.0 - ANSWERED_US])?;
    let waiting: i64 = db.prepare("select count(*) from enrolment where state = 0").one(NOTHING, |row| row.get(0))?;
    let sql = "select count(*) from enrolment where state = 0 and claim = ?1";
    let by_claim: i64 = db.prepare(sql).one(params![claim], |row| row.get(0))?;
    if waiting >= WAITING_MAX || by_claim >= WAITING_OF_CLAIM_MAX {
        return Ok(Decision::TooMany);
    }
    let sql = "insert into enrolment (tenant, device, key, asked_us, state, claim) values (?1, ?2, ?3, ?4, 0, ?5)";
    db.prepare(sql).execute(params![TENANT, asked.device.as_str(), asked.key, now.0, claim])?;
    Ok(Decision::Waiting)
}

/// Whether a claim that many share has made as many certificates as it may.
fn is_spent(db: Db<'_>, claim: &DeviceId, bounds: &Bounds, now: Instant) -> Result<bool, SqlError> {
    let sql = "select issued, case when hour_us > ?2 then in_hour else 0 end from claim_use where name = ?1";
    let used = db
        .prepare(sql)
        .first(params![claim.as_str(), now.0 - HOUR_US], |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?)))?;
    Ok(used.is_some_and(|(issued, in_hour)| {
        issued >= i64::from(bounds.in_all_max) || in_hour >= i64::from(bounds.per_hour_max)
    }))
}

/// Whether the device has a certificate that is good, with another key.
fn is_taken(db: Db<'_>, asked: &Asked<'_>, now: Instant) -> Result<bool, SqlError> {
    let sql = "select count(*) from certificate where device = ?1 and revoked_us is null and not_after_us >= ?2";
    let count: i64 = db.prepare(sql).one(params![asked.device.as_str(), now.0], |row| row.get(0))?;
    Ok(count > 0)
}

/// Whether the device was cut off, or the last certificate that it was issued was revoked: only what the operator makes for
/// it since, a code or a word, lets it in again.
fn was_revoked(db: Db<'_>, device: &DeviceId) -> Result<bool, SqlError> {
    let sql = "select count(*) from cut_off c where c.device = ?1
               and not exists (select 1 from certificate k where k.device = ?1 and k.revoked_us is null)";
    let is_cut: i64 = db.prepare(sql).one(params![device.as_str()], |row| row.get(0))?;
    if is_cut > 0 {
        return Ok(true);
    }
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
