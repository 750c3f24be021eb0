//! Who issues devices' certificates and revokes them: one seam, and the two that stand behind it.

use std::path::Path;
use std::time::SystemTime;

use certs::authority::Reason;
use proto::{DeviceId, Instant};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config;
use crate::config::authority::Issuer;
use crate::named::Named;

#[cfg(feature = "aws")]
pub mod aws_iot;
pub mod own;

/// One that issues and revokes. Its calls block, on files or on a service far away, and end in good time.
pub trait Authority: Send {
    /// A certificate of `device`, for the key of `request`: PKCS#10 in DER, already found sound. Nobody else can use it
    /// before it is answered. What an interruption left half way is gone on with when the same key is asked for again.
    ///
    /// # Errors
    /// It is refused, or cannot be issued now.
    fn issue(&mut self, device: &DeviceId, request: &[u8], now: SystemTime) -> Result<Issued, AuthorityError>;

    /// What `device` has here, whether it is revoked or not. What has expired of late too: a gateway may take it for a while
    /// from who asks for the next one.
    ///
    /// # Errors
    /// It cannot be looked up now.
    fn certificates(&mut self, device: &DeviceId) -> Result<Vec<Held>, AuthorityError>;

    /// Revokes one of [`Authority::certificates`], for good. Said again, it changes nothing.
    ///
    /// # Errors
    /// It cannot be revoked now.
    fn revoke(&mut self, held: &Held, reason: Reason, now: SystemTime) -> Result<(), AuthorityError>;
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Its serial number, as [`certs::identity::serial`] writes it.
    pub serial: String,
    /// Its last second.
    pub not_after: Instant,
    /// It and what leads to the anchor, PEM.
    pub chain: Vec<u8>,
}

/// A certificate that an authority knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its serial number, as [`certs::identity::serial`] writes it.
    pub serial: String,
    /// Whose.
    pub device: DeviceId,
    /// Its last second.
    pub not_after: Instant,
    /// What the authority knows it by.
    pub name: String,
}

/// Why there is no certificate, or no revocation.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The request is none that it certifies; asking again does not help.
    #[error("the signing request is refused: {0}")]
    Request(String),
    /// It cannot be reached, or has too much to do; later it may be otherwise.
    #[error("{0}")]
    Away(String),
    /// Not before the operator changes something; the text says what.
    #[error("{0}")]
    Unfit(String),
    /// Our own authority.
    #[error(transparent)]
    Own(#[from] certs::AuthorityError),
    /// What it issued is no certificate.
    #[error("what the authority issued cannot be read")]
    Unreadable(#[source] Option<certs::identity::IdentityError>),
}

/// Opens the authority that is set.
///
/// # Errors
/// Its folder or a file of credentials cannot be used, or the system has no runtime to give.
pub fn open(config: &config::Authority) -> anyhow::Result<Box<dyn Authority>> {
    match config.issuer().map_err(|(setting, wrong)| anyhow::anyhow!("`{setting}` {wrong}"))? {
        Issuer::Own(path, days) => Ok(Box::new(own::Own::open(path, days).named_by("authority.path")?)),
        #[cfg(feature = "aws")]
        Issuer::AwsIot(settings) => {
            let made = aws_iot::AwsIot::new(settings).named_by("authority.aws_iot.credentials_file");
            Ok(Box::new(made?))
        }
        #[cfg(not(feature = "aws"))]
        Issuer::AwsIot(_) => anyhow::bail!("this gateway was built without AWS: build it with `--features aws`"),
    }
}

/// Whom devices of `config`'s authority are to trust, DER. Ours are those of the listener, which `authority_file` names;
/// who enrols with AWS IoT spoke to its endpoint, and needs to trust nobody else.
///
/// # Errors
/// The file cannot be used.
pub fn anchors(config: &config::Authority, authority_file: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    match config.kind {
        config::authority::AuthorityKind::AwsIot => Ok(Vec::new()),
        config::authority::AuthorityKind::Own => {
            let anchors = certs::read_certificates(authority_file).named_by("listener.authority_file")?;
            Ok(anchors.iter().map(|anchor| anchor.to_vec()).collect())
        }
    }
}

/// Serial number and end of the first certificate of `pem`.
#[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "our own authority knows"))]
fn serial_and_end(pem: &str) -> Result<(String, Instant), AuthorityError> {
    let der = first_of(pem)?;
    let (_, not_after) = certs::life(&der).ok_or(AuthorityError::Unreadable(None))?;
    let serial = certs::identity::serial(&der).map_err(|error| AuthorityError::Unreadable(Some(error)))?;
    Ok((serial, seconds(not_after)))
}

fn first_of(pem: &str) -> Result<CertificateDer<'static>, AuthorityError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| AuthorityError::Unreadable(None))
}

/// Seconds since 1970. What is beyond all time is the end of it.
fn seconds(seconds: i64) -> Instant {
    Instant(seconds.saturating_mul(1_000_000))
}
