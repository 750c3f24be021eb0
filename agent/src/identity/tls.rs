//! What each connection is made with: looked at again before the next, and the next certificate tried first.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustls::ClientConfig;
use tracing::{error, info};

use super::IdentityError;
use super::configs::Configs;
use super::keep::Keep;
use super::key::Key;
use crate::clock::BootClock;
use crate::uplink::Settings;

#[cfg(test)]
mod tests;

/// The TLS side of the connections: TLS 1.3 or 1.2, the configured authorities and no other, our own certificate.
///
/// Its files may be replaced while the agent runs: the next connection is made with what they say then. Clones share
/// what was read.
#[derive(Clone, Debug)]
pub struct Tls {
    settings: Arc<Settings>,
    clock: Arc<BootClock>,
    key: Key,
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

impl Tls {
    /// Reads and checks what `settings` name. Whether the gateway's certificate is valid is judged by `clock`.
    ///
    /// # Errors
    /// When a file is missing, unreadable, readable by others, or not what it should be.
    pub fn open(settings: &Settings, clock: Arc<BootClock>) -> Result<Self, IdentityError> {
        Self::open_with(settings, clock, Key::open(&settings.key)?)
    }

    /// The same with `key`, whatever `settings` say of it. A token is not asked before the first connection: capture
    /// waits for none.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(settings: &Settings, clock: Arc<BootClock>, key: Key) -> Result<Self, IdentityError> {
        let seen = Stamps::of(settings, &key);
        let configs = Configs::read(settings, &key, clock.clone())?;
        let held = Arc::new(Mutex::new(Held { seen, configs, trial: Trial::Welcome }));
        Ok(Self { settings: Arc::new(settings.clone()), clock, key, held })
    }

    /// The key that connections are made with.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether a handshake may wait for long, and stop everything that shares its thread: a token signs.
    #[must_use]
    pub fn waits(&self) -> bool {
        matches!(self.key, Key::Token(_))
    }

    /// What the next connection is made with. Looks at the files first; what cannot be used is logged once, and what was
    /// in use stays. A certificate that was issued and has not connected yet is tried first. Where it
    /// [waits](Self::waits), it does so here already.
    ///
    /// # Errors
    /// When the key's token cannot be used.
    pub async fn config(&self) -> Result<Arc<ClientConfig>, IdentityError> {
        if self.key.ready()? {
            // A key that has shown itself only now may turn out to be that of another certificate.
            self.held().seen = Stamps::default();
        }
        if let Some(config) = self.trial().await {
            return Ok(config);
        }
        let seen = Stamps::of(&self.settings, &self.key);
        if seen != self.held().seen {
            let (settings, clock, key) = (self.settings.clone(), self.clock.clone(), self.key.clone());
            // Flash may take its time, and holds up nothing else with it.
            let read = tokio::task::spawn_blocking(move || Configs::read(&settings, &key, clock)).await;
            self.take(seen, read.unwrap_or_else(|error| Err(IdentityError::Unread(error))));
        }
        Ok(self.current())
    }

    /// The connection stands: if it was a trial, the device is known by that certificate from now on.
    pub async fn connected(&self) {
        if !std::mem::replace(&mut self.held().trial, Trial::Welcome).is_on() {
            return;
        }
        let (settings, key) = (self.settings.clone(), self.key.clone());
        let promote = move || Keep::open(&settings.certificate_file, &key)?.promote();
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
        let (settings, clock, key) = (self.settings.clone(), self.clock.clone(), self.key.clone());
        let read = tokio::task::spawn_blocking(move || {
            let keep = Keep::open(&settings.certificate_file, &key).ok()?;
            let (certificate_file, key) = keep.next()?;
            Some(Configs::read(&Settings { certificate_file, ..(*settings).clone() }, &key, clock))
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

/// What tells that files were replaced or written: when, as which file, how long. None for one that is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stamps(Vec<Option<(SystemTime, u64, u64)>>);

impl Stamps {
    fn of(settings: &Settings, key: &Key) -> Self {
        let stamp = |file: &Path| {
            let file = std::fs::metadata(file).ok()?;
            Some((file.modified().ok()?, file.ino(), file.len()))
        };
        let files = [settings.authority_file.as_path(), &settings.certificate_file];
        Self(files.into_iter().chain(key.file()).map(stamp).collect())
    }
}
