//! A device's own key, and the request (PKCS#10) by which an authority signs it.

use std::cell::RefCell;
use std::fmt::Display;

use rcgen::{
    CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::{self, PemObject};
use zeroize::{Zeroize, Zeroizing};

use crate::pem_file::to_pem;

/// A key, or a request for it, that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No key, or no signature by it.
    #[error("cannot make a key and its signing request")]
    Signing(#[from] rcgen::Error),
    /// What was kept is no key of the kind that is made here.
    #[error("the key that was kept is not a P-256 private key in PEM")]
    Key(#[source] rcgen::Error),
    /// It is not even PEM.
    #[error("the key that was kept is not a P-256 private key in PEM")]
    Pem(#[source] pem::Error),
    /// A key that is elsewhere did not sign.
    #[error("the signing request was not signed: {0}")]
    Elsewhere(String),
}

/// A new P-256 private key: PKCS#8 in PEM.
///
/// # Errors
/// When the system has no random numbers.
pub fn new_key() -> Result<Zeroizing<String>, RequestError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let der = Zeroizing::new(key.serialize_der());
    Ok(Zeroizing::new(to_pem("PRIVATE KEY", &der)))
}

/// The request for `key_pem`, in DER. The name in it is for people: an authority that signs it knows better.
///
/// # Errors
/// When `key_pem` is not such a key.
pub fn request(key_pem: &str, name: &str) -> Result<Vec<u8>, RequestError> {
    Ok(params(name).serialize_request(&kept(key_pem)?)?.der().to_vec())
}

/// The request for a P-256 key that is elsewhere, in DER. `public` is its uncompressed point; `sign` has it sign a message,
/// ECDSA with SHA-256, and answers the signature in DER.
///
/// # Errors
/// When `sign` fails.
pub fn request_by<E: Display>(
    public: &[u8; 65],
    name: &str,
    sign: impl Fn(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, RequestError> {
    let key = Elsewhere { public, sign, failed: RefCell::default() };
    let request = params(name).serialize_request(&key);
    if let Some(failed) = key.failed.take() {
        return Err(RequestError::Elsewhere(failed.to_string()));
    }
    Ok(request?.der().to_vec())
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// What signs, and why it did not: rcgen's own error has no room for that.
struct Elsewhere<'a, S, E> {
    public: &'a [u8; 65],
    sign: S,
    failed: RefCell<Option<E>>,
}

impl<S, E> PublicKeyData for Elsewhere<'_, S, E> {
    fn der_bytes(&self) -> &[u8] {
        self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl<S: Fn(&[u8]) -> Result<Vec<u8>, E>, E> SigningKey for Elsewhere<'_, S, E> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        (self.sign)(message).map_err(|error| {
            self.failed.replace(Some(error));
            rcgen::Error::RemoteKeyError
        })
    }
}

/// The public key of `key_pem`, as certificates hold it: 65 bytes of an uncompressed point.
///
/// # Errors
/// When `key_pem` is not such a key.
pub fn public_key(key_pem: &str) -> Result<Vec<u8>, RequestError> {
    Ok(kept(key_pem)?.public_key_raw().to_vec())
}

/// A DER certificate in PEM.
#[must_use]
pub fn certificate_pem(der: &[u8]) -> String {
    to_pem("CERTIFICATE", der)
}

/// A DER signing request in PEM.
#[must_use]
pub fn request_pem(der: &[u8]) -> String {
    to_pem("CERTIFICATE REQUEST", der)
}

fn kept(key_pem: &str) -> Result<KeyPair, RequestError> {
    let mut der = PrivatePkcs8KeyDer::from_pem_slice(key_pem.as_bytes()).map_err(RequestError::Pem)?;
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256);
    der.zeroize();
    key.map_err(RequestError::Key)
}
