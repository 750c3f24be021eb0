//! How TLS is set up, from what the files say now.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

use super::IdentityError;
use super::key::{Key, Unfit};
use super::validity::{Timeless, Timely};
use crate::clock::BootClock;
use crate::uplink::Settings;

/// For a device that knows the time, and for one that does not.
#[derive(Clone, Debug)]
pub(super) struct Configs {
    pub(super) usual: Arc<ClientConfig>,
    pub(super) timeless: Arc<ClientConfig>,
}

impl Configs {
    pub(super) fn read(settings: &Settings, key: &Key, clock: Arc<BootClock>) -> Result<Self, IdentityError> {
        let webpki = verifier(&settings.authority_file)?;
        let usual = config(settings, key, Arc::new(Timely::new(webpki.clone(), clock)))?;
        let mut timeless = config(settings, key, Arc::new(Timeless::new(webpki)))?;
        // A resumed session shows no certificate: once the time is known, the gateway has to show it again.
        timeless.resumption = rustls::client::Resumption::disabled();
        Ok(Self { usual: Arc::new(usual), timeless: Arc::new(timeless) })
    }
}

/// The TLS side of a connection that is made by the system's wall clock. Opens the token where the key is in one.
///
/// # Errors
/// When a file is missing, unreadable, readable by others, or not what it should be; or the token cannot be used.
pub fn tls(settings: &Settings) -> Result<Arc<ClientConfig>, IdentityError> {
    let key = Key::open(&settings.key)?;
    key.ready()?;
    Ok(Arc::new(config(settings, &key, verifier(&settings.authority_file)?)?))
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What judges the gateway's certificate by the authorities in `file`: chain, name, signatures, validity.
pub(super) fn verifier(file: &Path) -> Result<Arc<WebPkiServerVerifier>, IdentityError> {
    let unusable = |source| IdentityError::Trust { file: file.display().to_string(), source };
    let mut trusted = RootCertStore::empty();
    for certificate in certificates(file, "uplink.authority_file")? {
        trusted.add(certificate).map_err(unusable)?;
    }
    WebPkiServerVerifier::builder_with_provider(trusted.into(), provider())
        .build()
        .map_err(|error| unusable(rustls::Error::General(error.to_string())))
}

fn config(
    settings: &Settings,
    key: &Key,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, IdentityError> {
    let file = &settings.certificate_file;
    let chain = certificates(file, "uplink.certificate_file")?;
    let certified = key.certified(chain).map_err(|unfit| match unfit {
        Unfit::File(error) => error.into(),
        Unfit::Tls(source) => {
            IdentityError::Tls { certificate: file.display().to_string(), key: key.to_string(), source }
        }
    })?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(IdentityError::Library)?
        .dangerous() // the verifiers here are rustls' own, with another idea of the time
        .with_custom_certificate_verifier(verifier);
    Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified))))
}

fn certificates(file: &Path, setting: &'static str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let certificates = certs::read_certificates(file)?;
    if certificates.is_empty() {
        return Err(IdentityError::Empty { file: file.display().to_string(), setting });
    }
    Ok(certificates)
}
