//! What the database knows: certificates that were issued, devices that are there twice, when something last arrived; and
//! what the role that runs the gateway may do in it.

use certs::inspect;
use proto::Instant;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::certificates::{Seen, Whose};
use super::finding::{Finding, or_well};
use crate::config::Config;
use crate::store::StoreError;
use crate::store::postgres::{self, ROLES_SQL};
use crate::store::sql::{Db, SqlError};

const ROLES: &str = "roles";
const TWICE: &str = "shared-keys";
/// Certificates that are looked at: some 20 MiB.
const CERTIFICATES_MAX: usize = 20_000;
/// Devices that are there twice and worth a line each.
const TWICE_MAX: i64 = 20;
/// An alarm that is older has been seen to, or nobody will.
const RECENT_US: i64 = 7 * 24 * 3_600 * 1_000_000;
const NOTHING: [i64; 0] = [];

/// What the tables say.
pub(super) struct Known {
    /// Of each device those that are good, and the newest that was.
    pub(super) issued: Vec<Seen>,
    /// Devices whose certificate connected from two places at once.
    pub(super) twice: Vec<Finding>,
    /// When something last arrived, in microseconds since 1970.
    pub(super) last_arrival_us: Option<i64>,
}

/// Reads the tables.
///
/// # Errors
/// The database cannot be reached, or is not of this program's version.
pub(super) fn ask(config: &Config, now: Instant) -> anyhow::Result<Known> {
    let known = config.side()?.look(|db| ask_in(db, now).map_err(StoreError::from))?;
    Ok(known)
}

fn ask_in(db: Db<'_>, now: Instant) -> Result<Known, SqlError> {
    let sql = "select arrived_us from batch order by arrived_us desc limit 1";
    let last_arrival_us = db.prepare(sql).first(NOTHING, |row| row.get(0))?;
    let sql = "select device.name, alarm.count from alarm join device on device.id = alarm.device
               where alarm.kind = 'device_twice' and alarm.last_us >= ?1 order by alarm.last_us desc limit ?2";
    let twice = db.prepare(sql).rows([now.0 - RECENT_US, TWICE_MAX], |row| {
        let (device, count): (String, i64) = (row.get(0)?, row.get(1)?);
        let what =
            format!("{device} was connected from two places at once, within the last days; noticed {count} times");
        Ok(Finding::fault(TWICE, what, format!("its key was copied: `devices revoke {device}`, and enrol it again")))
    })?;
    Ok(Known { issued: issued(db, now)?, twice, last_arrival_us })
}

fn issued(db: Db<'_>, now: Instant) -> Result<Vec<Seen>, SqlError> {
    let sql = format!(
        "select device, not_after_us, chain from certificate where revoked_us is null
         order by device, not_after_us desc limit {CERTIFICATES_MAX}"
    );
    let (mut issued, mut last) = (Vec::new(), String::new());
    db.prepare(&sql).each(NOTHING, |row| {
        let (device, not_after_us, chain): (String, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let is_newest = device != last;
        if is_newest || not_after_us >= now.0 {
            let leaf = CertificateDer::from_pem_slice(&chain).ok();
            let whose = if is_newest { Whose::Issued } else { Whose::Former };
            let facts = leaf.and_then(|leaf| inspect::certificate(&leaf).ok());
            issued.extend(facts.map(|facts| Seen { whose, place: format!("device {device}"), facts }));
        }
        last = device;
        Ok(())
    })?;
    Ok(issued)
}

/// What the role of `run` may do on a server, and what that server's clock says in seconds since 1970.
///
/// # Errors
/// The server cannot be reached.
pub(super) fn roles(config: &Config) -> anyhow::Result<(Vec<Finding>, i64)> {
    let settings = config.store.postgres.ingest()?;
    let postgres::Examined { lacking, too_wide, clock_s } = postgres::examine(&settings)?;
    let advice =
        format!("run the gateway as tributary_ingest, and have a superuser run {ROLES_SQL} again in this database");
    let mut found: Vec<_> = lacking.map(|lacking| Finding::fault(ROLES, lacking, &advice)).into_iter().collect();
    if !too_wide.is_empty() {
        let what = format!("the role {} {}, which a gateway needs not", settings.user, too_wide.join(", "));
        found.push(Finding::fault(ROLES, what, advice));
    }
    Ok((or_well(found, ROLES, || format!("the role {} may do what it has to, and no more", settings.user)), clock_s))
}
