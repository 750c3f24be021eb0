//! What is known of claims and certificates, in the database that all gateways and commands share.

use std::time::Duration;

use proto::{DeviceId, Instant};

use self::decide::decide;
use self::list::list;
use super::Claimant;
use crate::store::sql::{Db, SqlError, params};
use crate::store::{Side, StoreError};

mod cut;
mod decide;
mod keep;
mod list;
mod meet;

pub use keep::Made;
pub use meet::{Coming, Ear, Heard};

/// Live claims, at most: they are all kept in memory.
const CLAIMS_MAX: i64 = 10_000;
/// Devices that are cut off, at most: they are all kept in memory.
const CUT_OFF_MAX: i64 = 100_000;
/// How long after its end a claim that was used is still good for asking again for the same key: the answer may have
/// been lost.
const GRACE_US: i64 = 24 * 3_600 * 1_000_000;
/// How long a certificate is remembered after it expired, and refused as revoked if it is: for longer than an expired one
/// may be shown.
const KEPT_US: i64 = 90 * 24 * 3_600 * 1_000_000;
/// There is one tenant so far.
const TENANT: i64 = 1;

/// The values of a statement that has no placeholders.
const NOTHING: [i64; 0] = [];

/// The database, for what concerns enrolment.
pub struct Registry {
    side: Side,
    bounds: Bounds,
}

/// What claims that many share may do at most, each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Certificates within an hour.
    pub per_hour_max: u32,
    /// Certificates in all.
    pub in_all_max: u32,
    /// How long a request that is not made again waits for the operator.
    pub waiting: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { per_hour_max: 100, in_all_max: 10_000, waiting: Duration::from_secs(24 * 3_600) }
    }
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
    /// The claim that many share has made as many certificates as it may, within an hour or in all.
    Spent,
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
    /// There are too many.
    #[error("{CUT_OFF_MAX} devices are cut off already; take those back that are long gone (`devices reinstate`)")]
    TooManyCutOff,
    /// It was revoked while its certificate was made.
    #[error("the device was cut off while its certificate was made")]
    CutOff,
    /// There is nothing to take back.
    #[error("the device {0} is not cut off; `devices list` shows who is")]
    NotCutOff(String),
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
        Self { side, bounds: Bounds::default() }
    }

    /// The same, with other bounds.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
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

    /// Says what is to become of a request, and notes what that uses up.
    pub(super) fn decide(&mut self, asked: &Asked<'_>, now: Instant) -> Result<Decision, RegistryError> {
        let bounds = self.bounds;
        self.side.transact(|db| decide(db, asked, &bounds, now).map_err(RegistryError::from))
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

#[cfg(test)]
mod tests;
