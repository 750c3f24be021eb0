//! The stores that the gateway's numbers are taken on, as far as they are there.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// A store that a gateway can be started on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// The gateway's own file.
    Sqlite,
}

impl Store {
    /// Every store that the design names, by what its measures end with: to be had, or why not.
    #[must_use]
    pub(crate) fn all() -> Vec<(&'static str, Result<Self, &'static str>)> {
        let not_yet = Err("this gateway has no such store yet");
        vec![("sqlite", Ok(Self::Sqlite)), ("postgres", not_yet), ("timescale", not_yet)]
    }

    /// What is added to the table `[store]` of the gateway's configuration.
    #[must_use]
    pub(crate) fn config(self) -> String {
        match self {
            Self::Sqlite => String::new(),
        }
    }

    /// The processes of a server of its own, whose processor time counts.
    #[must_use]
    pub(crate) fn processes(self) -> Vec<u32> {
        match self {
            Self::Sqlite => Vec::new(),
        }
    }

    /// What keeps a commit through a power cut, as read back from the store at `database`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn settings(self, database: &Path) -> anyhow::Result<String> {
        match self {
            Self::Sqlite => {
                let db = read(database)?;
                let journal: String = db.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
                anyhow::ensure!(journal == "wal", "journal_mode is {journal}");
                Ok(format!(
                    "journal_mode={journal}; synchronous=FULL, which the gateway sets and asks for at its start"
                ))
            }
        }
    }

    /// How many readings are in it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn rows(self, database: &Path) -> anyhow::Result<usize> {
        match self {
            Self::Sqlite => {
                let rows: i64 = read(database)?.query_row("select count(*) from reading", [], |row| row.get(0))?;
                Ok(usize::try_from(rows)?)
            }
        }
    }
}

fn read(database: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
}
