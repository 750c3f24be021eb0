//! Who this device is: its certificate, its key, and whom it trusts.

use std::path::Path;
use std::sync::Arc;

use certs::PemFileError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};

use crate::clock::BootClock;
use crate::uplink::Settings;

use self::validity::{Timeless, Timely};

pub mod claim;
pub mod enrol;
pub mod keep;
#[cfg(test)]
mod tests;
mod validity;

/// Why the device cannot show who it is.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file that cannot be used; the message names it and says what to do.
    #[error(transparent)]
    File(#[from] PemFileError),
    /// A file without what it should hold.
    #[error("{file} holds no certificate; is `{setting}` the right file?")]
    Empty {
        /// Which file.
        file: String,
        /// The setting that names it.
        setting: &'static str,
    },
    /// Certificate and key do not fit together, or are of a kind that TLS does not take.
    #[error("{certificate} and {key} cannot be used together")]
    Tls {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
        /// What the TLS library says.
        source: rustls::Error,
    },
}

/// The TLS side of the connections: TLS 1.3 or 1.2, the configured authority and no other, our own certificate.
#[derive(Clone, Debug)]
pub struct Tls {
    clock: Arc<BootClock>,
    usual: Arc<ClientConfig>,
    timeless: Arc<ClientConfig>,
}

impl Tls {
    /// Reads and checks what `settings` name. Whether the gateway's certificate is valid is judged by `clock`.
    ///
    /// # Errors
    /// When a file is missing, unreadable, readable by others, or not what it should be.
    pub fn open(settings: &Settings, clock: Arc<BootClock>) -> Result<Self, IdentityError> {
        let webpki = verifier(settings)?;
        let usual = config(settings, Arc::new(Timely::new(webpki.clone(), clock.clone())))?;
        let mut timeless = config(settings, Arc::new(Timeless::new(webpki)))?;
        // A resumed session shows no certificate: once the time is known, the gateway has to show it again.
        timeless.resumption = rustls::client::Resumption::disabled();
        Ok(Self { clock, usual: Arc::new(usual), timeless: Arc::new(timeless) })
    }

    /// What the next connection is made with.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        if self.clock.wall_clock().is_some() { self.usual.clone() } else { self.timeless.clone() }
    }
}

/// The TLS side of a connection that is made by the system's wall clock.
///
/// # Errors
/// When a file is missing, unreadable, readable by others, or not what it should be.
pub fn tls(settings: &Settings) -> Result<Arc<ClientConfig>, IdentityError> {
    Ok(Arc::new(config(settings, verifier(settings)?)?))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What judges the gateway's certificate: chain, name, signatures, validity.
fn verifier(settings: &Settings) -> Result<Arc<WebPkiServerVerifier>, IdentityError> {
    let mut trusted = RootCertStore::empty();
    for certificate in certificates(&settings.authority_file, "uplink.authority_file")? {
        trusted.add(certificate).map_err(|source| mismatch(settings, source))?;
    }
    WebPkiServerVerifier::builder_with_provider(trusted.into(), provider())
        .build()
        .map_err(|error| mismatch(settings, rustls::Error::General(error.to_string())))
}

fn config(settings: &Settings, verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, IdentityError> {
    let chain = certificates(&settings.certificate_file, "uplink.certificate_file")?;
    let key = certs::read_private_key(&settings.key_file)?;
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|source| mismatch(settings, source))?
        .dangerous() // the verifiers here are rustls' own, with another idea of the time
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain, key)
        .map_err(|source| mismatch(settings, source))
}

fn certificates(
    file: &Path,
    setting: &'static str,
) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, IdentityError> {
    let certificates = certs::read_certificates(file)?;
    if certificates.is_empty() {
        return Err(IdentityError::Empty { file: file.display().to_string(), setting });
    }
    Ok(certificates)
}

fn mismatch(settings: &Settings, source: rustls::Error) -> IdentityError {
    let name = |file: &Path| file.display().to_string();
    IdentityError::Tls { certificate: name(&settings.certificate_file), key: name(&settings.key_file), source }
}
