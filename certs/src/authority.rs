//! A certificate authority that lives in a folder.
//!
//! | file | what |
//! |---|---|
//! | `ca.crt` | its own certificate, which others trust unless there is a `root.crt` |
//! | `ca.key` | its private key, mode 0600 |
//! | `index` | what it issued and revoked |
//! | `ca.crl` | its revocation list; below a root also the root's, behind it: all that a verifier needs |
//! | `lock` | held while one process changes any of them |
//! | `root.crt` | below a root alone: the root's certificate, which others trust |
//! | `root.crl` | below a root alone: the root's revocation list as it was last brought here |
//! | `ca.csr` | below a root alone: the request that the root signed, of no use any more |
//!
//! There are three kinds ([`Kind`]). One alone signs itself and its leaves. A root signs authorities below it and its own
//! revocation list, nothing else, and its folder is kept offline. One below a root issues leaves without it, each in a
//! file with its own certificate behind the leaf's. What an authority may do is in its certificate, not in a setting.
//!
//! A certificate is in the index before anybody gets it, so that each one can be revoked. Calls block on files (and
//! for up to half a minute on the lock): an async caller gives them a thread.

mod error;
mod index;
mod intermediate;
mod kind;
mod lock;
mod next;
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
use zeroize::Zeroizing;

pub use error::AuthorityError;
pub use index::{IndexError, NotAReason, Reason, Record, Revoked, Role, State};
pub use intermediate::Below;
pub use kind::Kind;
pub use lock::LockError;
pub use profile::{
    AUTHORITY_BELOW_DAYS_MAX, AUTHORITY_DAYS, AUTHORITY_DAYS_MAX, DEVICE_DAYS_MAX, ProfileError, SERVER_DAYS_MAX,
    SERVER_NAMES_MAX,
};
pub use request::{RequestError, key_of_request};
pub use revocation::{CRL_DAYS, CRL_DAYS_MAX, ROOT_CRL_DAYS, ROOT_CRL_DAYS_MAX, Which};
pub use serial::{NotASerial, Serial};
pub use time::{TimeOutOfRange, UnixTime};

use crate::files::{self, FileError};
use crate::key_file;
use crate::pem_file::to_pem;
use index::Index;
use lock::Lock;
use profile::{Life, Profile, Tier};

/// An authority, opened. What it issued is read anew each time, since other processes issue too.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    certificate: CertificateDer<'static>,
    /// Below a root alone.
    root: Option<CertificateDer<'static>>,
    kind: Kind,
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
    /// The same in PEM, with the authority's own behind it where that stands below a root: what is shown to others.
    pub pem: String,
}

/// A certificate and its private key, which is nowhere else.
pub struct LeafWithKey {
    /// The certificate.
    pub leaf: Leaf,
    /// PKCS#8 in PEM; to be written with [`key_file::create_private`].
    pub key_pem: Zeroizing<String>,
}

impl Authority {
    /// Makes an authority in `dir`, which is made too where it is missing, valid for `days` from `now`.
    ///
    /// `name` is for people: 1 to 64 printable ASCII characters. Refuses a folder that already holds any part of an
    /// authority.
    pub fn create(dir: &Path, name: &str, days: u32, now: SystemTime) -> Result<Self, AuthorityError> {
        Self::create_self_signed(dir, name, days, now, Tier::Alone)
    }

    /// The same, but a root: it signs authorities ([`Self::sign_authority`]) and no leaves.
    pub fn create_root(dir: &Path, name: &str, days: u32, now: SystemTime) -> Result<Self, AuthorityError> {
        Self::create_self_signed(dir, name, days, now, Tier::Root)
    }

    fn create_self_signed(
        dir: &Path,
        name: &str,
        days: u32,
        now: SystemTime,
        tier: Tier,
    ) -> Result<Self, AuthorityError> {
        let now = UnixTime::try_from(now)?;
        let life = Life::starting(now, days, AUTHORITY_DAYS_MAX)?;
        let params = profile::authority(name, Serial::draw()?, life, tier)?;
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
        authority.write_crl(&mut index, authority.crl_days(), now)?;
        Ok(authority)
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

    /// The certificate that those trust who verify what was issued: the root's, or the authority's own where it has none.
    pub fn anchor(&self) -> &CertificateDer<'static> {
        self.root.as_ref().unwrap_or(&self.certificate)
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
        if self.kind == Kind::Root {
            return Err(AuthorityError::NotItsPart { kind: self.kind });
        }
        let (serial, life) = (Serial::draw()?, self.life_below(now, days, profile.days_max())?);
        let certificate = profile
            .params(serial, life)
            .signed_by(key, &self.issuer)
            .map_err(|source| signing("sign the certificate", source))?;
        let Life { not_before, not_after } = life;
        let (role, subject) = (profile.role(), profile.subject());
        let record = Record { serial, role, subject, not_before, not_after, revoked: None };
        let chain = self.intermediate().map(|above| to_pem("CERTIFICATE", above)).unwrap_or_default();
        Ok(Leaf { record, pem: certificate.pem() + &chain, der: certificate.into() })
    }

    /// Writes `records` into the index, all in one go.
    fn note(&self, records: impl IntoIterator<Item = Record>, now: UnixTime) -> Result<(), AuthorityError> {
        let (_lock, mut index) = self.lock()?;
        index.records.extend(records);
        Ok(index.write(&self.dir.join(INDEX), now)?)
    }

    /// The life of a certificate that this authority is to sign: within its own.
    fn life_below(&self, now: UnixTime, days: u32, days_max: u32) -> Result<Life, AuthorityError> {
        self.is_now(now)?;
        let (life, not_after) = (Life::starting(now, days, days_max)?, self.life.not_after);
        if life.not_after > not_after { Err(AuthorityError::Outlived { not_after }) } else { Ok(life) }
    }

    /// Fails unless the authority's own certificate is valid at `now`.
    fn is_now(&self, now: UnixTime) -> Result<(), AuthorityError> {
        let Life { not_before, not_after } = self.life;
        if now < not_before || now > not_after {
            return Err(AuthorityError::NotNow { not_before, not_after });
        }
        Ok(())
    }

    /// The index, for a change; what a killed process left beside it is removed.
    fn lock(&self) -> Result<(Lock, Index), AuthorityError> {
        let (lock, path) = (Lock::take(&self.dir)?, self.dir.join(INDEX));
        files::sweep(&path)?;
        files::sweep(&self.crl_path())?;
        Ok((lock, Index::read(&path)?))
    }
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
const REQUEST: &str = "ca.csr";
const ROOT: &str = "root.crt";
const ROOT_CRL: &str = "root.crl";
/// Whoever verifies certificates reads the anchor and the revocation list.
const PUBLIC: u32 = 0o644;

#[cfg(test)]
mod tests;
