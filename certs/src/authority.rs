//! A certificate authority that lives in a folder.
//!
//! | file | what |
//! |---|---|
//! | `ca.crt` | its own certificate, which others trust |
//! | `ca.key` | its private key, mode 0600 |
//! | `index` | what it issued and revoked |
//! | `ca.crl` | its revocation list |
//! | `lock` | held while one process changes any of them |
//!
//! A certificate is in the index before anybody gets it, so that each one can be revoked. Calls block on files (and
//! for up to half a minute on the lock): an async caller gives them a thread.

mod index;
mod lock;
mod profile;
mod request;
mod revocation;
mod serial;
mod time;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

pub use index::{IndexError, NotAReason, Reason, Record, Revoked, Role, State};
pub use lock::LockError;
pub use profile::{
    AUTHORITY_DAYS, AUTHORITY_DAYS_MAX, DEVICE_DAYS_MAX, ProfileError, SERVER_DAYS_MAX, SERVER_NAMES_MAX,
};
pub use request::{RequestError, key_of_request};
pub use revocation::{CRL_DAYS, CRL_DAYS_MAX, Which};
pub use serial::{NotASerial, Serial};
pub use time::{TimeOutOfRange, UnixTime};

use crate::files::{self, FileError};
use crate::key_file::{self, KeyFileError};
use crate::pem_file::{self, PemFileError};
use index::Index;
use lock::Lock;
use profile::{Life, Profile};

/// An authority, opened. What it issued is read anew each time, since other processes issue too.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    anchor: CertificateDer<'static>,
    key_id: Vec<u8>,
    life: Life,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate that was issued, and is in the index.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Its row of the index.
    pub record: Record,
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// The same in PEM.
    pub pem: String,
}

/// A certificate and its private key, which is nowhere else.
pub struct LeafWithKey {
    /// The certificate.
    pub leaf: Leaf,
    /// PKCS#8 in PEM; to be written with [`key_file::create_private`].
    pub key_pem: Zeroizing<String>,
}

