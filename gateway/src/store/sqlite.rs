//! The default store: one SQLite file for the registry, the ledger and the readings.
//!
//! One [`Writer`] in the whole world, which records many items in one durable transaction, and a few [`Reader`]s
//! beside it, each query within a deadline. WAL, so that neither waits for the other.

use std::path::Path;

use proto::Instant;
use rusqlite::{Connection, ErrorCode, OpenFlags};

mod clocks;
mod gaps;
mod held;
mod ledger;
mod names;
mod ordinals;
mod origins;
mod packs;
mod people;
mod quarantine;
mod ranges;
pub mod reader;
mod readings;
mod schema;
mod settings;
mod tidy;
mod value;
mod writer;

pub use people::SubjectSeed;
pub use reader::{ReadError, Reader, View};
pub use settings::{READERS, SQLITE_VERSION_MIN};
pub use writer::{Tick, Writer};

/// The one tenant until accounts exist; the first migration creates it.
const TENANT: i64 = 1;

/// Where the time comes from. Passed in, so that a test can invent it.
pub type Now = fn() -> Instant;

/// An open database: what writes it and what reads it, to be given to different threads.
pub struct Store {
    /// The only one that writes.
    pub writer: Writer,
    /// As many as there are who read; clones share a few connections.
    pub reader: Reader,
}

impl Store {
    /// Opens the database at `path`, creates it if there is none, and brings its schema up to date. All devices are
    /// taken to be disconnected.
    ///
    /// # Errors
    /// Another process writes it; its schema is newer than this program; SQLite does not hold a setting or is too old;
    /// the disk.
    pub fn open(path: &Path, now: Now) -> Result<Self, StoreError> {
        settings::check_version(rusqlite::version_number())?;
        let lock = settings::lock(path)?;
        let mut db = Connection::open(path)?;
        settings::prepare_writer(&db)?;
        schema::migrate(&mut db)?;
        db.execute("update device set connected = 0 where connected <> 0", [])?;
        let readers = (0..READERS).map(|_| open_reader(path)).collect::<Result<_, _>>()?;
        Ok(Self { writer: Writer::new(db, path, lock, now)?, reader: Reader::new(readers) })
    }

    /// Makes sure that a person or place of the settings is there as they say. Said twice, it changes nothing.
    ///
    /// # Errors
    /// The zone is not known, or the disk.
    pub fn ensure_subject(&mut self, seed: &SubjectSeed) -> Result<(), StoreError> {
        self.writer.ensure_subject(seed)
    }
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    settings::prepare_reader(&db)?;
    Ok(db)
}

/// Why the store cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite itself.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Another process has the database.
    #[error("{path} is locked: another gateway is writing this database; stop it first")]
    Locked {
        /// The lock file.
        path: String,
    },
    /// The lock file.
    #[error("cannot open the lock file {path}")]
    Lock {
        /// Where it should be.
        path: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The database was last written by a newer program.
    #[error("the database has schema {found}, and this program knows schemas up to {known}; use a newer gateway")]
    NewerSchema {
        /// What it has.
        found: i64,
        /// What we know.
        known: i64,
    },
    /// SQLite lost data in older versions.
    #[error("SQLite {found} is older than {SQLITE_VERSION_MIN}, the first whose WAL reset is safe; link a newer one")]
    TooOld {
        /// Its version number.
        found: i32,
    },
    /// SQLite did not take a setting.
    #[error("SQLite has {name} = {found} where {wanted} was asked for; is the file on a network disk?")]
    Setting {
        /// Which.
        name: &'static str,
        /// What it has.
        found: String,
        /// What it should have.
        wanted: &'static str,
    },
    /// A subject's zone.
    #[error("`{zone}` is no time zone; use an IANA name such as Europe/Berlin")]
    Zone {
        /// As it was written.
        zone: String,
    },
}

impl StoreError {
    /// Whether the store as a whole cannot be written now, so that trying the same again later may succeed. Any other
    /// error comes from what was to be written.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        let Self::Sqlite(error) = self else { return true };
        match error.sqlite_error_code() {
            Some(code) => !matches!(code, ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig),
            // No answer of SQLite's but of the layer above it: a value that does not fit its column.
            None => false,
        }
    }

    /// Whether the disk, or what is written on it, failed: the connection that saw it cannot be relied on.
    pub(super) fn is_of_the_disk(&self) -> bool {
        let Self::Sqlite(error) = self else { return false };
        self.is_unavailable()
            && !matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }
}

/// A number of the protocol as SQLite keeps it. What lies beyond i64 was refused at the door or is cut here.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The reverse.
fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
