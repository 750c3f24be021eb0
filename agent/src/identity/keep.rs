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

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use certs::files::{self, FileError};
use certs::key_file::{self, KeyFileError};
use certs::signing_request::{self, RequestError};
use zeroize::Zeroizing;

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
    key: PathBuf,
}

impl Keep {
    /// At these places. Ends what a power cut interrupted.
    ///
    /// # Errors
    /// When a file cannot be renamed.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, KeepError> {
        let keep = Self { certificate: certificate.into(), key: key.into() };
        if keep.next_certificate().exists() && !keep.next_key().exists() {
            rename(&keep.next_certificate(), &keep.certificate)?;
        }
        Ok(keep)
    }

    /// Whether the device has a certificate that it is known by.
    #[must_use]
    pub fn has_current(&self) -> bool {
        self.certificate.exists() && self.key.exists()
    }

    /// The certificate and key that were issued last and have not connected yet, if there are any.
    #[must_use]
    pub fn next(&self) -> Option<(PathBuf, PathBuf)> {
        let pair = (self.next_certificate(), self.next_key());
        (pair.0.exists() && pair.1.exists()).then_some(pair)
    }

    /// The key that a certificate is to be about, PEM: the one that was made before, or a new one, which is on the disk
    /// when this returns.
    ///
    /// # Errors
    /// When it cannot be made, written or read.
    pub fn key_to_ask_for(&self) -> Result<Zeroizing<String>, KeepError> {
        let path = self.next_key();
        files::sweep(&path)?;
        if path.exists() {
            let pem = key_file::read_private(&path)?;
            let pem = Zeroizing::new(String::from_utf8_lossy(&pem).into_owned());
            signing_request::public_key(&pem)?;
            return Ok(pem);
        }
        let pem = signing_request::new_key()?;
        key_file::create_private(&path, pem.as_bytes())?;
        sync_folder(&path)?;
        Ok(pem)
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
        rename(&self.next_key(), &self.key)?;
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

    /// Forgets a key that nobody will certify.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn forget_next(&self) -> Result<(), KeepError> {
        // The certificate first: without its key it would be taken for the last step of a change.
        remove(self.next_certificate())?;
        remove(self.next_key())?;
        sync_folder(&self.key)
    }

    fn next_certificate(&self) -> PathBuf {
        with_suffix(&self.certificate, ".next")
    }

    fn next_key(&self) -> PathBuf {
        with_suffix(&self.key, ".next")
    }

    fn offered(&self) -> PathBuf {
        with_suffix(&self.certificate, ".offer")
    }
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