/// An authority that cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The private key file is missing or open to others.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A PEM file is missing or wrong.
    #[error(transparent)]
    Pem(#[from] PemFileError),
    /// The index is missing or damaged.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Another process is at work.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The signing request is refused.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A name or a life that no certificate gets.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The clock, or a life that was asked for, is beyond what a certificate can state.
    #[error(transparent)]
    Time(#[from] TimeOutOfRange),
    /// `ca.crt` is not the certificate of an authority, or not that of `ca.key`.
    #[error("{} {why}; restore the folder from a copy", path.display())]
    NotAnAuthority {
        /// The certificate or key file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The authority's own certificate is not valid now.
    #[error("the authority is valid from {not_before} to {not_after}, which is not now; is the clock right?")]
    NotNow {
        /// First second of its life.
        not_before: UnixTime,
        /// Last second of its life.
        not_after: UnixTime,
    },
    /// A certificate would outlive its authority, and be refused from then on.
    #[error("the authority ends {not_after}, before the certificate would; ask for fewer days or make a new authority")]
    Outlived {
        /// Last second of the authority's life.
        not_after: UnixTime,
    },
    /// There is no such certificate in the index.
    #[error("no such certificate was issued here, or it expired; see `tributary-certs list`")]
    Unknown,
    /// The system's random source failed.
    #[error("no random numbers from the system")]
    Random(#[from] getrandom::Error),
    /// A certificate or list could not be made or signed.
    #[error("cannot {action}")]
    Signing {
        /// What was attempted, as a verb.
        action: &'static str,
        /// What went wrong.
        source: rcgen::Error,
    },
}

impl Authority {
    /// Makes an authority in `dir`, which is made too where it is missing, valid for `days` from `now`.
    ///
    /// `name` is for people: 1 to 64 printable ASCII characters. Refuses a folder that already holds any part of an
    /// authority.
    pub fn create(dir: &Path, name: &str, days: u32, now: SystemTime) -> Result<Self, AuthorityError> {
        let now = UnixTime::try_from(now)?;
        let life = Life::starting(now, days, AUTHORITY_DAYS_MAX)?;
        let params = profile::authority(name, Serial::draw()?, life)?;
        fs::create_dir_all(dir).map_err(|source| FileError::Io { action: "create", path: dir.into(), source })?;
        let _lock = Lock::take(dir)?;
        for path in [KEY, INDEX, CERTIFICATE, CRL].map(|name| dir.join(name)) {
            if path.symlink_metadata().is_ok() {
                return Err(FileError::Exists { path }.into());
            }
        }
        let key = new_key()?;
        let certificate =
            params.self_signed(&key).map_err(|source| signing("sign the authority's own certificate", source))?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        key_file::create_private(&dir.join(KEY), key_pem.as_bytes())?;
        let mut index = Index { crl_number: 0, records: Vec::new() };
        index.write(&dir.join(INDEX), now)?;
        files::create(&dir.join(CERTIFICATE), certificate.pem().as_bytes(), PUBLIC)?;
        let authority = Self::open(dir)?;
        authority.write_crl(&mut index, CRL_DAYS, now)?;
        Ok(authority)
    }

    /// Opens the authority in `dir`.
    ///
    /// Fails where the key is open to others, is not that of the certificate, or the certificate may not sign.
    pub fn open(dir: &Path) -> Result<Self, AuthorityError> {
        let (key_path, certificate_path) = (dir.join(KEY), dir.join(CERTIFICATE));
        let refused = |path: &Path, why| AuthorityError::NotAnAuthority { path: path.into(), why };
        let key_pem = key_file::read_private(&key_path)?;
        let key_pem = std::str::from_utf8(&key_pem).map_err(|_| refused(&key_path, "is not PEM"))?;
        let key = KeyPair::from_pem_and_sign_algo(key_pem, &PKCS_ECDSA_P256_SHA256)
            .map_err(|_| refused(&key_path, "is not a P-256 private key in PEM"))?;
        let anchor = match pem_file::read_certificates(&certificate_path)?.as_slice() {
            [only] => only.clone(),
            _ => return Err(refused(&certificate_path, "holds more than one certificate")),
        };
        let (key_id, life) = examine(&anchor, &key).map_err(|why| refused(&certificate_path, why))?;
        let issuer = Issuer::from_ca_cert_der(&anchor, key)
            .map_err(|source| signing("read the authority's own certificate", source))?;
        Ok(Self { dir: dir.into(), anchor, key_id, life, issuer })
    }

    /// Makes a key and a certificate for a device, for at most 90 days.
    ///
    /// For tests and for devices that cannot make their own key; others send a request to [`Self::sign_csr`].
    pub fn issue_device(&self, device: &str, days: u32, now: SystemTime) -> Result<LeafWithKey, AuthorityError> {
        let key = new_key()?;
        let leaf = self.issue(&Profile::device(device)?, &key, days, now)?;
        Ok(LeafWithKey { leaf, key_pem: Zeroizing::new(key.serialize_pem()) })
    }

    /// As [`Self::issue_device`] for each of `devices`, with the index written once: a fleet at a time.
    pub fn issue_devices<'a>(
        &self,
        devices: impl IntoIterator<Item = &'a str>,
        days: u32,
        now: SystemTime,
    ) -> Result<Vec<LeafWithKey>, AuthorityError> {
        let now = UnixTime::try_from(now)?;
        let make = |device: &str| {
            let key = new_key()?;
            let leaf = self.make(&Profile::device(device)?, &key, days, now)?;
            Ok(LeafWithKey { leaf, key_pem: Zeroizing::new(key.serialize_pem()) })
        };
        let all = devices.into_iter().map(make).collect::<Result<Vec<_>, AuthorityError>>()?;
        self.note(all.iter().map(|made| made.leaf.record.clone()), now)?;
        Ok(all)
    }

    /// Makes a key and a certificate for a server of 1 to 16 `names` (host names or IP addresses), for at most 397 days.
    pub fn issue_server(&self, names: &[&str], days: u32, now: SystemTime) -> Result<LeafWithKey, AuthorityError> {
        let key = new_key()?;
        let leaf = self.issue(&Profile::server(names)?, &key, days, now)?;
        Ok(LeafWithKey { leaf, key_pem: Zeroizing::new(key.serialize_pem()) })
    }

    /// Signs a PEM signing request as a certificate of `device`, for at most 90 days.
    ///
    /// Only the public key is taken from the request; whatever else it asks for is not looked at. Fails unless the key
    /// is P-256 and the request is signed with it.
    pub fn sign_csr(&self, csr_pem: &[u8], device: &str, days: u32, now: SystemTime) -> Result<Leaf, AuthorityError> {
        let key = request::public_key_of_pem(csr_pem)?;
        self.issue(&Profile::device(device)?, &key, days, now)
    }

    /// As [`Self::sign_csr`], of a request in DER.
    pub fn sign_request(&self, csr: &[u8], device: &str, days: u32, now: SystemTime) -> Result<Leaf, AuthorityError> {
        let key = request::public_key(csr)?;
        self.issue(&Profile::device(device)?, &key, days, now)
    }

    /// What was issued, in the order of issue; certificates that expired more than 90 days ago are forgotten.
    pub fn list(&self) -> Result<Vec<Record>, AuthorityError> {
        Ok(Index::read(&self.dir.join(INDEX))?.records)
    }

    /// The authority's own certificate, which those trust who verify what it issued.
    pub fn anchor(&self) -> &CertificateDer<'static> {
        &self.anchor
    }

    /// Where the revocation list is, for whoever reads it again when it changes.
    pub fn crl_path(&self) -> PathBuf {
        self.dir.join(CRL)
    }

    fn issue(
        &self,
        profile: &Profile,
        key: &impl PublicKeyData,
        days: u32,
        now: SystemTime,
    ) -> Result<Leaf, AuthorityError> {
        let now = UnixTime::try_from(now)?;
        let leaf = self.make(profile, key, days, now)?;
        self.note([leaf.record.clone()], now)?;
        Ok(leaf)
    }

    /// Signs a certificate that is in no index yet, so that nobody may get it.
    fn make(
        &self,
        profile: &Profile,
        key: &impl PublicKeyData,
        days: u32,
        now: UnixTime,
    ) -> Result<Leaf, AuthorityError> {
        let (serial, life) = (Serial::draw()?, self.leaf_life(now, days, profile.days_max())?);
        let certificate = profile
            .params(serial, life)
            .signed_by(key, &self.issuer)
            .map_err(|source| signing("sign the certificate", source))?;
        let Life { not_before, not_after } = life;
        let (role, subject) = (profile.role(), profile.subject());
        let record = Record { serial, role, subject, not_before, not_after, revoked: None };
        Ok(Leaf { record, pem: certificate.pem(), der: certificate.into() })
    }

    /// Writes `records` into the index, all in one go.
    fn note(&self, records: impl IntoIterator<Item = Record>, now: UnixTime) -> Result<(), AuthorityError> {
        let (_lock, mut index) = self.lock()?;
        index.records.extend(records);
        Ok(index.write(&self.dir.join(INDEX), now)?)
    }

    fn leaf_life(&self, now: UnixTime, days: u32, days_max: u32) -> Result<Life, AuthorityError> {
        let Life { not_before, not_after } = self.life;
        if now < not_before || now > not_after {
            return Err(AuthorityError::NotNow { not_before, not_after });
        }
        let life = Life::starting(now, days, days_max)?;
        if life.not_after > not_after { Err(AuthorityError::Outlived { not_after }) } else { Ok(life) }
    }

    /// The index, for a change; what a killed process left beside it is removed.
    fn lock(&self) -> Result<(Lock, Index), AuthorityError> {
        let (lock, path) = (Lock::take(&self.dir)?, self.dir.join(INDEX));
        files::sweep(&path)?;
        files::sweep(&self.crl_path())?;
        Ok((lock, Index::read(&path)?))
    }
}

/// The key id and life of an authority's certificate, or why it is none.
fn examine(anchor: &[u8], key: &KeyPair) -> Result<(Vec<u8>, Life), &'static str> {
    let Ok(([], certificate)) = X509Certificate::from_der(anchor) else { return Err("is not well-formed DER") };
    if certificate.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err("is not the certificate of ca.key");
    }
    let may_sign = |usage: &x509_parser::extensions::KeyUsage| usage.key_cert_sign() && usage.crl_sign();
    let usage = certificate.key_usage().map_err(|_| "has an unsound key usage")?;
    if !certificate.is_ca() || !usage.is_some_and(|usage| may_sign(usage.value)) {
        return Err("may not sign certificates and revocation lists");
    }
    let key_id = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    let time =
        |time: x509_parser::time::ASN1Time| UnixTime::try_from(time.timestamp()).map_err(|_| "has unsound dates");
    let validity = certificate.validity();
    let life = Life { not_before: time(validity.not_before)?, not_after: time(validity.not_after)? };
    Ok((key_id.ok_or("has no subject key identifier")?, life))
}

fn new_key() -> Result<KeyPair, AuthorityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|source| signing("make a key", source))
}

fn signing(action: &'static str, source: rcgen::Error) -> AuthorityError {
    AuthorityError::Signing { action, source }
}

const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";
const INDEX: &str = "index";
const CRL: &str = "ca.crl";
/// Whoever verifies certificates reads the anchor and the revocation list.
const PUBLIC: u32 = 0o644;

#[cfg(test)]
mod tests;
