//! Opening the buffer's file.

use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::path::Path;

use proto::Clock;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::{self, beside, explain, is_full};
use super::marks::Marks;
use super::reserve::Reserve;
use super::rows::{count_epochs, write_clock, write_epoch};
use super::salvage::Living;
use super::upkeep::Upkeep;
use super::wal::{self, Log};
use super::{Append, Buffer, BufferError, Left, Settings, cursors, private, salvage, sums};
use crate::seeded::Bug;

/// "TRIB": whose file it is.
const APPLICATION_ID: i64 = 0x5452_4942;
/// Each makes the version of its place out of the one before.
const MIGRATIONS: [&str; 3] = [include_str!("1_first.sql"), include_str!("2_proof.sql"), include_str!("3_sums.sql")];
const SCHEMA_VERSION: i64 = 3;
/// The version whose rows have sums, which SQL alone cannot write.
const SUMS_VERSION: usize = 3;
/// Before this release, SQLite could lose a WAL reset to a race (fixed in 3.51.3).
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// Files up to this are checked from end to end at each start; that takes a fraction of a second. A larger one is not, so
/// that a start never waits for a slow disk: damage in it shows when it is met, by SQLite's own checks or a batch's hash.
const CHECK_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// How long a salvage that found no room waits before it tries again.
const SALVAGE_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

impl Buffer {
    /// Opens the file, or makes it. Settings that durability rests on are set and then read back. A damaged file is set
    /// aside, and what is readable of it is kept.
    ///
    /// # Errors
    /// With what is wrong and what to do: folder missing, disk full, file of a newer agent, another agent's lock.
    pub fn open(settings: Settings, clock: Clock) -> Result<Self, BufferError> {
        let path = settings.path.clone();
        let lock = lock(&path)?;
        private::narrow(&path);
        salvage::finish(&path).map_err(|error| unopened(error, &path))?;
        let mut reserve = Reserve::new(&path, settings.reserve_bytes());
        let log = wal::mend(&path).map_err(|error| unopened(error, &path))?;
        let check = log != Log::Whole || fs::metadata(&path).is_ok_and(|file| file.len() <= CHECK_BYTES_MAX);
        let mut opened = checked(&settings, check);
        if matches!(opened, Err(BufferError::DiskFull { .. })) {
            reserve.let_go();
            opened = checked(&settings, check);
        }
        let (connection, damaged) = match opened {
            Err(error) if is_damaged(&error, &path) => {
                let mut salvaged = salvage::salvage(&settings, None, &error);
                if matches!(salvaged, Err(BufferError::DiskFull { .. })) {
                    reserve.let_go();
                    salvaged = salvage::salvage(&settings, None, &error);
                }
                let salvaged = salvaged?;
                (connect(&settings)?, salvaged.may_lack)
            }
            opened => (opened?, false),
        };
        let next_row = next_row(&connection)?;
        reserve.keep();
        let mut buffer = Self {
            page_bytes: connection.pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))?.cast_unsigned(),
            upkeep: Upkeep::read(&connection)?,
            connection,
            _lock: lock,
            settings,
            clock,
            epoch: None,
            next_row,
            marks: Marks::default(),
            untold: Left::default(),
            lacking: damaged || log == Log::Short,
            appends: 0,
            reserve,
            no_room_since: None,
            expiring: true,
            normal_from: 0,
        };
        buffer.sound(|buffer| super::contents(&buffer.connection).map(drop))?; // what no check found shows here
        if buffer.lacking {
            buffer.append(&Append::default())?;
        }
        Ok(buffer)
    }

    /// Salvages the file that `error` showed to be damaged, and goes on with what is readable.
    pub(super) fn recover(&mut self, error: &rusqlite::Error) -> Result<(), BufferError> {
        // A salvage that found no room wrote the disk full: not again at once, for flash wears.
        if self.no_room_since.is_some_and(|since| since.elapsed() < SALVAGE_EVERY) {
            return Err(BufferError::Damaged { path: self.settings.path.clone() });
        }
        // The file must be closed before it is moved.
        self.connection = Connection::open_in_memory()?;
        let living = Living { next_row: self.next_row, epoch: self.epoch, clock: self.clock };
        let salvaged = match salvage::salvage(&self.settings, Some(living), error) {
            Err(BufferError::DiskFull { .. }) => {
                self.reserve.let_go();
                salvage::salvage(&self.settings, Some(living), error)
            }
            salvaged => salvaged,
        };
        let is_full = matches!(salvaged, Err(BufferError::DiskFull { .. }));
        self.no_room_since = is_full.then(std::time::Instant::now);
        let salvaged = salvaged?;
        self.resume()?;
        self.lacking |= salvaged.may_lack;
        self.untold.evicted.extend(salvaged.lost.iter());
        self.untold.gaps.extend(salvaged.lost.iter());
        Ok(())
    }

    /// Opens the file again after it was closed to be salvaged.
    pub(super) fn resume(&mut self) -> Result<(), BufferError> {
        salvage::finish(&self.settings.path).map_err(|error| unopened(error, &self.settings.path))?;
        self.connection = connect(&self.settings)?;
        self.normal_from = 0;
        if let Some(span) = self.epoch {
            write_epoch(&self.connection, &span)?;
            count_epochs(&self.connection)?;
        }
        write_clock(&self.connection, &self.clock)?;
        Ok(())
    }

    /// Whether the file is open; it is not after a salvage that failed.
    pub(super) fn is_open(&self) -> bool {
        self.connection.path().is_some_and(|path| !path.is_empty())
    }
}

