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

/// One section of PEM: `label` is what stands in its first and last line, such as `CERTIFICATE`.
#[must_use]
pub fn to_pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    // 48 bytes make the 64 characters that a line has (RFC 7468, section 2).
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let bits =
                (0..3).fold(0_usize, |bits, place| bits << 8 | usize::from(group.get(place).copied().unwrap_or(0)));
            let digit = |place: usize| char::from(ALPHABET[bits >> (18 - 6 * place) & 63]);
            text.extend((0..4).map(|place| if place <= group.len() { digit(place) } else { '=' }));
        }
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
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
    fn what_is_written_as_pem_reads_back_whatever_its_length() {
        assert_eq!(to_pem("CERTIFICATE", b"hello"), CERTIFICATE);
        for length in 0..200_u8 {
            let der: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37)).collect();
            let pem = to_pem("CERTIFICATE", &der);
            assert_eq!(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().as_ref(), der);
            assert!(pem.lines().all(|line| line.len() <= 64), "{pem}");
        }
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
