//! TLS to the broker: its authority and no other, our own certificate.

use std::path::Path;
use std::sync::Arc;

use certs::PemFileError;
use rustls::{ClientConfig, RootCertStore};

use super::settings::Files;

/// Why there is no TLS to the broker.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
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
    /// Files that do not fit together, or are of a kind that TLS does not take.
    #[error("{files} cannot be used")]
    Unusable {
        /// Which.
        files: String,
        /// What the TLS library says.
        source: rustls::Error,
    },
}

/// Reads and checks `files`. Blocks.
///
/// # Errors
/// When a file is missing, unreadable, readable by others, or not what it should be.
pub fn client_config(files: &Files) -> Result<Arc<ClientConfig>, TlsError> {
    let mut trusted = RootCertStore::empty();
    let name = |file: &Path| file.display().to_string();
    for certificate in certificates(&files.authority, "broker.authority_file")? {
        trusted.add(certificate).map_err(|source| TlsError::Unusable { files: name(&files.authority), source })?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::Unusable { files: "TLS 1.2 and 1.3".to_owned(), source })?
        .with_root_certificates(trusted);
    let Some((certificate, key)) = &files.own else { return Ok(Arc::new(builder.with_no_client_auth())) };
    let chain = certificates(certificate, "broker.certificate_file")?;
    let private = certs::read_private_key(key)?;
    let config = builder.with_client_auth_cert(chain, private).map_err(|source| TlsError::Unusable {
        files: format!("{} and {} together", certificate.display(), key.display()),
        source,
    })?;
    Ok(Arc::new(config))
}

fn certificates(
    file: &Path,
    setting: &'static str,
) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, TlsError> {
    let certificates = certs::read_certificates(file)?;
    if certificates.is_empty() {
        return Err(TlsError::Empty { file: file.display().to_string(), setting });
    }
    Ok(certificates)
}
