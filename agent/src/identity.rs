//! Who this device is: its certificate, its key, and whom it trusts.

use std::path::Path;
use std::sync::Arc;

use certs::PemFileError;
use rustls::{ClientConfig, RootCertStore};

use crate::uplink::Settings;

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

/// The TLS side of every connection: TLS 1.3 or 1.2, the configured authority and no other, our own certificate.
///
/// # Errors
/// When a file is missing, unreadable, readable by others, or not what it should be.
pub fn tls(settings: &Settings) -> Result<Arc<ClientConfig>, IdentityError> {
    let mut trusted = RootCertStore::empty();
    for certificate in certificates(&settings.authority_file, "uplink.authority_file")? {
        trusted.add(certificate).map_err(|source| mismatch(settings, source))?;
    }
    let chain = certificates(&settings.certificate_file, "uplink.certificate_file")?;
    let key = certs::read_private_key(&settings.key_file)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| mismatch(settings, source))?
        .with_root_certificates(trusted)
        .with_client_auth_cert(chain, key)
        .map_err(|source| mismatch(settings, source))?;
    Ok(Arc::new(config))
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
