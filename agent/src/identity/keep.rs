//! The files of a device's certificate and key, and of the next ones until those have connected.
//!
//! | file | what |
//! |---|---|
//! | `X.key`, `X.crt` | what the device is known by |
//! | `X.key.next` | a key for which a certificate is asked, or was |
//! | `X.crt.next` | its certificate; whole, or not there |
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
    /// A name could not be changed.
    #[error("cannot rename {}", path.display())]
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

    /// Forgets a key that nobody will certify.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn forget_next(&self) -> Result<(), KeepError> {
        // The certificate first: without its key it would be taken for the last step of a change.
        for path in [self.next_certificate(), self.next_key()] {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(KeepError::Rename { path, source });
                }
                _ => {}
            }
        }
        sync_folder(&self.key)
    }

    fn next_certificate(&self) -> PathBuf {
        with_suffix(&self.certificate)
    }

    fn next_key(&self) -> PathBuf {
        with_suffix(&self.key)
    }
}

fn with_suffix(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    name.into()
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
mod tests {
    use super::*;

    struct Rig {
        folder: tempfile::TempDir,
    }

    impl Rig {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn open(&self) -> Keep {
            Keep::open(&self.path("x.crt"), &self.path("x.key")).unwrap()
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.path(name)).ok()
        }
    }

    #[test]
    fn the_key_that_is_asked_for_stays_the_same_until_it_is_certified() {
        let rig = Rig::new();
        let key = rig.open().key_to_ask_for().unwrap();
        assert_eq!(*rig.open().key_to_ask_for().unwrap(), *key, "after a restart");
        assert!(rig.open().next().is_none() && !rig.open().has_current());
        rig.open().put_next("chain").unwrap();
        assert!(rig.open().next().is_some());
        rig.open().promote().unwrap();
        assert!(rig.open().next().is_none() && rig.open().has_current());
        assert_eq!((rig.read("x.key").unwrap(), rig.read("x.crt").unwrap()), (key.to_string(), "chain".into()));
        assert_ne!(*rig.open().key_to_ask_for().unwrap(), *key, "the next one is another");
    }

    #[test]
    fn whenever_the_power_goes_key_and_certificate_belong_together_when_it_is_back() {
        for after in 0..3 {
            let rig = Rig::new();
            let keep = rig.open();
            for (name, content) in [("x.key", "old"), ("x.crt", "old"), ("x.key.next", "new"), ("x.crt.next", "new")] {
                fs::write(rig.path(name), content).unwrap();
            }
            // As `promote` does it, up to some step.
            for (from, to) in [("x.key.next", "x.key"), ("x.crt.next", "x.crt")].into_iter().take(after) {
                fs::rename(rig.path(from), rig.path(to)).unwrap();
            }
            drop(keep);
            let keep = rig.open();
            let pair = |key: &str, crt: &str| (rig.read(key), rig.read(crt));
            assert_eq!(pair("x.key", "x.crt").0, pair("x.key", "x.crt").1, "after {after} steps");
            if let Some((crt, key)) = keep.next() {
                assert_eq!(fs::read(crt).unwrap(), fs::read(key).unwrap());
            }
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_not_asked_for() {
        use std::os::unix::fs::PermissionsExt;
        let rig = Rig::new();
        rig.open().key_to_ask_for().unwrap();
        fs::set_permissions(rig.path("x.key.next"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(rig.open().key_to_ask_for(), Err(KeepError::Key(KeyFileError::TooOpen { .. }))));
    }

    #[test]
    fn what_nobody_will_certify_is_forgotten_whole() {
        let rig = Rig::new();
        rig.open().key_to_ask_for().unwrap();
        rig.open().put_next("chain").unwrap();
        rig.open().forget_next().unwrap();
        assert!(rig.open().next().is_none() && !rig.path("x.key.next").exists() && !rig.path("x.crt").exists());
    }
}
