//! Who this device is: its certificate, its key, and whom it trusts.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use certs::PemFileError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use tracing::{error, info};

use crate::clock::BootClock;
use crate::uplink::Settings;

use self::keep::Keep;
use self::validity::{Timeless, Timely};

pub mod claim;
pub mod enrol;
pub mod expired;
pub mod keep;
pub mod receipts;
pub mod renewal;
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
    /// Reading them was given up.
    #[error("the files were not read to the end")]
    Unread(#[source] tokio::task::JoinError),
}

/// The TLS side of the connections: TLS 1.3 or 1.2, the configured authorities and no other, our own certificate.
///
/// Its files may be replaced while the agent runs: the next connection is made with what they say then. Clones share
/// what was read.
#[derive(Clone, Debug)]
pub struct Tls {
    settings: Arc<Settings>,
    clock: Arc<BootClock>,
    held: Arc<Mutex<Held>>,
}

/// What was read, and what the files looked like just before.
#[derive(Debug)]
struct Held {
    seen: Stamps,
    configs: Configs,
    trial: Trial,
}

/// Where the trial of a next certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    /// One that is there may be tried.
    Welcome,
    /// The connection that is being made is one.
    On,
    /// The last one failed: first with the old one again.
    Skipped,
}

impl Trial {
    fn is_on(self) -> bool {
        self == Self::On
    }
}

#[derive(Clone, Debug)]
struct Configs {
    usual: Arc<ClientConfig>,
    timeless: Arc<ClientConfig>,
}

impl Tls {
    /// Reads and checks what `settings` name. Whether the gateway's certificate is valid is judged by `clock`.
    ///
    /// # Errors
    /// When a file is missing, unreadable, readable by others, or not what it should be.
    pub fn open(settings: &Settings, clock: Arc<BootClock>) -> Result<Self, IdentityError> {
        let seen = Stamps::of(settings);
        let configs = Configs::read(settings, clock.clone())?;
        Ok(Self {
            settings: Arc::new(settings.clone()),
            clock,
            held: Arc::new(Mutex::new(Held { seen, configs, trial: Trial::Welcome })),
        })
    }

    /// What the next connection is made with. Looks at the files first; what cannot be used is logged once, and what was
    /// in use stays. A certificate that was issued and has not connected yet is tried first.
    pub async fn config(&self) -> Arc<ClientConfig> {
        if let Some(config) = self.trial().await {
            return config;
        }
        let seen = Stamps::of(&self.settings);
        if seen != self.held().seen {
            let (settings, clock) = (self.settings.clone(), self.clock.clone());
            // Flash may take its time, and a token more: neither holds up anything else.
            let read = tokio::task::spawn_blocking(move || Configs::read(&settings, clock)).await;
            self.take(seen, read.unwrap_or_else(|error| Err(IdentityError::Unread(error))));
        }
        self.current()
    }

    /// The connection stands: if it was a trial, the device is known by that certificate from now on.
    pub async fn connected(&self) {
        if !std::mem::replace(&mut self.held().trial, Trial::Welcome).is_on() {
            return;
        }
        let settings = self.settings.clone();
        let promote = move || Keep::open(&settings.certificate_file, &settings.key_file)?.promote();
        match tokio::task::spawn_blocking(promote).await {
            Ok(Ok(())) => info!("the next certificate has connected, and takes the place of the old one"),
            Ok(Err(error)) => {
                error!(%error, "the next certificate has connected and cannot take its place; trying again");
            }
            Err(_) => {} // the runtime ends
        }
    }

    /// The connection failed or ended. One that never stood, and was a trial, is not tried again the next time.
    pub fn failed(&self) {
        let mut held = self.held();
        held.trial = if held.trial.is_on() { Trial::Skipped } else { Trial::Welcome };
    }

    /// With the certificate that has not connected yet, if there is one and its turn.
    async fn trial(&self) -> Option<Arc<ClientConfig>> {
        if matches!(self.held().trial, Trial::Skipped) {
            return None;
        }
        let (settings, clock) = (self.settings.clone(), self.clock.clone());
        let read = tokio::task::spawn_blocking(move || {
            let keep = Keep::open(&settings.certificate_file, &settings.key_file).ok()?;
            let (certificate_file, key_file) = keep.next()?;
            Some(Configs::read(&Settings { certificate_file, key_file, ..(*settings).clone() }, clock))
        });
        match read.await.ok()?? {
            Ok(configs) => {
                self.held().trial = Trial::On;
                info!("connecting with the next certificate");
                Some(if self.clock.wall_clock().is_some() { configs.usual } else { configs.timeless })
            }
            Err(error) => {
                error!(%error, "the next certificate cannot be used; the old one stays");
                None
            }
        }
    }

    /// With what is in use: the same as long as no file changes.
    fn current(&self) -> Arc<ClientConfig> {
        let configs = self.held().configs.clone();
        if self.clock.wall_clock().is_some() { configs.usual } else { configs.timeless }
    }

    fn take(&self, seen: Stamps, read: Result<Configs, IdentityError>) {
        let mut held = self.held();
        // Also where they cannot be used: it is said once, and looked at again when they change again.
        held.seen = seen;
        match read {
            Ok(configs) => {
                held.configs = configs;
                info!("certificate, key and authority files were read again");
            }
            Err(error) => {
                let cause = std::error::Error::source(&error);
                error!(%error, cause, "certificate, key or authority files changed but cannot be used; the old stay");
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Configs {
    fn read(settings: &Settings, clock: Arc<BootClock>) -> Result<Self, IdentityError> {
        let webpki = verifier(settings)?;
        let usual = config(settings, Arc::new(Timely::new(webpki.clone(), clock)))?;
        let mut timeless = config(settings, Arc::new(Timeless::new(webpki)))?;
        // A resumed session shows no certificate: once the time is known, the gateway has to show it again.
        timeless.resumption = rustls::client::Resumption::disabled();
        Ok(Self { usual: Arc::new(usual), timeless: Arc::new(timeless) })
    }
}

/// What tells that files were replaced or written: when, as which file, how long. None for one that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamps(Vec<Option<(SystemTime, u64, u64)>>);

impl Stamps {
    fn of(settings: &Settings) -> Self {
        let Settings { authority_file, certificate_file, key_file, .. } = settings;
        let stamp = |file: &PathBuf| {
            let file = std::fs::metadata(file).ok()?;
            Some((file.modified().ok()?, file.ino(), file.len()))
        };
        Self([authority_file, certificate_file, key_file].into_iter().map(stamp).collect())
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

/// What judges it by the time that is known, or by the certificate's own where none is.
fn timed(webpki: Arc<WebPkiServerVerifier>, clock: &Arc<BootClock>) -> Arc<dyn ServerCertVerifier> {
    match clock.wall_clock() {
        Some(_) => Arc::new(Timely::new(webpki, Arc::clone(clock))),
        None => Arc::new(Timeless::new(webpki)),
    }
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
