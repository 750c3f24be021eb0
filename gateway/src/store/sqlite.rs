//! The default store: one SQLite file for the registry, the ledger and the readings.
//!
//! One [`Writer`] in the whole world, which records many items in one durable transaction, and a few [`Reader`]s
//! beside it, each query within a deadline. WAL, so that neither waits for the other.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::Now;
use super::error::StoreError;
use super::ledger::SubjectSeed;
use super::outbox::{self, Outbox};
use super::reader::Reader;
use super::sink::Sink;

pub mod copy;
mod driver;
mod pool;
mod roller;
mod schema;
mod settings;
mod trail;
mod writer;

pub(in crate::store) use driver::Driver;
pub use roller::Roller;
pub use settings::{READERS, SQLITE_VERSION_MIN};
pub use trail::Trail;
pub use writer::Writer;

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
        settings::make_private(path)?;
        let mut db = Connection::open(path)?;
        settings::prepare_writer(&db)?;
        schema::migrate(&mut db)?;
        db.execute("update device set connected = 0 where connected <> 0", [])?;
        let readers = (0..READERS).map(|_| open_reader(path)).collect::<Result<_, _>>()?;
        Ok(Self { writer: Writer::new(db, path, lock, now)?, reader: Reader::new(pool::Pool::new(readers)) })
    }

    /// Sets `sink` beside it. What was claimed for one before and is still to be written, is written from now on.
    ///
    /// # Errors
    /// The disk, or the system has no thread to give.
    pub fn beside(self, sink: Box<dyn Sink>, settings: outbox::Settings, now: Now) -> Result<super::Store, StoreError> {
        let (feed, roller) = (self.writer.subscribe(), Box::new(self.writer.roller()));
        let trail = Box::new(self.writer.trail());
        let ledger = Box::new(Outbox::open(Box::new(self.writer), sink, settings, now)?);
        Ok(super::Store { ledger, others: Vec::new(), reader: self.reader, feed, roller, trail })
    }

    /// Makes sure that a person or place of the settings is there as they say. Said twice, it changes nothing.
    ///
    /// # Errors
    /// The zone is not known, or the disk.
    pub fn ensure_subject(&mut self, seed: &SubjectSeed) -> Result<(), StoreError> {
        self.writer.ensure_subject(seed)
    }
}

/// Makes ready a connection beside the writer's, for rows that are no readings.
pub(in crate::store) fn prepare_side(db: &Connection, busy: std::time::Duration) -> Result<(), StoreError> {
    settings::prepare_side(db, busy)?;
    schema::check(db)
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    settings::prepare_reader(&db)?;
    Ok(db)
}
