//! The buffer seen from outside while the agent runs.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::open::{cannot_open, check_readable};
use super::{BufferError, Contents, contents};

/// The buffer seen from another process: read only, whether the agent runs or not.
pub struct Access {
    connection: Connection,
    path: PathBuf,
}

/// A batch in a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its row.
    pub row: u64,
    /// Which queue it leaves by.
    pub lane: &'static str,
    /// How many readings it holds.
    pub readings: u64,
    /// Its length.
    pub bytes: u64,
}

/// A rejected piece of input.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Which source rejected it.
    pub source: String,
    /// Where it was.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Access {
    /// Opens the file for reading.
    ///
    /// # Errors
    /// When it is not there, or not a buffer that this agent knows.
    pub fn open(path: &Path) -> Result<Self, BufferError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| cannot_open(error, path))?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        check_readable(&connection, path)?;
        Ok(Self { connection, path: path.into() })
    }

    /// What is held and what is settled.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn contents(&self) -> Result<Contents, BufferError> {
        Ok(contents(&self.connection)?)
    }

    /// Counts since the file was made, and what there is now: readings, bytes.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn tallies(&self) -> Result<HashMap<String, u64>, BufferError> {
        let query =
            "select name, count from tally union all select 'held readings', coalesce(sum(readings), 0) from batch
            union all select 'gaps', count(*) from gap
            union all select 'gaps untold', count(*) from gap where confirmed = 0
            union all select 'set aside', count(*) from aside
            union all select 'cursors lost', count(*) from resumed where source not in (select source from cursor)";
        let mut statement = self.connection.prepare(query)?;
        let tallies = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
        let mut tallies: HashMap<String, u64> = tallies.collect::<Result<_, _>>()?;
        tallies.insert("file bytes".to_owned(), fs::metadata(&self.path).map_or(0, |file| file.len()));
        Ok(tallies)
    }

    /// At most `limit` batches, newest first.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn list(&self, limit: u32) -> Result<Vec<Listed>, BufferError> {
        let query = "select row, lane, readings, length(body) from batch order by row desc limit ?";
        let mut statement = self.connection.prepare(query)?;
        let listed = statement.query_map([limit], |row| {
            Ok(Listed {
                row: row.get::<_, i64>(0)?.cast_unsigned(),
                lane: if row.get::<_, i64>(1)? == 0 { "live" } else { "backfill" },
                readings: row.get::<_, i64>(2)?.cast_unsigned(),
                bytes: row.get::<_, i64>(3)?.cast_unsigned(),
            })
        })?;
        Ok(listed.collect::<Result<_, _>>()?)
    }

    /// The sealed bytes of one batch.
    ///
    /// # Errors
    /// When there is no such batch, or SQLite fails.
    pub fn body(&self, row: u64) -> Result<Vec<u8>, BufferError> {
        Ok(self.connection.query_row("select body from batch where row = ?", [row.cast_signed()], |row| row.get(0))?)
    }

    /// At most `limit` rejected pieces of input, newest first.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn rejected(&self, limit: u32) -> Result<Vec<Rejected>, BufferError> {
        let mut statement =
            self.connection.prepare("select source, place, reason from reject order by id desc limit ?")?;
        let rejected = statement
            .query_map([limit], |row| Ok(Rejected { source: row.get(0)?, place: row.get(1)?, reason: row.get(2)? }))?;
        Ok(rejected.collect::<Result<_, _>>()?)
    }
}
