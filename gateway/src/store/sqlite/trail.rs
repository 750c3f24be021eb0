//! The audit trail in the file: the gateway appends in its turns at the desk, a command on a connection of its own.

use std::path::{Path, PathBuf};

use proto::Instant;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::writer::Desk;
use super::{Driver, open_reader, schema, settings};
use crate::audit::chain::Head;
use crate::audit::entry::Entry;
use crate::audit::trim::{Cut, Keep};
use crate::store::audit::{self, Ask, Doubt, Found};
use crate::store::error::StoreError;
use crate::store::sql::{Db, SqlError};

/// Lets go of the oldest entries; triggers allow what a later entry tells of, and nothing else.
const REMOVE: &str = "delete from audit where sequence <= ?1";

/// The audit trail of one database.
pub struct Trail {
    way: Way,
    path: PathBuf,
    /// Reads. Opened when it is first needed, and anew after an error.
    reader: Option<Connection>,
    doubt: Doubt,
}

/// How it is written.
enum Way {
    /// In turns with the recorder.
    Desk(Desk),
    /// Beside a gateway that may run: SQLite's own lock is waited for, for a few seconds. None before the first entry, and after
    /// an error.
    Own(Option<Connection>),
}

impl Trail {
    /// For a command, beside a gateway that may run.
    ///
    /// # Errors
    /// There is no database at `path`; its schema is not the one of this program; the disk.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        settings::check_version(rusqlite::version_number())?;
        // Who only reads needs no more: neither the right to write nor room on the disk.
        let reader = open_reader(path)?;
        schema::check(&reader)?;
        Ok(Self { way: Way::Own(None), path: path.to_owned(), reader: Some(reader), doubt: Doubt::default() })
    }

    pub(super) fn at(desk: Desk, path: PathBuf) -> Self {
        Self { way: Way::Desk(desk), path, reader: None, doubt: Doubt::default() }
    }

    /// What `act` reads, of one moment.
    fn read<T>(&mut self, act: impl FnOnce(Db<'_>) -> Result<T, SqlError>) -> Result<T, StoreError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => open_reader(&self.path)?,
        };
        let moment = reader.unchecked_transaction()?;
        let answer = act(Db::new(&Driver::of(&moment)))?;
        moment.finish()?;
        self.reader = Some(reader);
        Ok(answer)
    }

    /// All of `act` or nothing of it, while nobody else writes.
    fn write(&mut self, act: impl FnOnce(Db<'_>) -> Result<Head, SqlError>) -> Result<Head, StoreError> {
        let Self { way, path, .. } = self;
        match way {
            Way::Desk(desk) => desk.transact(|db| Ok(act(db)?)),
            Way::Own(own) => {
                let mut db = match own.take() {
                    Some(db) => db,
                    None => open_writer(path)?,
                };
                let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let head = act(Db::new(&Driver::of(&transaction)))?;
                transaction.commit()?;
                // Only what ends well is used again.
                *own = Some(db);
                Ok(head)
            }
        }
    }
}

impl audit::Trail for Trail {
    fn append(&mut self, entries: &[Entry]) -> Result<Head, StoreError> {
        let mut doubt = self.doubt;
        let appended = self.write(|db| audit::append(db, entries, &mut doubt));
        self.doubt = doubt;
        let head = appended?;
        self.doubt.end();
        Ok(head)
    }

    fn head(&mut self) -> Result<Head, StoreError> {
        self.read(audit::head)
    }

    fn cut(&mut self, keep: Keep, now: Instant) -> Result<Option<Cut>, StoreError> {
        self.read(|db| audit::cut(db, keep, now))
    }

    fn trim(&mut self, cut: &Cut, now: Instant) -> Result<Head, StoreError> {
        self.write(|db| audit::trim(db, cut, now, REMOVE))
    }

    fn page(&mut self, ask: &Ask) -> Result<Vec<Found>, StoreError> {
        self.read(|db| audit::page(db, ask))
    }
}

/// A connection that writes a database that is there.
fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    settings::prepare_writer(&db)?;
    Ok(db)
}
