//! Revoking, and the revocation list (CRL) that tells others.

use std::io::ErrorKind;
use std::time::SystemTime;

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber};
use x509_parser::num_bigint::BigUint;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::index::{Index, Reason, Record, Revoked, Role, State};
use super::profile::{BACKDATED, ProfileError};
use super::serial::Serial;
use super::time::{DAY, UnixTime};
use super::{Authority, AuthorityError, INDEX, PUBLIC, signing};
use crate::files::{self, FileError};
use crate::pem_file::{self, PemFileError};

/// Days that a revocation list is good for unless told otherwise. Brokers refuse every client once it has run out, so
/// it is renewed at half its life, which leaves half a week to notice that nobody does.
pub const CRL_DAYS: u32 = 7;
/// Days that a revocation list is good for at most: a stolen one may be shown in place of a later one for so long.
pub const CRL_DAYS_MAX: u32 = 90;

/// Which certificates to revoke.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// The one of this serial number.
    Serial(Serial),
    /// All that a device of this id has and that have not expired.
    Device(&'a str),
}

impl Authority {
    /// Revokes certificates, and writes a revocation list that says so.
    ///
    /// Answers with those that were not revoked before, which may be none; their first reason stands. Fails with
    /// [`AuthorityError::Unknown`] where there is no such certificate or all have expired.
    pub fn revoke(&self, which: Which<'_>, reason: Reason, now: SystemTime) -> Result<Vec<Record>, AuthorityError> {
        let now = UnixTime::try_from(now)?;
        let (_lock, mut index) = self.lock()?;
        let meant = |record: &&mut Record| match which {
            Which::Serial(serial) => record.serial == serial,
            Which::Device(id) => record.role == Role::Device && record.subject == id,
        };
        let (mut known, mut revoked) = (false, Vec::new());
        for record in index.records.iter_mut().filter(meant).filter(|record| record.state(now) != State::Expired) {
            known = true;
            if record.revoked.is_none() {
                record.revoked = Some(Revoked { at: now, reason });
                revoked.push(record.clone());
            }
        }
        if !known {
            return Err(AuthorityError::Unknown);
        }
        // Written even where nothing is new: the last attempt may have ended between the index and the list.
        self.write_crl(&mut index, CRL_DAYS, now)?;
        Ok(revoked)
    }

    /// Writes a fresh revocation list, good for `days` from `now`, and answers with it in PEM. Its number is one more
    /// than the last one's.
    pub fn crl(&self, days: u32, now: SystemTime) -> Result<String, AuthorityError> {
        let now = UnixTime::try_from(now)?;
        let (_lock, mut index) = self.lock()?;
        self.write_crl(&mut index, days, now)
    }

    /// Whether the revocation list is due to be written again: it has lived half its life, or is missing, unreadable
    /// or not the one that the index knows.
    pub fn crl_due(&self, now: SystemTime) -> Result<bool, AuthorityError> {
        let now = UnixTime::try_from(now)?;
        let lists = match pem_file::read_crls(&self.crl_path()) {
            Ok(lists) => lists,
            Err(PemFileError::File(FileError::Io { source, .. })) if source.kind() == ErrorKind::NotFound => {
                return Ok(true);
            }
            Err(PemFileError::Malformed { .. } | PemFileError::Nothing { .. }) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let number = Index::read(&self.dir.join(INDEX))?.crl_number;
        let [list] = lists.as_slice() else { return Ok(true) };
        Ok(due_at(list, number).is_none_or(|due_at| now >= due_at))
    }

    /// The list is written after the index: a number is never used twice, and [`Self::crl_due`] tells where a power
    /// cut came in between.
    pub(super) fn write_crl(&self, index: &mut Index, days: u32, now: UnixTime) -> Result<String, AuthorityError> {
        if days == 0 || days > CRL_DAYS_MAX {
            return Err(ProfileError::BadLife { days, days_max: CRL_DAYS_MAX }.into());
        }
        index.crl_number += 1;
        index.write(&self.dir.join(INDEX), now)?;
        let params = CertificateRevocationListParams {
            this_update: now.minus(BACKDATED).date_time(),
            next_update: now.plus(u64::from(days) * DAY)?.date_time(),
            crl_number: SerialNumber::from(index.crl_number),
            issuing_distribution_point: None,
            // Expired ones stay as long as the index keeps them: longer than the one list more that RFC 5280
            // (section 3.3) asks for.
            revoked_certs: index.records.iter().filter_map(entry).collect(),
            key_identifier_method: KeyIdMethod::PreSpecified(self.key_id.clone()),
        };
        let pem = params
            .signed_by(&self.issuer)
            .and_then(|crl| crl.pem())
            .map_err(|source| signing("sign the revocation list", source))?;
        files::replace(&self.crl_path(), pem.as_bytes(), PUBLIC)?;
        Ok(pem)
    }
}

fn entry(record: &Record) -> Option<RevokedCertParams> {
    let revoked = record.revoked?;
    Some(RevokedCertParams {
        serial_number: SerialNumber::from_slice(&record.serial.to_bytes()),
        revocation_time: revoked.at.date_time(),
        reason_code: match revoked.reason {
            Reason::Unspecified => None, // RFC 5280, section 5.3.1: left out rather than stated
            Reason::KeyCompromise => Some(RevocationReason::KeyCompromise),
            Reason::Superseded => Some(RevocationReason::Superseded),
            Reason::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
            Reason::PrivilegeWithdrawn => Some(RevocationReason::PrivilegeWithdrawn),
        },
        invalidity_date: None,
    })
}

/// When a list has lived half its life; none where it is not the one of `number`.
fn due_at(crl_der: &[u8], number: u64) -> Option<UnixTime> {
    let Ok(([], list)) = CertificateRevocationList::from_der(crl_der) else { return None };
    if list.crl_number() != Some(&BigUint::from(number)) {
        return None;
    }
    let from = UnixTime::try_from(list.last_update().timestamp()).ok()?;
    let until = UnixTime::try_from(list.next_update()?.timestamp()).ok()?;
    from.plus(until.seconds().checked_sub(from.seconds())? / 2).ok()
}
