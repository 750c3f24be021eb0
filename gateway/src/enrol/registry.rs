//! What is known of claims and certificates, in the database that all gateways and commands share.

use proto::{DeviceId, Instant};

use super::Claimant;
use super::authority::Held;
use crate::store::sql::{Db, SqlError, params};
use crate::store::{Side, StoreError};

/// Requests that wait for the operator.
const WAITING_MAX: i64 = 1_000;
/// Live claims, at most: they are all kept in memory.
const CLAIMS_MAX: i64 = 10_000;
/// Certificates that one device may have been issued within [`RECENT_US`].
const ISSUED_MAX: i64 = 4;
const RECENT_US: i64 = 24 * 3_600 * 1_000_000;
/// How long after its end a claim that was used is still good for asking again for the same key: the answer may have
/// been lost.
const GRACE_US: i64 = 24 * 3_600 * 1_000_000;
/// How long a certificate is remembered after it expired.
const KEPT_US: i64 = 90 * 24 * 3_600 * 1_000_000;
/// There is one tenant so far.
const TENANT: i64 = 1;

/// The values of a statement that has no placeholders.
const NOTHING: [i64; 0] = [];

/// The database, for what concerns enrolment.
pub struct Registry {
    side: Side,
}

/// A request for a certificate, as far as it matters who may have one.
pub(super) struct Asked<'a> {
    /// Who asks.
    pub(super) by: &'a Claimant,
    /// Who it wants to be.
    pub(super) device: &'a DeviceId,
    /// The public key that the certificate is to be about.
    pub(super) key: &'a [u8],
}

/// What is to become of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It was issued already, this PEM.
    Known(Vec<u8>),
    /// It is to be issued.
    Issue,
    /// The operator has not said yet.
    Waiting,
    /// The operator said no.
    NotAllowed,
    /// The claim is over, or for another device.
    NoClaim,
    /// The claim was used, for another key.
    ClaimUsed,
    /// There were too many of late.
    TooMany,
}

/// A certificate that was issued.
pub struct Certificate {
    /// Its serial number, as `certs::identity::serial` writes it.
    pub serial: String,
    /// Whose.
    pub device: DeviceId,
    /// Its public key.
    pub key: Vec<u8>,
    /// Its end.
    pub not_after: Instant,
    /// It and what leads to the anchor, PEM.
    pub chain: Vec<u8>,
}

/// One line of `devices list`.
pub struct Line {
    /// Whose.
    pub device: String,
    /// What there is: a certificate, a request, a claim or a rule.
    pub what: &'static str,
    /// More about it, for people.
    pub more: String,
    /// When it ends or was asked, if there is such a time.
    pub time: Option<Instant>,
}

/// What an operator asked for cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There are too many.
    #[error("there are {CLAIMS_MAX} live claims already; wait until some are over")]
    TooManyClaims,
    /// Nobody of that name asked.
    #[error("no device {0} waits to be allowed; `devices list` shows who does")]
    NobodyWaits(String),
    /// Several keys ask for one name.
    #[error("{count} different keys ask to be {device}; say which with --key: {keys}")]
    Several {
        /// How many.
        count: usize,
        /// Which name.
        device: String,
        /// The beginnings of the keys' fingerprints.
        keys: String,
    },
}

impl From<SqlError> for RegistryError {
    fn from(error: SqlError) -> Self {
        Self::Store(error.into())
    }
}

impl Registry {
    /// In the database that `side` leads to.
    #[must_use]
    pub fn new(side: Side) -> Self {
        Self { side }
    }

    /// Notes a claim by its public `key`, for `device` or for whoever has it, until `expires`.
    ///
    /// # Errors
    /// When there are too many, or the database.
    pub fn add_claim(
        &mut self,
        key: &[u8; 32],
        device: Option<&DeviceId>,
        now: Instant,
        expires: Instant,
    ) -> Result<(), RegistryError> {
        self.side.transact(|db| {
            db.prepare("delete from claim where expires_us < ?1").execute([now.0 - GRACE_US])?;
            let live: i64 = db.prepare("select count(*) from claim").one(NOTHING, |row| row.get(0))?;
            if live >= CLAIMS_MAX {
                return Err(RegistryError::TooManyClaims);
            }
            let sql = "insert into claim (tenant, key, device, made_us, expires_us) values (?1, ?2, ?3, ?4, ?5)";
            let device = device.map(DeviceId::as_str);
            db.prepare(sql).execute(params![TENANT, key, device, now.0, expires.0])?;
            Ok(())
        })
    }

