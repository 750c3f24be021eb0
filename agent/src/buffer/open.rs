//! Opening the buffer's file, and looking into it from outside while the agent runs.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use proto::{Clock, Ranges};
use rusqlite::{Connection, OpenFlags};

use super::rows::{epochs, ranges};
use super::{Buffer, BufferError, Contents, Settings, explain, is_full};
use crate::seeded::Bug;

/// "TRIB": whose file it is.
const APPLICATION_ID: i64 = 0x5452_4942;
/// The version of `schema.sql`.
const SCHEMA_VERSION: i64 = 1;
/// Before this release, SQLite could lose a WAL reset to a race (fixed in 3.51.3).
const SQLITE_VERSION_MIN: i32 = 3_051_003;
/// Pages in the WAL before it is copied back: 2 MiB at 4 KiB a page.
const CHECKPOINT_PAGES: i64 = 512;

impl Buffer {
    /// Opens the file, or makes it. Settings that durability rests on are set and then read back.
    ///
    /// # Errors
    /// With what is wrong and what to do: folder missing, disk full, file of a newer agent, another agent's lock.
    pub fn open(settings: Settings, clock: Clock) -> Result<Self, BufferError> {
        let path = settings.path.clone();
        let lock = lock(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(|error| cannot_open(error, &path))?;
        check_whose(&connection, &path)?;
        set_up(&connection, &path)?;
        migrate(&connection).map_err(|error| cannot_open(error, &path))?;
        // The newest row is never evicted while there are batches, so rows only grow; epochs' bases cover the rest.
        let query =
            "select max(coalesce((select max(row) from batch), 0), coalesce((select max(last) from settled), 0),
            coalesce((select max(base) from epoch), 0))";
        let last_row: i64 = connection.query_row(query, [], |row| row.get(0))?;
        // Epochs before the oldest batch's have nothing left. One in the middle stays: its rows are its own.
        let query = "delete from epoch where base <
            (select max(base) from epoch where base < coalesce((select min(row) from batch), 1 << 62))";
        connection.execute(query, [])?;
        let next_row = last_row.cast_unsigned() + 1;
        Ok(Self {
            connection,
            _lock: lock,
            settings,
            clock,
            epoch: None,
            next_row,
            marks: Ranges::new(),
            untold: Ranges::new(),
            appends: 0,
        })
    }
}

/// Takes the lock beside the file, so that two agents cannot send one buffer's batches.
fn lock(path: &Path) -> Result<File, BufferError> {
    let unopened = |error: std::io::Error| cannot_open(rusqlite::Error::ToSqlConversionFailure(error.into()), path);
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = File::options().create(true).append(true).open(PathBuf::from(beside)).map_err(unopened)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BufferError::InUse { path: path.into() }),
        Err(TryLockError::Error(error)) => Err(unopened(error)),
    }
}

fn cannot_open(error: rusqlite::Error, path: &Path) -> BufferError {
    if is_full(&error, path) { explain(error, path) } else { BufferError::Open { path: path.into(), source: error } }
}

fn check_whose(connection: &Connection, path: &Path) -> Result<(), BufferError> {
    let read = |pragma| {
        let value = connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        value.map_err(|error| cannot_open(error, path))
    };
    let (id, version) = (read("application_id")?, read("user_version")?);
    let tables = connection.query_row("select count(*) from sqlite_schema", [], |row| row.get::<_, i64>(0));
    let tables = tables.map_err(|error| cannot_open(error, path))?;
    // A power cut in the first start can leave a database in WAL mode that is still empty and unsigned: it is ours to make.
    if id != APPLICATION_ID && (id != 0 || tables > 0) {
        return Err(BufferError::Foreign { path: path.into(), found: id });
    }
    if version > SCHEMA_VERSION {
        return Err(BufferError::Newer { path: path.into(), found: version, known: SCHEMA_VERSION });
    }
    Ok(())
}

/// Sets what durability and memory rest on, and reads it back: builds of SQLite differ in their defaults.
fn set_up(connection: &Connection, path: &Path) -> Result<(), BufferError> {
    let wrong = |setting, found: String, wanted: &str| {
        let wanted = wanted.to_owned();
        Err(BufferError::Setting { path: path.into(), setting, found, wanted })
    };
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return wrong("SQLite's version", rusqlite::version().to_owned(), "3.51.3 or later");
    }
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let synchronous = match () {
        () if Bug::SynchronousOff.is_on() => ("synchronous", "off", "0"),
        () if Bug::SynchronousNormal.is_on() => ("synchronous", "normal", "1"),
        () => ("synchronous", "full", "2"),
    };
    let pragmas: [(&'static str, &str, &str); 7] = [
        ("journal_mode", "wal", "wal"),
        synchronous,
        ("foreign_keys", "on", "1"),
        ("wal_autocheckpoint", &CHECKPOINT_PAGES.to_string(), &CHECKPOINT_PAGES.to_string()),
        ("journal_size_limit", "4194304", "4194304"),
        ("cache_size", "-256", "-256"), // KiB: the agent is small
        ("mmap_size", "0", "0"),
    ];
    for (pragma, value, wanted) in pragmas {
        connection.execute_batch(&format!("pragma {pragma} = {value}")).map_err(|error| cannot_open(error, path))?;
        let found =
            connection.query_row(&format!("pragma {pragma}"), [], |row| row.get::<_, rusqlite::types::Value>(0));
        let found = match found {
            Ok(rusqlite::types::Value::Text(text)) => text,
            Ok(rusqlite::types::Value::Integer(number)) => number.to_string(),
            // A build without memory mapping answers nothing to mmap_size, which is as good as 0.
            _ => wanted.to_owned(),
        };
        if found != wanted {
            return wrong(pragma, found, wanted);
        }
    }
    Ok(())
}

fn migrate(connection: &Connection) -> Result<(), rusqlite::Error> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        let schema = include_str!("schema.sql");
        connection.execute_batch(&format!(
            "begin immediate; {schema} pragma application_id = {APPLICATION_ID}; pragma user_version = {SCHEMA_VERSION}; commit;"
        ))?;
    }
    Ok(())
}

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
        check_whose(&connection, path)?;
        Ok(Self { connection, path: path.into() })
    }

    /// What is held and what is settled.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn contents(&self) -> Result<Contents, BufferError> {
        let held = "select min(row), max(row) from
            (select row, row - row_number() over (order by row) as run from batch) group by run order by 1";
        let held = ranges(&self.connection, held)?;
        let settled = ranges(&self.connection, "select first, last from settled order by first")?;
        Ok(Contents { held, settled, epochs: epochs(&self.connection)?, ..Contents::default() })
    }

    /// Counts since the file was made, and what there is now: readings, bytes.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn tallies(&self) -> Result<HashMap<String, u64>, BufferError> {
        let query =
            "select name, count from tally union all select 'held readings', coalesce(sum(readings), 0) from batch
            union all select 'gaps', count(*) from gap";
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
