//! One change of an authority at a time, over all processes.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::files::FileError;
use crate::owner;

/// The lock of an authority's folder; freed when dropped, and by the system when its process dies.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

/// A lock that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock file would be closed to whom the folder belongs.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process changes the authority and does not finish.
    #[error("{} is held by another process for more than {} s; wait for it or end it", path.display(), WAIT_MAX.as_secs())]
    Held {
        /// The lock file.
        path: PathBuf,
    },
    /// The lock file could not be opened or locked.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Lock {
    /// Waits for the lock of `folder`, at most [`WAIT_MAX`]; blocks its thread.
    pub(crate) fn take(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join("lock");
        let failed = |source| LockError::Io { path: path.clone(), source };
        // Never removed: a lock on a file whose name is gone would keep nobody out.
        let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                // Root may be the first who comes here, and whoever issues every day comes later.
                owner::give(&file, &path, &[folder])?;
                file
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // Of another user's folder, a link may lead to any file of root's, and the next line changes its mode.
                let flags = OFlags::NOFOLLOW.bits().cast_signed();
                OpenOptions::new().write(true).custom_flags(flags).open(&path).map_err(failed)?
            }
            Err(source) => return Err(failed(source)),
        };
        // A strict umask would leave a lock that its owner cannot open the next time.
        file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Err(LockError::Held { path }),
                // The blocking call has no deadline.
                Err(TryLockError::WouldBlock) => thread::sleep(RETRY_EVERY),
            }
        }
    }
}

/// A change takes milliseconds; half a minute is a queue of hundreds, or a process that hangs.
const WAIT_MAX: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_millis(5);
