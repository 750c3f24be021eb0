//! An authority below a root: asked for here, signed where the root is, installed here.
//!
//! The two folders never need to be on one machine. A request goes one way and what `sign-authority` wrote comes back:
//! the certificate, the root's own, and the root's revocation list. Each step may be repeated after a power cut; an
//! authority is there once `ca.crt` is, which is written last.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{CertificateParams, DistinguishedName, DnType, PublicKeyData};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use zeroize::Zeroizing;

use super::index::{Index, Record, Role};
use super::kind::{self, Kind};
use super::lock::Lock;
use super::profile::{self, AUTHORITY_BELOW_DAYS_MAX, Tier};
use super::revocation::{self, CRL_DAYS, ROOT_CRL_DAYS};
use super::serial::Serial;
use super::time::UnixTime;
use super::{
    Authority, AuthorityError, CERTIFICATE, INDEX, KEY, PUBLIC, REQUEST, ROOT, ROOT_CRL, new_key, request, signing,
};
use crate::files::{self, FileError};
use crate::key_file;
use crate::pem_file::{self, to_pem};

/// A certificate of an authority that a root signed, and is in the root's index.
#[derive(Clone, Debug)]
pub struct Below {
    /// Its row of the root's index.
    pub record: Record,
    /// What goes back to where the request came from, in PEM: the certificate, the root's, the root's revocation list.
    pub bundle: String,
}

impl Authority {
    /// Makes an authority in `dir` below the one in `root`, valid for `days` from `now`, with both folders at hand.
    ///
    /// The same as [`Self::request`], [`Self::sign_authority`] and [`Self::install`] one after the other, and to be
    /// taken up by those or by itself where a power cut ended it.
    pub fn create_below(
        dir: &Path,
        root: &Path,
        name: &str,
        days: u32,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let root = Self::open(root)?;
        root.kind_must_be(Kind::Root)?;
        let request = Self::request(dir, name)?;
        let (request, _) = files::read(&request, REQUEST_BYTES_MAX)?;
        let signed = root.sign_authority(&request, days, now)?;
        let bundle = dir.join(BUNDLE);
        files::replace(&bundle, signed.bundle.as_bytes(), PUBLIC)?;
        let authority = Self::install(dir, &bundle, now)?;
        fs::remove_file(&bundle).map_err(|source| FileError::Io { action: "remove", path: bundle, source })?;
        Ok(authority)
    }

    /// Makes a key in `dir`, unless one waits there for its certificate, and writes the signing request for it, `ca.csr`.
    /// Answers with where that is.
    ///
    /// `name` is for people: 1 to 64 printable ASCII characters. Refuses a folder that holds an authority.
    pub fn request(dir: &Path, name: &str) -> Result<PathBuf, AuthorityError> {
        profile::is_name(name)?;
        fs::create_dir_all(dir).map_err(|source| FileError::Io { action: "create", path: dir.into(), source })?;
        let _lock = Lock::take(dir)?;
        is_vacant(dir)?;
        let key = if dir.join(KEY).symlink_metadata().is_ok() {
            kind::read_key(dir)?
        } else {
            let key = new_key()?;
            key_file::create_private(&dir.join(KEY), Zeroizing::new(key.serialize_pem()).as_bytes())?;
            key
        };
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params
            .serialize_request(&key)
            .and_then(|request| request.pem())
            .map_err(|source| signing("sign the request", source))?;
        let path = dir.join(REQUEST);
        files::replace(&path, pem.as_bytes(), PUBLIC)?;
        Ok(path)
    }

    /// Signs a PEM signing request as an authority below this root, for at most five years and not beyond the root's end.
    ///
    /// The public key and the name are taken from the request, and nothing else. Writes a fresh revocation list too,
    /// since it goes along.
    pub fn sign_authority(&self, csr_pem: &[u8], days: u32, now: SystemTime) -> Result<Below, AuthorityError> {
        self.kind_must_be(Kind::Root)?;
        let now = UnixTime::try_from(now)?;
        let (key, name) = request::authority(csr_pem)?;
        if key.der_bytes() == self.issuer.key().public_key_raw() {
            return Err(request::RequestError::OwnKey.into());
        }
        let (serial, life) = (Serial::draw()?, self.life_below(now, days, AUTHORITY_BELOW_DAYS_MAX)?);
        let certificate = profile::authority(&name, serial, life, Tier::Issuing)?
            .signed_by(&key, &self.issuer)
            .map_err(|source| signing("sign the authority's certificate", source))?;
        let (not_before, not_after) = (life.not_before, life.not_after);
        let record = Record { serial, role: Role::Authority, subject: name, not_before, not_after, revoked: None };
        let (_lock, mut index) = self.lock()?;
        index.records.push(record.clone());
        let crl = self.write_crl(&mut index, ROOT_CRL_DAYS, now)?;
        let bundle = certificate.pem() + &to_pem("CERTIFICATE", &self.certificate) + &crl;
        Ok(Below { record, bundle })
    }