    /// The public keys of all claims that may be shown now.
    ///
    /// # Errors
    /// The database.
    pub fn live_claims(&mut self, now: Instant) -> Result<Vec<[u8; 32]>, RegistryError> {
        self.side.look(|db| {
            let sql = "select key from claim where expires_us >= ?1 or (used_us is not null and expires_us >= ?2)";
            Ok(db.prepare(sql).rows([now.0, now.0 - GRACE_US], |row| row.get(0))?)
        })
    }

    /// The serial numbers of certificates that were revoked and would else be good.
    ///
    /// # Errors
    /// The database.
    pub fn revoked(&mut self, now: Instant) -> Result<Vec<String>, RegistryError> {
        self.side.look(|db| {
            let sql = "select serial from certificate where revoked_us is not null and not_after_us >= ?1";
            Ok(db.prepare(sql).rows([now.0], |row| row.get(0))?)
        })
    }

    /// Says what is to become of a request, and notes what that uses up.
    pub(super) fn decide(&mut self, asked: &Asked<'_>, now: Instant) -> Result<Decision, RegistryError> {
        self.side.transact(|db| decide(db, asked, now).map_err(RegistryError::from))
    }

    /// Notes what was issued.
    ///
    /// # Errors
    /// The database.
    pub fn keep(&mut self, certificate: &Certificate, now: Instant) -> Result<(), RegistryError> {
        let Certificate { serial, device, key, not_after, chain } = certificate;
        self.side.transact(|db| {
            db.prepare("delete from certificate where not_after_us < ?1").execute([now.0 - KEPT_US])?;
            let sql = "insert into certificate (serial, tenant, device, key, issued_us, not_after_us, chain)
                       values (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let (device, key, chain) = (device.as_str(), key.as_slice(), chain.as_slice());
            db.prepare(sql).execute(params![serial, TENANT, device, key, now.0, not_after.0, chain])?;
            let sql = "delete from enrolment where device = ?1 and key = ?2";
            db.prepare(sql).execute(params![device, key])?;
            Ok(())
        })
    }

    /// Notes that certificates are revoked, whoever issued them. All gateways cut them off within a second or two.
    ///
    /// # Errors
    /// The database.
    pub fn revoke(&mut self, certificates: &[Held], now: Instant) -> Result<(), RegistryError> {
        self.side.transact(|db| {
            let sql =
                "insert into certificate (serial, tenant, device, key, issued_us, not_after_us, chain, revoked_us)
                       values (?1, ?2, ?3, ?4, ?5, ?6, ?4, ?5)
                       on conflict (serial) do update set revoked_us = ?5";
            for Held { serial, device, not_after, .. } in certificates {
                let (device, nothing): (_, &[u8]) = (device.as_str(), &[]);
                db.prepare(sql).execute(params![serial, TENANT, device, nothing, now.0, not_after.0])?;
            }
            Ok(())
        })
    }

    /// Lets whoever asks with a shared claim be a device whose id is `pattern`, or begins with what is before its `*`.
    ///
    /// # Errors
    /// The database.
    pub fn add_rule(&mut self, pattern: &str, now: Instant) -> Result<(), RegistryError> {
        self.side.transact(|db| {
            let sql = "insert into enrolment_rule (pattern, tenant, made_us) values (?1, ?2, ?3)
                       on conflict (pattern) do nothing";
            db.prepare(sql).execute(params![pattern, TENANT, now.0])?;
            Ok(())
        })
    }

    /// The fingerprint of the one key that waits to be `device`; where several do, of that which begins with `key`.
    ///
    /// # Errors
    /// Nobody waits, or several do; or the database.
    pub fn who_waits(&mut self, device: &DeviceId, key: Option<&str>) -> Result<String, RegistryError> {
        self.side.look(|db| Ok(waiting(db, device, key)?.1))
    }

    /// Says yes or no to a device that waits, with the key whose fingerprint begins with `key` if there are several.
    ///
    /// # Errors
    /// Nobody waits, or several do; or the database.
    pub fn answer(&mut self, device: &DeviceId, key: Option<&str>, is_allowed: bool) -> Result<(), RegistryError> {
        self.side.transact(|db| {
            let (id, _) = waiting(db, device, key)?;
            let sql = "update enrolment set state = ?2 where id = ?1";
            db.prepare(sql).execute([id, if is_allowed { 1 } else { 2 }])?;
            Ok(())
        })
    }

    /// Everything that an operator may want to see, at most some thousand lines of each kind.
    ///
    /// # Errors
    /// The database.
    pub fn list(&mut self, now: Instant) -> Result<Vec<Line>, RegistryError> {
        self.side.look(|db| list(db, now).map_err(RegistryError::from))
    }
}

/// What people compare two keys by: the beginning of the hash of it.
#[must_use]
pub fn fingerprint(key: &[u8]) -> String {
    let hash = proto::BodyHash::of(key);
    hash.0.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The one request that waits, and the fingerprint of its key.
fn waiting(db: Db<'_>, device: &DeviceId, key: Option<&str>) -> Result<(i64, String), RegistryError> {
    let sql = "select id, key from enrolment where device = ?1 and state = 0 order by id";
    let all: Vec<(i64, String)> = db
        .prepare(sql)
        .rows(params![device.as_str()], |row| Ok((row.get(0)?, fingerprint(&row.get::<Vec<u8>>(1)?))))?;
    let mut chosen = all.iter().filter(|(_, print)| key.is_none_or(|key| print.starts_with(key)));
    match (chosen.next(), chosen.next()) {
        (Some(one), None) => Ok(one.clone()),
        (None, _) if all.is_empty() => Err(RegistryError::NobodyWaits(device.to_string())),
        _ => Err(RegistryError::Several {
            count: all.len(),
            device: device.to_string(),
            keys: all.iter().map(|(_, print)| print.as_str()).collect::<Vec<_>>().join(", "),
        }),
    }
}

fn decide(db: Db<'_>, asked: &Asked<'_>, now: Instant) -> Result<Decision, SqlError> {
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
        Claimant::Device => {
            let sql = "select count(*) from certificate where device = ?1 and issued_us >= ?2";
            let recent: i64 = db.prepare(sql).one(params![device.as_str(), now.0 - RECENT_US], |row| row.get(0))?;
            Ok(if recent < ISSUED_MAX { Decision::Issue } else { Decision::TooMany })
        }
    }
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
        Some(key) if key == asked.key => Ok(Decision::Issue),
        Some(_) => Ok(Decision::ClaimUsed),
        None if expires_us < now.0 => Ok(Decision::NoClaim),
        // Nobody takes over the name of a device that lives by a code that was not made for it.
        None if device.is_none() && is_taken(db, asked, now)? => Ok(Decision::NotAllowed),
        None => {
            let sql = "update claim set used_us = ?2, used_by = ?3 where id = ?1";
            db.prepare(sql).execute(params![id, now.0, asked.key])?;
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
    // A rule admits new devices; who takes the name of one that lives is for the operator to see.
    if is_ruled_in(db, asked.device)? && !is_taken(db, asked, now)? {
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

fn is_ruled_in(db: Db<'_>, device: &DeviceId) -> Result<bool, SqlError> {
    let patterns: Vec<String> = db.prepare("select pattern from enrolment_rule").rows(NOTHING, |row| row.get(0))?;
    Ok(patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => device.as_str().starts_with(beginning),
        None => device.as_str() == pattern,
    }))
}

fn list(db: Db<'_>, now: Instant) -> Result<Vec<Line>, SqlError> {
    let mut lines = Vec::new();
    let sql =
        "select device, serial, not_after_us, revoked_us from certificate order by device, not_after_us limit 10000";
    db.prepare(sql).each(NOTHING, |row| {
        let (not_after, revoked): (i64, Option<i64>) = (row.get(2)?, row.get(3)?);
        let what = match revoked {
            Some(_) => "revoked",
            None if not_after < now.0 => "expired",
            None => "certificate",
        };
        lines.push(Line { device: row.get(0)?, what, more: row.get(1)?, time: Some(Instant(not_after)) });
        Ok(())
    })?;
    let sql = "select device, key, asked_us, state from enrolment order by device, id limit 2000";
    db.prepare(sql).each(NOTHING, |row| {
        let what = match row.get::<i64>(3)? {
            0 => "waits",
            1 => "allowed",
            _ => "refused",
        };
        let more = fingerprint(&row.get::<Vec<u8>>(1)?);
        lines.push(Line { device: row.get(0)?, what, more, time: Some(Instant(row.get(2)?)) });
        Ok(())
    })?;
    let sql = "select device, expires_us, used_us from claim order by expires_us limit 10000";
    db.prepare(sql).each(NOTHING, |row| {
        let (expires, used): (i64, Option<i64>) = (row.get(1)?, row.get(2)?);
        let device = row.get::<Option<String>>(0)?.unwrap_or_else(|| "any".to_owned());
        let more = match used {
            Some(_) => "used",
            None if expires < now.0 => "over",
            None => "open",
        };
        lines.push(Line { device, what: "claim", more: more.to_owned(), time: Some(Instant(expires)) });
        Ok(())
    })?;
    db.prepare("select pattern from enrolment_rule order by pattern limit 2000").each(NOTHING, |row| {
        lines.push(Line { device: row.get(0)?, what: "rule", more: "may enrol".to_owned(), time: None });
        Ok(())
    })?;
    Ok(lines)
}

#[cfg(test)]
mod tests;
