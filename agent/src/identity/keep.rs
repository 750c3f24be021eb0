//! The files of a device's certificate and key, and of the next ones until those have connected.
//!
//! | file | what |
//! |---|---|
//! | `X.key`, `X.crt` | what the device is known by |
//! | `X.key.next` | a key for which a certificate is asked, or was |
//! | `X.crt.next` | its certificate; whole, or not there |
//! | `X.crt.offer` | of AWS IoT alone: a certificate for it that is not known to let anybody in yet, and its token |
//!
//! The power may go at any moment. A key is on the disk before anybody hears of it, so that the same request can be
//! made again; and the two names that change at the end change key first, so that a certificate whose next key has gone
//! is known to be the last step of it.
//!
//! A key in a token has no file and no successor: all its certificates are about the one key, and just `X.crt.next` waits
//! for its turn.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use certs::files::{self, FileError};
use certs::key_file::{self, KeyFileError};
use certs::signing_request::{self, RequestError};
use zeroize::Zeroizing;

use super::key::Key;
use super::signer::TokenError;

/// Certificates are for everybody to see.
const PUBLIC: u32 = 0o644;
/// A token is for nobody else.
const PRIVATE: u32 = 0o600;

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// One could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key is open to others.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A key cannot be made or used.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The token that has the key.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A name could not be changed, or taken away.
    #[error("cannot rename or remove {}", path.display())]
    Rename {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Where they are.
#[derive(Clone, Debug)]
pub struct Keep {
    certificate: PathBuf,
    key: Key,
}

impl Keep {
    /// At these places. Ends what a power cut interrupted.
    ///
    /// # Errors
    /// When a file cannot be renamed.
    pub fn open(certificate: &Path, key: &Key) -> Result<Self, KeepError> {
        let keep = Self { certificate: certificate.into(), key: key.clone() };
        if keep.next_certificate().exists() && keep.next_key().is_some_and(|next| !next.exists()) {
            rename(&keep.next_certificate(), &keep.certificate)?;
        }
        Ok(keep)
    }

    /// Whether the device has a certificate that it is known by.
    #[must_use]
    pub fn has_current(&self) -> bool {
        self.certificate.exists() && self.key.file().is_none_or(Path::exists)
    }

    /// The certificate and key that were issued last and have not connected yet, if there are any.
    #[must_use]
    pub fn next(&self) -> Option<(PathBuf, Key)> {
        let key = self.next_key().map_or_else(|| self.key.clone(), Key::File);
        let certificate = self.next_certificate();
        (certificate.exists() && key.file().is_none_or(Path::exists)).then_some((certificate, key))
    }

    /// The request for the next certificate, in DER: for the key of a token, which makes one where it has none, or for the
    /// next key in a file. Blocks for as long as a token takes.
    ///
    /// # Errors
    /// When the key cannot be made, or does not sign.
    pub fn request(&self, device: &str) -> Result<Vec<u8>, KeepError> {
        match &self.key {
            Key::Token(token) => token.request(device),
            Key::File(file) => Ok(signing_request::request(&key_to_ask_for(&with_suffix(file, ".next"))?, device)?),
        }
    }

    /// Keeps the chain that was issued for it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_next(&self, chain_pem: &str) -> Result<(), KeepError> {
        let path = self.next_certificate();
        files::replace(&path, chain_pem.as_bytes(), PUBLIC)?;
        sync_folder(&path)
    }

    /// The next ones have connected: from now on the device is known by them.
    ///
    /// # Errors
    /// When a file cannot be renamed. The next [`Keep::open`] ends it.
    pub fn promote(&self) -> Result<(), KeepError> {
        if let (Some(next), Some(key)) = (self.next_key(), self.key.file()) {
            rename(&next, key)?;
        }
        rename(&self.next_certificate(), &self.certificate)
    }

    /// What AWS IoT offered for the next key and has not confirmed: a token and a certificate.
    #[must_use]
    pub fn offer(&self) -> Option<(String, String)> {
        let text = fs::read_to_string(self.offered()).ok()?;
        let (token, certificate) = text.split_once('\n')?;
        Some((token.to_owned(), certificate.to_owned()))
    }

    /// Keeps an offer, in place of one that is there. It is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_offer(&self, token: &str, certificate_pem: &str) -> Result<(), KeepError> {
        let path = self.offered();
        files::sweep(&path)?;
        files::replace(&path, format!("{token}\n{certificate_pem}").as_bytes(), PRIVATE)?;
        sync_folder(&path)
    }

    /// Forgets the offer: it was confirmed, or is void.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn forget_offer(&self) -> Result<(), KeepError> {
        remove(self.offered())?;
        sync_folder(&self.certificate)
    }

    /// Takes back a certificate that does not connect. Its key stays: another is asked for.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn withdraw_next(&self) -> Result<(), KeepError> {
        remove(self.next_certificate())?;
        sync_folder(&self.certificate)
    }

    /// Forgets a key that nobody will certify. One in a token stays.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn forget_next(&self) -> Result<(), KeepError> {
        // The certificate first: without its key it would be taken for the last step of a change.
        for path in [Some(self.next_certificate()), self.next_key()].into_iter().flatten() {
            remove(path)?;
        }
        sync_folder(&self.certificate)
    }

    fn next_certificate(&self) -> PathBuf {
        with_suffix(&self.certificate, ".next")
    }

    /// Its file, if keys are in files.
    fn next_key(&self) -> Option<PathBuf> {
        self.key.file().map(|file| with_suffix(file, ".next"))
    }

    fn offered(&self) -> PathBuf {
        with_suffix(&self.certificate, ".offer")
    }
}

/// The key that a certificate is to be about, PEM: the one that was made before, or a new one, which is on the disk when
/// this returns.
fn key_to_ask_for(path: &Path) -> Result<Zeroizing<String>, KeepError> {
    files::sweep(path)?;
    if path.exists() {
        let pem = key_file::read_private(path)?;
        let pem = Zeroizing::new(String::from_utf8_lossy(&pem).into_owned());
        signing_request::public_key(&pem)?;
        return Ok(pem);
    }
    let pem = signing_request::new_key()?;
    key_file::create_private(path, pem.as_bytes())?;
    sync_folder(path)?;
    Ok(pem)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes a file that may be there.
fn remove(path: PathBuf) -> Result<(), KeepError> {
    match fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(KeepError::Rename { path, source }),
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), KeepError> {
    fs::rename(from, to).map_err(|source| KeepError::Rename { path: from.into(), source })?;
    sync_folder(to)
}

/// Names are on the disk once their folder is.
fn sync_folder(path: &Path) -> Result<(), KeepError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| KeepError::Rename { path: folder.into(), source })
}

#[cfg(test)]
mod tests;