/// The row after all that were ever used. The counter knows of those that left; an epoch has used its first row.
fn next_row(connection: &Connection) -> Result<u64, rusqlite::Error> {
    let query = "select max(coalesce((select max(row) from batch), 0), coalesce((select max(last) from settled), 0),
        coalesce((select max(last_row) from gap), 0), coalesce((select value from counter where name = 'last row'), 0),
        coalesce((select max(base) + 1 from epoch), 0))";
    let last: i64 = connection.query_row(query, [], |row| row.get(0))?;
    Ok(last.cast_unsigned() + 1)
}

/// Forgets epochs before the oldest batch's and the oldest untold gap's: they have nothing left. One in the middle stays,
/// because its rows are its own.
fn forget_epochs(connection: &Connection) -> Result<(), rusqlite::Error> {
    let query = "delete from epoch where base < (select max(base) from epoch where base <
        min(coalesce((select min(row) from batch), 1 << 62),
            coalesce((select min(first_row) from gap where confirmed = 0), 1 << 62)))";
    let transaction = connection.unchecked_transaction()?;
    if transaction.execute(query, [])? > 0 {
        count_epochs(&transaction)?;
    }
    transaction.commit()
}

/// An open file that passed the checks: those of its head and its small tables always, of all its pages and indexes if
/// `check`. Forgets in it what is over.
fn checked(settings: &Settings, check: bool) -> Result<Connection, BufferError> {
    let connection = connect(settings)?;
    let checks: &[&str] = if check { &["1"] } else { &["epoch", "boot", "settled", "cursor", "gap", "counter"] };
    for check in checks {
        let found: String = connection.query_row(&format!("pragma integrity_check({check})"), [], |row| row.get(0))?;
        if found != "ok" {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(rusqlite::Error::SqliteFailure(code, Some(found)).into());
        }
    }
    sums::verify(&connection)?;
    forget_epochs(&connection)?;
    cursors::name_all(&connection)?;
    Ok(connection)
}

/// Opens the file as it is, makes its tables, and states its settings.
pub(super) fn connect(settings: &Settings) -> Result<Connection, BufferError> {
    let path = &settings.path;
    private::make(path).map_err(|error| unopened(error, path))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| cannot_open(error, path))?;
    check_whose(&connection, path)?;
    set_up(&connection, settings)?;
    migrate(&connection).map_err(|error| cannot_open(error, path))?;
    Ok(connection)
}

