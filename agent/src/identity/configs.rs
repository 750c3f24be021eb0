//! How TLS is set up, from what the files say now.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

use super::IdentityError;
use super::key::{Key, Unfit};
use super::validity::{Timeless, Timely};
use crate::clock::BootClock;
use crate::unusable::Unusable;
use crate::uplink::Settings;

/// What to do where the device has no certificate, or no key for it.
const ENROL: &str = "run `tributary-agent enrol` first";
/// What to do where nobody is named whom the device may trust.
const BRING: &str = "copy the gateway's ca.crt there; a claim file that has it in it is enough too";

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

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What judges the gateway's certificate by the authorities in `file`: chain, name, signatures, validity.
pub(super) fn verifier(file: &Path) -> Result<Arc<WebPkiServerVerifier>, IdentityError> {
    let unusable = |source| IdentityError::Trust { file: file.display().to_string(), source };
    let mut trusted = RootCertStore::empty();
    for certificate in certificates(file, "uplink.authority_file", BRING)? {
        trusted.add(certificate).map_err(unusable)?;
    }
    WebPkiServerVerifier::builder_with_provider(trusted.into(), provider())
        .build()
        .map_err(|error| unusable(rustls::Error::General(error.to_string())))
}

/// What judges it by the time that is known, or by the certificate's own where none is.
pub(super) fn timed(webpki: Arc<WebPkiServerVerifier>, clock: &Arc<BootClock>) -> Arc<dyn ServerCertVerifier> {
    match clock.wall_clock() {
        Some(_) => Arc::new(Timely::new(webpki, Arc::clone(clock))),
        None => Arc::new(Timeless::new(webpki)),
    }
}

fn config(
    settings: &Settings,
    key: &Key,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, IdentityError> {
    let certified = certified(settings, key)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(IdentityError::Library)?
        .dangerous() // the verifiers here are rustls' own, with another idea of the time
        .with_custom_certificate_verifier(verifier);
    Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified))))
}

/// What the device shows: its chain, and `key` if it goes with it.
pub(super) fn certified(settings: &Settings, key: &Key) -> Result<CertifiedKey, IdentityError> {
    let file = &settings.certificate_file;
    let chain = certificates(file, "uplink.certificate_file", ENROL)?;
    key.certified(chain).map_err(|unfit| match unfit {
        Unfit::File(error) => Unusable::new("uplink.key_file", &error, ENROL).into(),
        Unfit::Tls(source) => {
            IdentityError::Tls { certificate: file.display().to_string(), key: key.to_string(), source }
        }
    })
}

/// At least one. `missing` is what to do where there is no such file.
fn certificates(
    file: &Path,
    setting: &'static str,
    missing: &str,
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    Ok(certs::read_certificates(file).map_err(|error| Unusable::new(setting, &error, missing))?)
}
