//! A copy of the database while a gateway writes it, and a copy put back in its place.
//!
//! All pages of a copy are of one moment: the connection that reads them keeps one transaction open, so nobody who writes
//! waits for it, and nothing that is written meanwhile makes it begin again. Until it ends, the WAL grows by what is written.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{schema, settings};
use crate::store::error::StoreError;

mod put_back;

pub use put_back::{PutBack, put_back};

/// Pages between two looks at the clock: 400 KiB.
const PAGES: i32 = 100;
/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 100_000;
/// How long a copy waits for a lock, which nobody holds for long: a millisecond and again.
const LOCKED: std::time::Duration = std::time::Duration::from_millis(1);

/// Why there is no copy, or why it is not put back.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It would be closed to whom it is for.
    #[error(transparent)]
    Owner(#[from] certs::files::FileError),
    /// A copy replaces no other.
    #[error("{} is there already, and no copy replaces another; name a file that is not", _0.display())]
    Exists(PathBuf),
    /// It was never written by a gateway.
    #[error("{} is no gateway's database", _0.display())]
    Foreign(PathBuf),
    /// What was copied is not whole.
    #[error("{} is damaged: {found}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// The first thing that is wrong.
        found: String,
    },
    /// The deadline is over.
    #[error("not done within the time it was given; --minutes gives it more")]
    Late,
}

impl From<rusqlite::Error> for CopyError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::OperationInterrupted) => Self::Late,
            _ => Self::Store(error.into()),
        }
    }
}

/// What a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// How large it is.
    pub bytes: u64,
    /// When the last message that it knows of arrived, in microseconds since the Unix epoch; none: there was none.
    pub newest_us: Option<i64>,
}

/// Copies the database at `from` to the new file `to`, for its owner alone, whether a gateway writes it or not. When this
/// returns, the copy is whole, checked, and on the disk.
///
/// # Errors
/// There is something at `to`; there is no gateway's database at `from`, or it is damaged; `until` is over; the disk.
pub fn back_up(from: &Path, to: &Path, until: Instant) -> Result<Copied, CopyError> {
    if to.exists() {
        return Err(CopyError::Exists(to.to_owned()));
    }
    let part = Part::new(to)?;
    let copied = copy(from, &part.0, until)?;
    part.become_new(to)?;
    Ok(copied)
}

/// A file that is gone again unless it becomes what it is to be.
struct Part(PathBuf);

impl Part {
    /// A new file beside `of`, for its owner alone.
    fn new(of: &Path) -> Result<Self, CopyError> {
        let path = beside(of, &format!(".{}.part", std::process::id()));
        let made = settings::new_private(&path);
        made.map_err(|source| failed("make", &path, source))?;
        Ok(Self(path))
    }

    /// Takes the name `to`, which nothing else has.
    fn become_new(self, to: &Path) -> Result<(), CopyError> {
        match renameat_with(CWD, &self.0, CWD, to, RenameFlags::NOREPLACE).map_err(std::io::Error::from) {
            Ok(()) => sync_folder(to),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(CopyError::Exists(to.to_owned())),
            Err(source) => Err(failed("make", to, source)),
        }
    }

    /// Takes the name `to` from whatever has it.
    fn become_instead_of(self, to: &Path) -> Result<(), CopyError> {
        fs::rename(&self.0, to).map_err(|source| failed("replace", to, source))?;
        sync_folder(to)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It has another name by now, or is of no use to anybody.
        for ending in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(beside(&self.0, ending));
        }
    }
}

/// Copies all pages of `from` into the empty file `to`, checks them there, and has them on the disk.
fn copy(from: &Path, to: &Path, until: Instant) -> Result<Copied, CopyError> {
    let source = one_moment(from)?;
    let mut target = Connection::open(to)?;
    copy_pages(&source, &mut target, || if Instant::now() < until { Ok(()) } else { Err(CopyError::Late) })?;
    drop(source);
    // One file without a log beside it, that may be read where nothing may be written; a gateway makes it a WAL again.
    target.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    check(&mut target, from, until)?;
    let newest_us = target.query_row("select max(last_seen_us) from device", [], |row| row.get(0))?;
    target.close().map_err(|(_, error)| error)?;
    let file = File::open(to).map_err(|source| failed("open", to, source))?;
    let bytes = file.sync_all().and_then(|()| file.metadata()).map_err(|source| failed("sync", to, source))?.len();
    Ok(Copied { bytes, newest_us })
}

/// A gateway's database as it is now, whatever is written from now on.
fn one_moment(path: &Path) -> Result<Connection, CopyError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(path, flags)
        .map_err(|error| StoreError::Unfit(format!("cannot open {}: {error}", path.display())))?;
    settings::prepare_reader(&source)?;
    // From the first question on, all that is read is of one moment.
    source.execute_batch("begin")?;
    if schema::version(&source)? == 0 {
        return Err(CopyError::Foreign(path.to_owned()));
    }
    Ok(source)
}

/// Copies all pages; `look` is asked before each part whether to go on.
fn copy_pages(
    source: &Connection,
    target: &mut Connection,
    mut look: impl FnMut() -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    let backup = Backup::new(source, target)?;
    loop {
        look()?;
        match backup.step(PAGES)? {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ => std::thread::sleep(LOCKED),
        }
    }
}

/// Fails unless `copy`, of `from`, is whole.
fn check(copy: &mut Connection, from: &Path, until: Instant) -> Result<(), CopyError> {
    copy.progress_handler(STEPS, Some(move || Instant::now() >= until))?;
    let found: String = copy.query_row("pragma quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(CopyError::Damaged { path: from.to_owned(), found }) }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn sync_folder(of: &Path) -> Result<(), CopyError> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| failed("sync", folder, source))
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> CopyError {
    CopyError::File { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_between_two_parts_neither_is_in_the_copy_nor_makes_it_begin_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.db");
        drop(super::super::Store::open(&path, || proto::Instant(0)).unwrap());
        let writer = Connection::open(&path).unwrap();
        let write = || writer.execute("insert into ballast values (randomblob(4000))", []).unwrap();
        writer.execute_batch("create table ballast (bytes blob); begin").unwrap();
        for _ in 0..500 {
            write();
        }
        writer.execute_batch("commit").unwrap();
        let (source, mut target) = (one_moment(&path).unwrap(), Connection::open_in_memory().unwrap());
        let mut looks = 0;
        let look = || {
            write();
            looks += 1;
            if looks < 50 { Ok(()) } else { Err(CopyError::Late) }
        };
        copy_pages(&source, &mut target, look).unwrap();
        assert!(looks > 4, "it was copied in {looks} parts");
        assert_eq!(target.query_row("select count(*) from ballast", [], |row| row.get(0)), Ok(500));
    }
}
