//! What certificates and revocation lists say of themselves, for whoever judges them without being their verifier.

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::AlgorithmIdentifier;

use crate::identity::{IdentityError, hex, parse};

/// A certificate, as far as its age, its key and its issuer go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its subject, for people.
    pub subject: String,
    /// The same in DER.
    pub name: Vec<u8>,
    /// Its serial number as [`crate::identity::serial`] writes it.
    pub serial: String,
    /// The DER name of who signed it.
    pub issuer: Vec<u8>,
    /// The first and the last second of its life, since 1970.
    pub life: (i64, i64),
    /// Whether it may sign others.
    pub is_authority: bool,
    /// Its public key with the kind of it (DER): the same bytes are the same key.
    pub key: Vec<u8>,
    /// What is wrong with its key, for people; none of P-256, P-384 and Ed25519.
    pub weak_key: Option<String>,
    /// What is wrong with how it is signed; none of SHA-256 and better, and of Ed25519.
    pub weak_signature: Option<String>,
}

/// A revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFacts {
    /// The DER name of who signed it.
    pub issuer: Vec<u8>,
    /// The same for people.
    pub issuer_name: String,
    /// The first second of its life, since 1970.
    pub from: i64,
    /// The last one; none: it never ends.
    pub until: Option<i64>,
    /// Whom it revokes, as [`crate::identity::serial`] writes them.
    pub serials: Vec<String>,
}

/// What a DER certificate says of itself.
///
/// # Errors
/// When it is none.
pub fn certificate(der: &[u8]) -> Result<Facts, IdentityError> {
    let certificate = parse(der)?;
    let validity = certificate.validity();
    Ok(Facts {
        subject: certificate.subject().to_string(),
        name: certificate.subject().as_raw().to_vec(),
        serial: hex(certificate.raw_serial()),
        issuer: certificate.issuer().as_raw().to_vec(),
        life: (validity.not_before.timestamp(), validity.not_after.timestamp()),
        is_authority: certificate.is_ca(),
        key: certificate.public_key().raw.to_vec(),
        weak_key: weak_key(&certificate),
        weak_signature: weak_signature(&certificate.signature_algorithm),
    })
}

/// What a DER revocation list says of itself.
///
/// # Errors
/// When it is none.
pub fn list(der: &[u8]) -> Result<ListFacts, IdentityError> {
    let Ok(([], list)) = CertificateRevocationList::from_der(der) else { return Err(IdentityError::MalformedCrl) };
    Ok(ListFacts {
        issuer: list.issuer().as_raw().to_vec(),
        issuer_name: list.issuer().to_string(),
        from: list.last_update().timestamp(),
        until: list.next_update().map(|until| until.timestamp()),
        serials: list.iter_revoked_certificates().map(|revoked| hex(revoked.raw_serial())).collect(),
    })
}

fn weak_key(certificate: &X509Certificate<'_>) -> Option<String> {
    const ED25519: &str = "1.3.101.112";
    const P256: &str = "1.2.840.10045.3.1.7";
    const P384: &str = "1.3.132.0.34";
    let info = certificate.public_key();
    if info.algorithm.algorithm.to_id_string() == ED25519 {
        return None;
    }
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => Some(format!("an RSA key of {} bits", key.key_size())),
        Ok(PublicKey::EC(_)) => {
            let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
            let curve = curve.map_or_else(|| "of its own".to_owned(), |oid| oid.to_id_string());
            (curve != P256 && curve != P384).then(|| format!("a key on curve {curve}"))
        }
        _ => Some(format!("a key of kind {}", info.algorithm.algorithm)),
    }
}

fn weak_signature(algorithm: &AlgorithmIdentifier<'_>) -> Option<String> {
    /// ECDSA with SHA-256, SHA-384, SHA-512; Ed25519; RSA with SHA-256, SHA-384, SHA-512, and with parameters of its own.
    const SOUND: [&str; 8] = [
        "1.2.840.10045.4.3.2",
        "1.2.840.10045.4.3.3",
        "1.2.840.10045.4.3.4",
        "1.3.101.112",
        "1.2.840.113549.1.1.11",
        "1.2.840.113549.1.1.12",
        "1.2.840.113549.1.1.13",
        "1.2.840.113549.1.1.10",
    ];
    const SHA_1: [&str; 2] = ["1.2.840.113549.1.1.5", "1.2.840.10045.4.1"];
    let found = algorithm.algorithm.to_id_string();
    if SOUND.contains(&found.as_str()) {
        return None;
    }
    Some(if SHA_1.contains(&found.as_str()) { "with SHA-1".to_owned() } else { format!("by algorithm {found}") })
}

#[cfg(test)]
#[cfg(feature = "authority")]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::Authority;
    use crate::authority::{Reason, Which};

    const NOW_S: i64 = 1_790_000_000;

    #[test]
    fn a_certificate_and_a_list_say_what_their_authority_meant() {
        let folder = tempfile::tempdir().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(NOW_S.unsigned_abs());
        let authority = Authority::create(&folder.path().join("ca"), "test", 100, now).unwrap();
        let made = authority.issue_device("meter-7", 30, now).unwrap();
        let (leaf, anchor) = (certificate(&made.leaf.der).unwrap(), certificate(authority.anchor()).unwrap());
        assert!(!leaf.is_authority && anchor.is_authority && leaf.issuer == anchor.name && leaf.key != anchor.key);
        assert_eq!((leaf.weak_key, leaf.weak_signature), (None, None));
        assert!((leaf.life.1 - NOW_S - 30 * 86_400).abs() <= 86_400, "{:?}", leaf.life);
        authority.revoke(Which::Device("meter-7"), Reason::Unspecified, now).unwrap();
        let lists = crate::read_crls(&authority.crl_path()).unwrap();
        let facts = list(&lists[0]).unwrap();
        assert_eq!((&facts.issuer, &facts.serials), (&anchor.issuer, &vec![leaf.serial]));
        assert!(facts.until.unwrap() - NOW_S > 6 * 86_400 && facts.from <= NOW_S);
        assert_eq!(list(&made.leaf.der), Err(IdentityError::MalformedCrl));
    }
}