    /// Installs what [`Self::sign_authority`] answered to the request of `dir`; from then on the authority works.
    ///
    /// Fails unless the certificate is that of the key in `dir`, signed by the root that comes with it, within the
    /// root's life, valid at `now` and not revoked.
    pub fn install(dir: &Path, bundle: &Path, now: SystemTime) -> Result<Self, AuthorityError> {
        let now = UnixTime::try_from(now)?;
        let refused = |why| AuthorityError::NotForThis { path: bundle.into(), why };
        let [certificate, root] = <[_; 2]>::try_from(pem_file::read_certificates(bundle)?)
            .map_err(|_| refused("holds not just the authority's certificate and the root's"))?;
        let _lock = Lock::take(dir)?;
        is_vacant(dir)?;
        let key = kind::read_key(dir)?;
        let examined = kind::examine(&certificate, Some(&key)).map_err(refused)?;
        if examined.kind != Kind::Issuing {
            return Err(refused("holds no certificate of an authority below a root"));
        }
        kind::examine_pair(&certificate, &root).map_err(refused)?;
        let serial = kind::parse(&certificate).map_err(refused)?.raw_serial().to_vec();
        let authority = Self::assemble(dir, key, certificate, Some(root), examined)?;
        authority.is_now(now)?;
        let list = authority.root_list(bundle, now)?;
        if revocation::revokes(&list, &serial) {
            return Err(refused("holds a certificate that the root has revoked"));
        }
        if let Some(root) = &authority.root {
            files::replace(&dir.join(ROOT), to_pem("CERTIFICATE", root).as_bytes(), PUBLIC)?;
        }
        files::replace(&dir.join(ROOT_CRL), to_pem(CRL_LABEL, &list).as_bytes(), PUBLIC)?;
        authority.write_crl(&mut Index { crl_number: 0, records: Vec::new() }, CRL_DAYS, now)?;
        files::create(&dir.join(CERTIFICATE), to_pem("CERTIFICATE", &authority.certificate).as_bytes(), PUBLIC)?;
        Ok(authority)
    }

    /// Installs a newer revocation list of the root, and writes this authority's own anew beside it.
    ///
    /// Fails unless the root signed it, it is in date at `now` and is not older than the one that is there.
    pub fn install_root_crl(&self, file: &Path, now: SystemTime) -> Result<(), AuthorityError> {
        self.kind_must_be(Kind::Issuing)?;
        let now = UnixTime::try_from(now)?;
        let (_lock, mut index) = self.lock()?;
        let list = self.root_list(file, now)?;
        let path = self.dir.join(ROOT_CRL);
        // What is there is compared with where it can be read; where it cannot, a sound one is all the better.
        let present = pem_file::read_crls(&path).unwrap_or_default();
        if present.first().is_some_and(|present| revocation::number(present) > revocation::number(&list)) {
            return Err(AuthorityError::NotForThis { path: file.into(), why: "is older than the list that is there" });
        }
        files::replace(&path, to_pem(CRL_LABEL, &list).as_bytes(), PUBLIC)?;
        self.write_crl(&mut index, CRL_DAYS, now).map(|_| ())
    }

    /// The root's revocation list in `file`, once it is shown to be the root's and in date.
    fn root_list(&self, file: &Path, now: UnixTime) -> Result<Vec<u8>, AuthorityError> {
        let refused = |why| AuthorityError::NotForThis { path: file.into(), why };
        let [list] = <[_; 1]>::try_from(pem_file::read_crls(file)?)
            .map_err(|_| refused("holds more than one revocation list"))?;
        let root = kind::parse(self.anchor()).map_err(refused)?;
        let Ok(([], parsed)) = CertificateRevocationList::from_der(&list) else {
            return Err(refused("holds a revocation list that is not well-formed DER"));
        };
        if parsed.issuer().as_raw() != root.subject().as_raw() || parsed.verify_signature(root.public_key()).is_err() {
            return Err(refused("holds a revocation list that the root did not sign"));
        }
        if revocation::ends(&list).is_none_or(|end| end <= now) {
            return Err(refused("holds a revocation list that has run out; write it anew where the root is"));
        }
        Ok(list.to_vec())
    }

    /// What the authority is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The certificate that stands between a leaf and the root, which whoever shows the leaf has to show too.
    pub fn intermediate(&self) -> Option<&CertificateDer<'static>> {
        self.root.as_ref().map(|_| &self.certificate)
    }

    /// A short print of the public key of those who are trusted ([`Self::anchor`]), to be compared by eye: 40
    /// hexadecimal digits.
    pub fn anchor_print(&self) -> String {
        kind::key_print(self.anchor()).unwrap_or_default()
    }

    pub(super) fn kind_must_be(&self, kind: Kind) -> Result<(), AuthorityError> {
        if self.kind == kind { Ok(()) } else { Err(AuthorityError::NotItsPart { kind: self.kind }) }
    }
}

/// Fails where `dir` holds an authority, or the index of one.
fn is_vacant(dir: &Path) -> Result<(), AuthorityError> {
    let (certificate, index) = (dir.join(CERTIFICATE), dir.join(INDEX));
    if certificate.symlink_metadata().is_ok() {
        return Err(FileError::Exists { path: certificate }.into());
    }
    // An empty one is what an interrupted installation leaves.
    let is_used = index.symlink_metadata().is_ok() && !Index::read(&index)?.records.is_empty();
    if is_used { Err(FileError::Exists { path: index }.into()) } else { Ok(()) }
}

/// Between signing and installing, where both folders are at hand.
const BUNDLE: &str = "ca.bundle";
const CRL_LABEL: &str = "X509 CRL";
/// A request that is larger is refused anyway.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