/// Whether `error` says that a file of ours is damaged. Another's file is never touched.
fn is_damaged(error: &BufferError, path: &Path) -> bool {
    let ours = || Reserve::was_here(path) || has_our_mark(path);
    match error {
        // A version number that is too low makes us make what is there already.
        BufferError::Open { source, .. } if is_of_the_statement(source) => match schema(path) {
            Ok(schema) => is_ours(&schema),
            // Not even that can be read: its head says that it is of a format that SQLite does not know.
            Err(_) => ours(),
        },
        BufferError::Open { source, .. } | BufferError::Sqlite(source) => error::is_damage(source) && ours(),
        BufferError::Foreign { .. } => Reserve::was_here(path) || schema(path).is_ok_and(|schema| is_ours(&schema)),
        _ => false,
    }
}

/// Whether the file has our application id where SQLite keeps it, at byte 68.
fn has_our_mark(path: &Path) -> bool {
    let mut head = [0; 72];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && i64::from(u32::from_be_bytes([head[68], head[69], head[70], head[71]])) == APPLICATION_ID
}

fn is_of_the_statement(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqlInputError { .. }) || error.sqlite_error_code() == Some(ErrorCode::Unknown)
}

/// Whether tables are just what this version makes: then the file's mark is what is damaged, or a version number that is
/// too low. One that is too high may be a newer program's, and is left alone.
fn is_ours(found: &str) -> bool {
    let made = Connection::open_in_memory().and_then(|fresh| migrate(&fresh).and_then(|()| schema_of(&fresh)));
    made.is_ok_and(|made| made == found)
}

fn schema(path: &Path) -> rusqlite::Result<String> {
    schema_of(&Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?)
}

fn schema_of(connection: &Connection) -> rusqlite::Result<String> {
    let sql = "select group_concat(sql, ';') from (select sql from sqlite_schema where sql is not null order by name)";
    connection.query_row(sql, [], |row| row.get(0))
}

fn unopened(error: std::io::Error, path: &Path) -> BufferError {
    cannot_open(rusqlite::Error::ToSqlConversionFailure(error.into()), path)
}

/// Takes the lock beside the file, so that two agents cannot send one buffer's batches.
fn lock(path: &Path) -> Result<File, BufferError> {
    let unopened = |error| unopened(error, path);
    let file = private::options().create(true).append(true).open(beside(path, ".lock")).map_err(unopened)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BufferError::InUse { path: path.into() }),
        Err(TryLockError::Error(error)) => Err(unopened(error)),
    }
}

pub(super) fn cannot_open(error: rusqlite::Error, path: &Path) -> BufferError {
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
fn set_up(connection: &Connection, settings: &Settings) -> Result<(), BufferError> {
    let (path, checkpoint_pages) = (&settings.path, settings.checkpoint_pages().to_string());
    let wrong = |setting, found: String, wanted: &str| {
        let wanted = wanted.to_owned();
        Err(BufferError::Setting { path: path.clone(), setting, found, wanted })
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
        ("wal_autocheckpoint", &checkpoint_pages, &checkpoint_pages),
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
    let done = usize::try_from(version).unwrap_or(0);
    for (place, migration) in MIGRATIONS.iter().enumerate().skip(done) {
        let version = place + 1;
        let made = connection.execute_batch(&format!("begin immediate; {migration}")).and_then(|()| {
            if version == SUMS_VERSION {
                sums::write(connection)?;
            }
            let signed = format!("pragma application_id = {APPLICATION_ID}; pragma user_version = {version}; commit;");
            connection.execute_batch(&signed)
        });
        if made.is_err() && !connection.is_autocommit() {
            connection.execute_batch("rollback")?;
        }
        made?;
    }
    Ok(())
}

/// Whether a reader finds in the file what this version puts there.
pub(super) fn check_readable(connection: &Connection, path: &Path) -> Result<(), BufferError> {
    check_whose(connection, path)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found < SCHEMA_VERSION {
        return Err(BufferError::Older { path: path.into(), found, known: SCHEMA_VERSION });
    }
    Ok(())
}
