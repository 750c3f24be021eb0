//! What can go wrong with the buffer, and how SQLite's words for it are read.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Free bytes below which a failed write is put down to a full disk: SQLite's shared memory alone takes 32 KiB.
const SPARE_BYTES_MIN: u64 = 64 * 1024;

/// What can go wrong with the buffer.
#[derive(Debug, thiserror::Error)]
pub enum BufferError {
    /// Nothing can be written any more.
    #[error("no space left for the buffer {}; free some on its disk or lower `buffer.bytes_max`", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Damaged, and the disk has no room for what is readable of it.
    #[error("buffer {} is damaged, and its disk has no room to save what is readable; free some as large as the file", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Made by a later agent.
    #[error("buffer {} has schema version {found}, this agent knows {known}; install the newer agent again, or move the file aside", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Made by an earlier agent, and opened for reading only.
    #[error("buffer {} has schema version {found}, this agent reads {known}; start the agent once, it brings the file up to date, and then ask again", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// The file's version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Not a database of ours.
    #[error("{} is no buffer of this agent (application id {found:#x}); point `buffer.path` at another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: i64,
    },
    /// A setting that durability rests on did not take.
    #[error("buffer {}: {setting} is {found} but must be {wanted}; is the file on a network or read-only disk?", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// Which setting.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        wanted: String,
    },
    /// The file cannot be opened.
    #[error("cannot open buffer {}: is the folder there and writable for this user?", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Another agent holds the file.
    #[error("buffer {} is in use by another agent; two agents need two buffers", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The thread that writes has ended.
    #[error("the buffer's thread has ended")]
    Gone,
    /// Anything else that SQLite says.
    #[error("buffer: SQLite failed")]
    Sqlite(#[from] rusqlite::Error),
}

pub(super) fn explain(error: rusqlite::Error, path: &Path) -> BufferError {
    if is_full(&error, path) {
        BufferError::DiskFull { path: path.into(), source: error }
    } else {
        BufferError::Sqlite(error)
    }
}

/// Whether `error` comes of a full disk. SQLite says so outright only for some files; for its shared memory, say, it
/// speaks of an I/O error, so the disk itself is asked too.
pub(super) fn is_full(error: &rusqlite::Error, path: &Path) -> bool {
    let said = error.sqlite_error_code();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let no_room = || rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail * disk.f_frsize < SPARE_BYTES_MIN);
    said == Some(ErrorCode::DiskFull)
        || (matches!(said, Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)) && no_room())
}

/// Whether `error` comes of a file that is not what was written. A broken constraint is one too: the agent breaks none.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    let codes = [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase, ErrorCode::ConstraintViolation];
    error.sqlite_error_code().is_some_and(|code| codes.contains(&code))
        || matches!(
            error,
            Error::InvalidColumnType(..) | Error::IntegralValueOutOfRange(..) | Error::FromSqlConversionFailure(..)
        )
}

/// Free and all bytes of the disk that `path` is on; none where it cannot be told.
pub(super) fn disk_bytes(path: &Path) -> Option<(u64, u64)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some((disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize))
}

/// `path` with `ending` behind its name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
