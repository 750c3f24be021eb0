//! Signing requests (PKCS#10): the public key, and the proof that the sender has its private half.

use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::OID_SIG_ECDSA_WITH_SHA256;
use x509_parser::prelude::FromDer;

/// A signing request that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Larger than a request for a P-256 key needs to be.
    #[error("signing request of {bytes} bytes is larger than {REQUEST_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not one whole request.
    #[error("signing request is not a sound PKCS#10 request")]
    Malformed,
    /// The key is of another kind.
    #[error("signing request has no P-256 key; make one with `openssl ecparam -name prime256v1 -genkey -noout`")]
    WrongKey,
    /// There is no name for an authority in it, or more than one.
    #[error("signing request does not have exactly one common name; write it with `tributary-certs request`")]
    NoName,
    /// An authority would sign its own key.
    #[error("signing request has the root's own key; an authority below it makes its own")]
    OwnKey,
    /// Signed in a way that does not go with the key.
    #[error("signing request is not signed with ECDSA and SHA-256")]
    WrongSignature,
    /// The signature does not verify: altered on the way, or made without the private key.
    #[error("signing request's own signature does not verify; was it altered?")]
    BadSignature,
}

/// The public key of a PEM signing request, once it is shown to be P-256 and to have signed the request.
pub(super) fn public_key_of_pem(csr_pem: &[u8]) -> Result<SubjectPublicKeyInfo, RequestError> {
    checked_pem(csr_pem).map(|(key, _)| key)
}

/// The same of a request in DER.
pub(super) fn public_key(csr: &[u8]) -> Result<SubjectPublicKeyInfo, RequestError> {
    checked(csr).map(|(key, _)| key)
}

/// The same of an authority's request in PEM, and the name that it asks for.
pub(super) fn authority(csr_pem: &[u8]) -> Result<(SubjectPublicKeyInfo, String), RequestError> {
    let (key, names) = checked_pem(csr_pem)?;
    match <[String; 1]>::try_from(names) {
        Ok([name]) => Ok((key, name)),
        Err(_) => Err(RequestError::NoName),
    }
}

fn checked_pem(csr_pem: &[u8]) -> Result<(SubjectPublicKeyInfo, Vec<String>), RequestError> {
    check_size(csr_pem)?;
    let der = CertificateSigningRequestDer::from_pem_slice(csr_pem).map_err(|_| RequestError::Malformed)?;
    checked(&der)
}

/// The public key and the common names of a request that is sound.
fn checked(csr: &[u8]) -> Result<(SubjectPublicKeyInfo, Vec<String>), RequestError> {
    check_size(csr)?;
    let Ok(([], request)) = X509CertificationRequest::from_der(csr) else { return Err(RequestError::Malformed) };
    let key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
        .map_err(|_| RequestError::WrongKey)?;
    if key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
        return Err(RequestError::WrongKey);
    }
    if request.signature_algorithm.algorithm != OID_SIG_ECDSA_WITH_SHA256 {
        return Err(RequestError::WrongSignature);
    }
    // This also refuses a point that is not on the curve.
    request.verify_signature().map_err(|_| RequestError::BadSignature)?;
    let names = request.certification_request_info.subject.iter_common_name();
    Ok((key, names.filter_map(|name| name.as_str().ok().map(str::to_owned)).collect()))
}

/// The public key of a DER signing request, as certificates hold it: 65 bytes of a point. The request must be sound.
pub fn key_of_request(csr: &[u8]) -> Result<Vec<u8>, RequestError> {
    Ok(public_key(csr)?.der_bytes().to_vec())
}

fn check_size(csr: &[u8]) -> Result<(), RequestError> {
    let bytes = csr.len();
    if bytes > REQUEST_BYTES_MAX { Err(RequestError::TooLarge { bytes }) } else { Ok(()) }
}

/// Ours take about 400 bytes; others add names and attributes that are not looked at.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
