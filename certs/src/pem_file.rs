//! PEM files of certificates, private keys and revocation lists, as the types that rustls takes.

use std::path::{Path, PathBuf};

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::files::{self, FileError};
use crate::key_file::{self, KeyFileError};

/// A PEM file that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum PemFileError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The private key file is missing or open to others.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A section is torn or is not base64.
    #[error("{} is not sound PEM; is it cut short?", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// There is no section of the kind that was asked for.
    #[error("{} holds no {what}; is it the right file?", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
}

/// All certificates of a file, in its order, at least one. At most 1 MiB is read.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemFileError> {
    read_all(path, "certificate", CERTIFICATES_BYTES_MAX)
}

/// All revocation lists of a file, in its order, at least one. At most 16 MiB is read.
pub fn read_crls(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, PemFileError> {
    read_all(path, "revocation list", CRLS_BYTES_MAX)
}

/// The first private key of a file that only its owner can reach; see [`key_file::read_private`].
pub fn read_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemFileError> {
    let bytes = key_file::read_private(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => PemFileError::Nothing { path: path.into(), what: "private key" },
        source => PemFileError::Malformed { path: path.into(), source },
    })
}

fn read_all<T: PemObject>(path: &Path, what: &'static str, bytes_max: u64) -> Result<Vec<T>, PemFileError> {
    let (bytes, _) = files::read(path, bytes_max)?;
    let items = T::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| PemFileError::Malformed { path: path.into(), source })?;
    if items.is_empty() { Err(PemFileError::Nothing { path: path.into(), what }) } else { Ok(items) }
}

/// Some 1 500 of our certificates of about 700 bytes; the bundle of all public authorities takes 230 KiB.
const CERTIFICATES_BYTES_MAX: u64 = 1024 * 1024;
/// A revoked certificate takes about 70 bytes of PEM: some 200 000 of them.
const CRLS_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// "hello" in base64, which is all that this layer looks at.
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n";

    #[test]
    fn certificates_are_read_in_order_and_other_sections_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.crt");
        std::fs::write(&path, format!("a comment\n{CERTIFICATE}{KEY}{CERTIFICATE}")).unwrap();
        let certificates = read_certificates(&path).unwrap();
        assert_eq!(certificates, [&b"hello"[..], b"hello"].map(CertificateDer::from));
        assert!(matches!(read_crls(&path), Err(PemFileError::Nothing { what: "revocation list", .. })));
    }

    #[test]
    fn a_torn_file_is_an_error_and_not_a_shorter_list() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.crt");
        std::fs::write(&path, format!("{CERTIFICATE}{}", &CERTIFICATE[..40])).unwrap();
        assert!(matches!(read_certificates(&path), Err(PemFileError::Malformed { .. })));
    }

    #[test]
    fn a_private_key_file_must_be_private_and_hold_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let (good, empty, open) =
            (folder.path().join("good.key"), folder.path().join("empty.key"), folder.path().join("open.key"));
        key_file::create_private(&good, KEY.as_bytes()).unwrap();
        key_file::create_private(&empty, CERTIFICATE.as_bytes()).unwrap();
        files::create(&open, KEY.as_bytes(), 0o644).unwrap();
        assert_eq!(read_private_key(&good).unwrap().secret_der(), b"hello");
        assert!(matches!(read_private_key(&empty), Err(PemFileError::Nothing { what: "private key", .. })));
        assert!(matches!(read_private_key(&open), Err(PemFileError::Key(KeyFileError::TooOpen { mode: 0o644, .. }))));
    }
}
