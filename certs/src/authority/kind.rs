//! What an authority may sign, read from its certificate and never from a setting.

use std::path::Path;

use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::OID_SIG_ECDSA_WITH_SHA256;
use x509_parser::prelude::FromDer;

use super::profile::Life;
use super::time::UnixTime;
use super::{Authority, AuthorityError, CERTIFICATE, KEY, ROOT, signing};
use crate::{key_file, pem_file};

/// What an authority is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It signs itself and its leaves, with nothing above or between.
    Alone,
    /// It signs itself and the authorities below it, and is kept offline.
    Root,
    /// A root signed it; it signs leaves, and the root's folder is nowhere near.
    Issuing,
}

/// What an authority's certificate says.
#[derive(Debug)]
pub(super) struct Examined {
    pub(super) kind: Kind,
    pub(super) key_id: Vec<u8>,
    pub(super) life: Life,
}

impl Authority {
    /// Opens the authority in `dir`.
    ///
    /// Fails where the key is open to others, is not that of the certificate, or the certificate may not sign; and for
    /// one below a root, where `root.crt` did not sign it or would end before it.
    pub fn open(dir: &Path) -> Result<Self, AuthorityError> {
        let key = read_key(dir)?;
        let path = dir.join(CERTIFICATE);
        let certificate = only_certificate(&path)?;
        let refused = |path: &Path, why| AuthorityError::NotAnAuthority { path: path.into(), why };
        let examined = examine(&certificate, Some(&key)).map_err(|why| refused(&path, why))?;
        let root = match examined.kind {
            Kind::Alone | Kind::Root => None,
            Kind::Issuing => {
                let path = dir.join(ROOT);
                let root = only_certificate(&path)?;
                examine_pair(&certificate, &root).map_err(|why| refused(&path, why))?;
                Some(root)
            }
        };
        Self::assemble(dir, key, certificate, root, examined)
    }

    /// An authority of parts that were examined.
    pub(super) fn assemble(
        dir: &Path,
        key: KeyPair,
        certificate: CertificateDer<'static>,
        root: Option<CertificateDer<'static>>,
        Examined { kind, key_id, life }: Examined,
    ) -> Result<Self, AuthorityError> {
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|source| signing("read the authority's own certificate", source))?;
        Ok(Self { dir: dir.into(), certificate, root, kind, key_id, life, issuer })
    }
}

/// The private key of the authority in `dir`.
pub(super) fn read_key(dir: &Path) -> Result<KeyPair, AuthorityError> {
    let path = dir.join(KEY);
    let refused = |why| AuthorityError::NotAnAuthority { path: path.clone(), why };
    let pem = key_file::read_private(&path)?;
    let pem = std::str::from_utf8(&pem).map_err(|_| refused("is not PEM"))?;
    KeyPair::from_pem_and_sign_algo(pem, &PKCS_ECDSA_P256_SHA256)
        .map_err(|_| refused("is not a P-256 private key in PEM"))
}

fn only_certificate(path: &Path) -> Result<CertificateDer<'static>, AuthorityError> {
    match pem_file::read_certificates(path)?.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(AuthorityError::NotAnAuthority { path: path.into(), why: "holds more than one certificate" }),
    }
}

/// What an authority's certificate says, or why it is none of `key`, where that is given.
pub(super) fn examine(der: &[u8], key: Option<&KeyPair>) -> Result<Examined, &'static str> {
    let certificate = parse(der)?;
    let own = certificate.public_key().subject_public_key.data.as_ref();
    if key.is_some_and(|key| own != key.public_key_raw()) {
        return Err("is not the certificate of ca.key");
    }
    let usage = certificate.key_usage().map_err(|_| "has an unsound key usage")?;
    let may_sign = usage.is_some_and(|usage| usage.value.key_cert_sign() && usage.value.crl_sign());
    let constraints = certificate.basic_constraints().map_err(|_| "has unsound basic constraints")?;
    let Some(constraints) = constraints.filter(|constraints| constraints.value.ca && may_sign) else {
        return Err("may not sign certificates and revocation lists");
    };
    let is_own_issuer = certificate.issuer().as_raw() == certificate.subject().as_raw();
    let kind = match (is_own_issuer, constraints.value.path_len_constraint) {
        (true, Some(0)) => Kind::Alone,
        (true, Some(1)) => Kind::Root,
        (false, Some(0)) => Kind::Issuing,
        _ => return Err("allows a longer path of authorities below it than any of ours does"),
    };
    let key_id = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    Ok(Examined { kind, key_id: key_id.ok_or("has no subject key identifier")?, life: life(&certificate)? })
}

/// Why `root` is not the root that signed `certificate`, unless it is.
pub(super) fn examine_pair(certificate: &[u8], root: &[u8]) -> Result<(), &'static str> {
    let Examined { kind, life: whole, .. } = examine(root, None)?;
    if kind != Kind::Root {
        return Err("is not the certificate of a root");
    }
    let (below, root) = (parse(certificate)?, parse(root)?);
    is_signed(&root, &root).map_err(|()| "did not sign itself")?;
    if below.issuer().as_raw() != root.subject().as_raw() {
        return Err("is not the root that signed ca.crt: it has another name");
    }
    is_signed(&below, &root).map_err(|()| "did not sign ca.crt")?;
    if life(&below)?.not_after > whole.not_after {
        return Err("ends before ca.crt does");
    }
    Ok(())
}

/// Why `authority` did not sign `leaf`, unless it did.
pub(super) fn examine_issued(leaf: &[u8], authority: &[u8]) -> Result<(), &'static str> {
    is_signed(&parse(leaf)?, &parse(authority)?).map_err(|()| "holds a certificate that this authority did not issue")
}

/// The identifier of a certificate's public key, worked out anew: two that agree in it have the same key.
pub(super) fn key_print(certificate: &[u8]) -> Option<String> {
    let key = SubjectPublicKeyInfo::from_der(parse(certificate).ok()?.public_key().raw).ok()?;
    Some(CertificateParams::default().key_identifier(&key).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// One whole certificate with a P-256 key: ours have no other.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, &'static str> {
    let Ok(([], certificate)) = X509Certificate::from_der(der) else { return Err("is not well-formed DER") };
    let key = SubjectPublicKeyInfo::from_der(certificate.public_key().raw);
    if !key.is_ok_and(|key| key.algorithm() == &PKCS_ECDSA_P256_SHA256) {
        return Err("has another key than one of P-256");
    }
    Ok(certificate)
}

fn is_signed(certificate: &X509Certificate<'_>, by: &X509Certificate<'_>) -> Result<(), ()> {
    if certificate.signature_algorithm.algorithm != OID_SIG_ECDSA_WITH_SHA256 {
        return Err(());
    }
    certificate.verify_signature(Some(by.public_key())).map_err(|_| ())
}

fn life(certificate: &X509Certificate<'_>) -> Result<Life, &'static str> {
    let time =
        |time: x509_parser::time::ASN1Time| UnixTime::try_from(time.timestamp()).map_err(|_| "has unsound dates");
    let validity = certificate.validity();
    Ok(Life { not_before: time(validity.not_before)?, not_after: time(validity.not_after)? })
}
