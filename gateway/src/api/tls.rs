//! TLS as the API wants it: people and their browsers show no certificate.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::tls::TlsMin;

/// What is spoken here, for clients that say what they mean to speak (ALPN, RFC 7301).
const PROTOCOL: &[u8] = b"http/1.1";

/// TLS with the gateway's `certificates` (leaf first) and `key`.
///
/// # Errors
/// When they cannot be used, or do not belong together.
pub fn server_config(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    min: TlsMin,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(min.versions())?
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// The configuration that new connections shake hands with. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

impl Tls {
    /// Begins with `config`.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    /// New connections shake hands with `config` from now on: a renewed certificate.
    pub fn set(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    pub(super) fn get(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}
