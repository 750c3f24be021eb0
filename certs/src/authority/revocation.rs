//! Revoking, and the revocation list (CRL) that tells others.

use std::io::ErrorKind;
use std::time::SystemTime;

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber};
use rustls_pki_types::CertificateRevocationListDer;
use x509_parser::num_bigint::BigUint;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::index::{Index, Reason, Record, Revoked, Role};
use super::kind::Kind;
use super::profile::{BACKDATED, ProfileError};
use super::serial::Serial;
use super::time::{DAY, UnixTime};
use super::{Authority, AuthorityError, INDEX, PUBLIC, ROOT_CRL, signing};
use crate::files::{self, FileError};
use crate::pem_file::{self, PemFileError, to_pem};

/// Days that a revocation list is good for unless told otherwise. Brokers refuse every client once it has run out, so
/// it is renewed at half its life, which leaves half a week to notice that nobody does.
pub const CRL_DAYS: u32 = 7;
/// Days that a revocation list is good for at most: a stolen one may be shown in place of a later one for so long.
pub const CRL_DAYS_MAX: u32 = 90;
/// Days that a root's revocation list is good for unless told otherwise: the root is brought out twice a year at the
/// least, since the list is renewed at half its life.
pub const ROOT_CRL_DAYS: u32 = 365;
/// Days that a root's revocation list is good for at most.
pub const ROOT_CRL_DAYS_MAX: u32 = 397;

/// Which certificates to revoke.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// The one of this serial number.
    Serial(Serial),
    /// All that a device of this id has. Those that have expired too: a gateway may take them for a while from who asks
    /// for the next one.
    Device(&'a str),
    /// The authority of this serial number, and with it all that it issued.
    Authority(Serial),
}

impl Authority {
    /// Revokes certificates, and writes a revocation list that says so.
    ///
    /// Answers with those that were not revoked before, which may be none; their first reason stands. Fails with
    /// [`AuthorityError::Unknown`] where there is no such certificate, or it has left the index: 90 days after its end.
    pub fn revoke(&self, which: Which<'_>, reason: Reason, now: SystemTime) -> Result<Vec<Record>, AuthorityError> {
        let now = UnixTime::try_from(now)?;
        let (_lock, mut index) = self.lock()?;
        let meant = |record: &&mut Record| match which {
            Which::Serial(serial) => record.serial == serial,
            Which::Device(id) => record.role == Role::Device && record.subject == id,
            Which::Authority(serial) => record.role == Role::Authority && record.serial == serial,
        };
        let (mut known, mut revoked) = (false, Vec::new());
        for record in index.records.iter_mut().filter(meant) {
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
        self.write_crl(&mut index, self.crl_days(), now)?;
        Ok(revoked)
    }

    /// Writes a fresh revocation list, good for `days` from `now`, and answers with it in PEM, the root's behind it where
    /// there is one. Its number is one more than the last one's.
    pub fn crl(&self, days: u32, now: SystemTime) -> Result<String, AuthorityError> {
        let now = UnixTime::try_from(now)?;
        let (_lock, mut index) = self.lock()?;
        self.write_crl(&mut index, days, now)
    }

    /// Writes a fresh revocation list, good for `days` from `now`, if it is due ([`Self::crl_due`]). Of several processes that
    /// find so at once, one does. Answers whether it was this one.
    pub fn crl_if_due(&self, days: u32, now: SystemTime) -> Result<bool, AuthorityError> {
        if !self.crl_due(now)? {
            return Ok(false);
        }
        let (_lock, mut index) = self.lock()?;
        // It may have been written while the lock was waited for.
        if !self.crl_due(now)? {
            return Ok(false);
        }
        self.write_crl(&mut index, days, UnixTime::try_from(now)?)?;
        Ok(true)
    }

    /// Whether the revocation list is due to be written again: it has lived half its life, or is missing, unreadable
    /// or not the one that the index knows; or the root's behind it is not the one that was brought here.
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
        let Some((list, behind)) = lists.split_first() else { return Ok(true) };
        if behind != self.root_crl()? {
            return Ok(true);
        }
        Ok(number_is(list, number).and_then(half_life).is_none_or(|half| now >= half))
    }

    /// Days that a revocation list of this authority is good for unless told otherwise.
    pub fn crl_days(&self) -> u32 {
        if self.kind == Kind::Root { ROOT_CRL_DAYS } else { CRL_DAYS }
    }

    /// When the root's revocation list, as it was last brought here, has lived half its life and when it runs out. `None`
    /// where there is no root. Only the root can write it anew.
    pub fn root_crl_ends(&self) -> Result<Option<(UnixTime, UnixTime)>, AuthorityError> {
        Ok(self.root_crl()?.first().and_then(|list| half_life(list).zip(ends(list))))
    }

    fn root_crl(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, AuthorityError> {
        if self.root.is_none() {
            return Ok(Vec::new());
        }
        Ok(pem_file::read_crls(&self.dir.join(ROOT_CRL))?)
    }

    /// The list is written after the index: a number is never used twice, and [`Self::crl_due`] tells where a power
    /// cut came in between.
    pub(super) fn write_crl(&self, index: &mut Index, days: u32, now: UnixTime) -> Result<String, AuthorityError> {
        let days_max = if self.kind == Kind::Root { ROOT_CRL_DAYS_MAX } else { CRL_DAYS_MAX };
        if days == 0 || days > days_max {
            return Err(ProfileError::BadLife { days, days_max }.into());
        }
        let root = self.root_crl()?;
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
        // Verifiers ask for the status of each certificate between leaf and root: they take both lists, or nobody.
        let pem = root.iter().fold(pem, |pem, list| pem + &to_pem("X509 CRL", list));
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

/// The list, if it is the one of `number`.
fn number_is(crl_der: &[u8], wanted: u64) -> Option<&[u8]> {
    (number(crl_der)? == BigUint::from(wanted)).then_some(crl_der)
}

/// The number of a list.
pub(super) fn number(crl_der: &[u8]) -> Option<BigUint> {
    parse(crl_der)?.crl_number().cloned()
}

/// Whether a list names a certificate, whose serial number is given as the certificate has it.
pub(super) fn revokes(crl_der: &[u8], raw_serial: &[u8]) -> bool {
    parse(crl_der).is_none_or(|list| list.iter_revoked_certificates().any(|each| each.raw_serial() == raw_serial))
}

/// When a list runs out.
pub(super) fn ends(crl_der: &[u8]) -> Option<UnixTime> {
    UnixTime::try_from(parse(crl_der)?.next_update()?.timestamp()).ok()
}

/// When a list has lived half its life.
fn half_life(crl_der: &[u8]) -> Option<UnixTime> {
    let from = UnixTime::try_from(parse(crl_der)?.last_update().timestamp()).ok()?;
    from.plus(ends(crl_der)?.seconds().checked_sub(from.seconds())? / 2).ok()
}

fn parse(crl_der: &[u8]) -> Option<CertificateRevocationList<'_>> {
    match CertificateRevocationList::from_der(crl_der) {
        Ok(([], list)) => Some(list),
        _ => None,
    }
}
