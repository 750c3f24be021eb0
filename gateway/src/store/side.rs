//! A connection beside the writer's, for rows that are no readings and that commands write too: who may enrol, what was
//! issued. Short transactions, few of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::audit;
use super::error::StoreError;
use super::postgres;
use super::sql::Db;
use super::sqlite;
use crate::audit::entry::Entry;

/// How long a statement waits for a lock, or for a server's answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The way to one database, opened when it is first needed and anew after an error.
pub enum Side {
    /// A file that a gateway has made.
    Sqlite(PathBuf, Option<Connection>),
    /// A server that was migrated.
    Postgres(Box<postgres::Side>),
}

impl Side {
    /// Of the SQLite file at `path`.
    #[must_use]
    pub fn sqlite(path: &Path) -> Self {
        Self::Sqlite(path.to_owned(), None)
    }

    /// Of the server that `settings` name.
    #[must_use]
    pub fn postgres(settings: postgres::Settings) -> Self {
        Self::Postgres(Box::new(postgres::Side::new(settings)))
    }

    /// All of `act`, durably, or nothing of it.
    ///
    /// # Errors
    /// The database cannot be reached or written, or is not of this program's version; or what `act` says.
    pub(crate) fn transact<T, E: From<StoreError>>(
        &mut self,
        act: impl FnOnce(Db<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.within(TransactionBehavior::Immediate, act)
    }

    /// All of `act`, and `entries` at the end of the audit trail; or nothing of either.
    ///
    /// # Errors
    /// As [`Side::transact`]; or the trail takes nothing.
    pub(crate) fn transact_audited<T, E: From<StoreError>>(
        &mut self,
        entries: &[Entry],
        act: impl FnOnce(Db<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let is_shared = matches!(self, Self::Postgres(_));
        self.transact(|db| {
            let answer = act(db)?;
            if entries.is_empty() {
                return Ok(answer);
            }
            // Last, so that others who append wait for nothing else.
            if is_shared {
                postgres::take_turn(db).map_err(StoreError::from)?;
            }
            audit::append(db, entries, &mut audit::Doubt::default()).map_err(StoreError::from)?;
            Ok(answer)
        })
    }

    /// One moment's view for `act`, which only reads: it waits for nobody who writes, however busy they are.
    ///
    /// # Errors
    /// As [`Side::transact`].
    pub(crate) fn look<T, E: From<StoreError>>(&mut self, act: impl FnOnce(Db<'_>) -> Result<T, E>) -> Result<T, E> {
        self.within(TransactionBehavior::Deferred, act)
    }

    fn within<T, E: From<StoreError>>(
        &mut self,
        behavior: TransactionBehavior,
        act: impl FnOnce(Db<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Sqlite(path, kept) => {
                // Only what ends well is used again.
                let mut db = match kept.take() {
                    Some(db) => db,
                    None => open(path)?,
                };
                let transaction = db.transaction_with_behavior(behavior).map_err(StoreError::from)?;
                let answer = act(Db::new(&sqlite::Driver::of(&transaction)))?;
                transaction.commit().map_err(StoreError::from)?;
                *kept = Some(db);
                Ok(answer)
            }
            Self::Postgres(side) => side.transact(act),
        }
    }
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(|source| {
        let path = path.display();
        StoreError::Unfit(format!("cannot open {path}: {source}; a gateway makes it when it is started"))
    })?;
    sqlite::prepare_side(&db, PATIENCE)?;
    Ok(db)
}
