//! Who this device is: its certificate, its key, and whom it trusts.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use certs::PemFileError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};
use tracing::{error, info};
use zeroize::Zeroize;

use crate::clock::BootClock;
use crate::uplink::{Key, Settings};

use self::signer::{Token, TokenError, TokenKey};
use self::validity::{Timeless, Timely};

#[cfg(feature = "pkcs11")]
mod pkcs11;
pub mod signer;
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
    /// The token that has the key.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// There is no thread for it.
    #[error("no thread for the token")]
    Thread(#[source] std::io::Error),
    /// This program knows no tokens.
    #[error("`uplink.key` is for programs that are built with the feature `pkcs11`; use `uplink.key_file`")]
    NoTokens,
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
    /// Where the key is in one.
    token: Option<TokenKey>,
    held: Arc<Mutex<Held>>,
}

/// What was read, and what the files looked like just before.
#[derive(Debug)]
struct Held {
    seen: Stamps,
    configs: Configs,
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
        Self::of(settings, clock, token(settings)?)
    }

    /// The same with a key in `token`, whatever `settings` say of it.
    ///
    /// # Errors
    /// As [`Self::open`], and when there is no thread for the token.
    pub fn open_with(settings: &Settings, clock: Arc<BootClock>, token: impl Token) -> Result<Self, IdentityError> {
        Self::of(settings, clock, Some(TokenKey::new(token).map_err(IdentityError::Thread)?))
    }

    /// The token itself is not asked before the first connection: capture waits for none.
    fn of(settings: &Settings, clock: Arc<BootClock>, token: Option<TokenKey>) -> Result<Self, IdentityError> {
        let seen = Stamps::of(settings);
        let configs = Configs::read(settings, clock.clone(), token.as_ref())?;
        let held = Arc::new(Mutex::new(Held { seen, configs }));
        Ok(Self { settings: Arc::new(settings.clone()), clock, token, held })
    }

    /// Whether a handshake may wait for long, and stop everything that shares its thread: a token signs.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.token.is_some()
    }

    /// What the next connection is made with. Looks at the files first; what cannot be used is logged once, and what was
    /// in use stays. Where it [waits](Self::waits), it does so here already.
    ///
    /// # Errors
    /// When the key's token cannot be used.
    pub async fn config(&self) -> Result<Arc<ClientConfig>, IdentityError> {
        // A key that has shown itself only now may turn out to be that of another certificate.
        let is_news = self.token.as_ref().map(TokenKey::ready).transpose()?.unwrap_or(false);
        let seen = Stamps::of(&self.settings);
        if is_news || seen != self.held().seen {
            let (settings, clock, token) = (self.settings.clone(), self.clock.clone(), self.token.clone());
            // Flash may take its time, and holds up nothing else with it.
            let read = tokio::task::spawn_blocking(move || Configs::read(&settings, clock, token.as_ref())).await;
            self.take(seen, read.unwrap_or_else(|error| Err(IdentityError::Unread(error))));
        }
        Ok(self.current())
    }

    /// The same as long as no file changes.
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
                error!(%error, cause, "certificate, key or authority files cannot be used; what was in use stays");
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Configs {
    fn read(settings: &Settings, clock: Arc<BootClock>, token: Option<&TokenKey>) -> Result<Self, IdentityError> {
        let webpki = verifier(settings)?;
        let usual = config(settings, Arc::new(Timely::new(webpki.clone(), clock)), token)?;
        let mut timeless = config(settings, Arc::new(Timeless::new(webpki)), token)?;
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
        let Settings { authority_file, certificate_file, key, .. } = settings;
        let key_file = match key {
            Key::File(file) => Some(file),
            Key::Token(_) => None, // read anew by whoever asks the token
        };
        let stamp = |file: &PathBuf| {
            let file = std::fs::metadata(file).ok()?;
            Some((file.modified().ok()?, file.ino(), file.len()))
        };
        Self([authority_file, certificate_file].into_iter().chain(key_file).map(stamp).collect())
    }
}

/// The TLS side of a connection that is made by the system's wall clock. Opens the token where the key is in one.
///
/// # Errors
/// When a file is missing, unreadable, readable by others, or not what it should be; or the token cannot be used.
pub fn tls(settings: &Settings) -> Result<Arc<ClientConfig>, IdentityError> {
    let token = token(settings)?;
    token.as_ref().map(TokenKey::ready).transpose()?;
    Ok(Arc::new(config(settings, verifier(settings)?, token.as_ref())?))
}

/// The token that the settings name, not opened yet.
fn token(settings: &Settings) -> Result<Option<TokenKey>, IdentityError> {
    match &settings.key {
        Key::File(_) => Ok(None),
        #[cfg(feature = "pkcs11")]
        Key::Token(token) => {
            TokenKey::new(pkcs11::Pkcs11Token::new(token.clone())).map(Some).map_err(IdentityError::Thread)
        }
        #[cfg(not(feature = "pkcs11"))]
        Key::Token(_) => Err(IdentityError::NoTokens),
    }
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

fn config(
    settings: &Settings,
    verifier: Arc<dyn ServerCertVerifier>,
    token: Option<&TokenKey>,
) -> Result<ClientConfig, IdentityError> {
    let chain = certificates(&settings.certificate_file, "uplink.certificate_file")?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|source| mismatch(settings, source))?
        .dangerous() // the verifiers here are rustls' own, with another idea of the time
        .with_custom_certificate_verifier(verifier);
    let certified = match (token, &settings.key) {
        (Some(token), _) => CertifiedKey::new(chain, Arc::new(token.clone())),
        (None, Key::File(file)) => {
            let mut key = certs::read_private_key(file)?;
            let signing = rustls::crypto::ring::sign::any_supported_type(&key);
            // The text of the file is wiped by who read it. What signs from now on is within the library, and stays.
            key.zeroize();
            CertifiedKey::new(chain, signing.map_err(|source| mismatch(settings, source))?)
        }
        (None, Key::Token(_)) => return Err(IdentityError::NoTokens),
    };
    match certified.keys_match() {
        // A token that does not show its public key is found out by the gateway.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(source) => return Err(mismatch(settings, source)),
    }
    Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified))))
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
    let key = match &settings.key {
        Key::File(file) => file.display().to_string(),
        Key::Token(token) => format!("the key in token {:?}", token.token),
    };
    IdentityError::Tls { certificate: settings.certificate_file.display().to_string(), key, source }
}
