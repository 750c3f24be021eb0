//! SQLite's settings: each is set, and then asked for, because builds differ in their defaults.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::store::error::StoreError;

/// 3.51.3 ended a race in which resetting the WAL could lose a committed transaction (sqlite.org/wal.html, "WAL-reset
/// bug", 2026-03).
pub const SQLITE_VERSION_MIN: i32 = 3_051_003;
/// Connections that read. More than two cores gain little from more.
pub const READERS: usize = 4;
/// The permission bits of files with readings.
const PRIVATE: u32 = 0o600;
/// How long a statement waits for a lock. Only a backup tool ever holds one against us.
const BUSY: Duration = Duration::from_secs(5);
/// KiB of pages that the writer keeps: the inner pages of the indexes and the leaves being filled.
const WRITER_CACHE_KIB: i64 = 16 * 1024;
/// KiB of pages that each reader keeps.
const READER_CACHE_KIB: i64 = 4 * 1024;
/// The WAL file is cut to this after a checkpoint, in bytes.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;
/// A checkpoint starts at this many pages (of 4 KiB: 16 MiB). Larger than the default 1000, so that a page that is
/// written by many commits reaches the database file once.
const CHECKPOINT_PAGES: i64 = 4_000;

/// Fails if SQLite is older than [`SQLITE_VERSION_MIN`].
pub(super) fn check_version(found: i32) -> Result<(), StoreError> {
    if found < SQLITE_VERSION_MIN { Err(StoreError::TooOld { found }) } else { Ok(()) }
}

/// The right to write the database at `path`, for as long as the file lives. The kernel lets go of it when the process
/// dies, however it dies.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let path = || Path::new(&name).display().to_string();
    let open = File::options().create(true).truncate(false).write(true).mode(PRIVATE).open(&name);
    let file = open.map_err(|source| StoreError::Lock { path: path(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path() }),
        Err(TryLockError::Error(source)) => Err(StoreError::Lock { path: path(), source }),
    }
}

/// Makes the file of a database that is not there yet for its owner alone, whatever the umask: SQLite gives those beside it
/// the same permission bits. One that is there keeps what its owner gave it, and `doctor` says so where that is much.
pub(super) fn make_private(path: &Path) -> Result<(), StoreError> {
    match new_private(path) {
        Err(source) if source.kind() != ErrorKind::AlreadyExists => {
            Err(StoreError::Lock { path: path.display().to_string(), source })
        }
        _ => Ok(()),
    }
}

/// Makes an empty file where there is none, for its owner alone.
pub(super) fn new_private(path: &Path) -> std::io::Result<File> {
    File::options().create_new(true).write(true).mode(PRIVATE).open(path)
}

/// Settings of the connection that writes.
pub(super) fn prepare_writer(db: &Connection) -> Result<(), StoreError> {
    db.busy_timeout(BUSY)?;
    set(db, "journal_mode", "wal", "wal")?;
    // FULL: the WAL is synced in each commit, so a receipt never says more than what survives a power cut.
    set(db, "synchronous", "full", "2")?;
    set(db, "foreign_keys", "on", "1")?;
    db.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    db.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    db.set_prepared_statement_cache_capacity(160);
    Ok(())
}

/// Settings of a connection beside the writer's, whose commits are as durable.
pub(super) fn prepare_side(db: &Connection, busy: Duration) -> Result<(), StoreError> {
    db.busy_timeout(busy)?;
    set(db, "synchronous", "full", "2")?;
    set(db, "foreign_keys", "on", "1")
}

/// Settings of a connection that reads.
pub(super) fn prepare_reader(db: &Connection) -> Result<(), StoreError> {
    db.busy_timeout(BUSY)?;
    set(db, "query_only", "on", "1")?;
    db.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn set(db: &Connection, name: &'static str, value: &str, wanted: &'static str) -> Result<(), StoreError> {
    db.pragma_update(None, name, value)?;
    let found: rusqlite::types::Value = db.pragma_query_value(None, name, |row| row.get(0))?;
    let found = match found {
        rusqlite::types::Value::Integer(number) => number.to_string(),
        rusqlite::types::Value::Text(text) => text,
        other => format!("{other:?}"),
    };
    if found == wanted { Ok(()) } else { Err(StoreError::Setting { name, found, wanted }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_sqlite_is_refused() {
        assert!(matches!(check_version(3_051_002), Err(StoreError::TooOld { found: 3_051_002 })));
        assert!(check_version(rusqlite::version_number()).is_ok());
    }

    #[test]
    fn a_setting_that_sqlite_does_not_take_is_an_error() {
        let memory = Connection::open_in_memory().unwrap();
        let refused = set(&memory, "journal_mode", "wal", "wal");
        assert!(matches!(refused, Err(StoreError::Setting { name: "journal_mode", .. })), "{refused:?}");
    }
}
