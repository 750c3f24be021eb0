//! Files with a private key or another secret: readable by their owner alone, from their first byte on.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::files::{self, FileError};

/// The permission bits of a private key: its owner reads and writes, nobody else does anything.
pub const MODE: u32 = 0o600;

/// A file with a secret that must not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It could not be read at all.
    #[error(transparent)]
    File(#[from] FileError),
    /// Others than its owner may read or write it.
    #[error("{} has mode {mode:04o}, so others than its owner can reach the secret in it; run `chmod 600 {}`, and replace the secret if others may have read it", path.display(), path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// The bytes of a file with a private key or a password, at most 64 KiB, wiped from memory when dropped.
///
/// Fails on a missing file and on one that its group or the world may reach (any bit of `0077`). Its owner needs no
/// test: with those bits clear, the system lets nobody but the owner and root open it.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let (bytes, mode) = files::read(path, KEY_BYTES_MAX)?;
    let bytes = Zeroizing::new(bytes);
    if mode & 0o077 != 0 {
        return Err(KeyFileError::TooOpen { path: path.into(), mode });
    }
    Ok(bytes)
}

/// Writes such a file that must not exist yet, with mode 0600 from the first byte, whatever the umask.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    files::create(path, bytes, MODE)
}

/// An RSA key of 16 384 bits takes 13 KiB of PEM; ours take 241 bytes.
const KEY_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_created_key_reads_back_and_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.key");
        create_private(&path, b"secret").unwrap();
        assert_eq!(read_private(&path).unwrap().as_slice(), b"secret");
        assert!(matches!(create_private(&path, b"other"), Err(FileError::Exists { .. })));
    }

    #[test]
    fn a_key_that_group_or_world_can_reach_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("device.key");
        create_private(&path, b"secret").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = read_private(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("{mode:04o}")), "{error}");
            assert!(error.contains(&format!("chmod 600 {}", path.display())), "{error}");
        }
        for mode in [0o600, 0o400] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            read_private(&path).unwrap();
        }
    }

    #[test]
    fn a_missing_key_is_an_error_that_names_the_file() {
        let error = read_private(Path::new("/nonexistent/device.key")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/device.key"), "{error}");
    }
}
