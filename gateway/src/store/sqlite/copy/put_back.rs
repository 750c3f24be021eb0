//! A copy in the place of the database, and what was there kept beside it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use certs::owner;
use rusqlite::Connection;

use super::{Copied, CopyError, Part, beside, copy, failed};
use crate::store::sqlite::{schema, settings};

/// Databases that were replaced, at most: somebody is to look at them, and throw them away.
const ASIDE_MAX: u32 = 100;

/// What was put back.
#[derive(Debug)]
pub struct PutBack {
    /// The copy.
    pub copied: Copied,
    /// What was in its place, if there was something.
    pub aside: Option<PathBuf>,
}

/// Puts a copy of the copy `from` where the database `to` is, or was. What is there is kept beside it, with its WAL: another
/// database's WAL beside the copy would be taken for its own. No gateway runs meanwhile.
///
/// # Errors
/// A gateway runs; `from` is damaged, or of a newer gateway; `until` is over; the disk. Then nothing was put anywhere, unless
/// it was the disk.
pub fn put_back(from: &Path, to: &Path, until: Instant) -> Result<PutBack, CopyError> {
    // Held until all is in its place.
    let _lock = settings::lock(to)?;
    let part = Part::new(to)?;
    let copied = copy(from, &part.0, until)?;
    // Commands beside a gateway want the newest schema, and may come before it.
    schema::migrate(&mut Connection::open(&part.0)?)?;
    give_to_owner(to, &part.0)?;
    let aside = set_aside(to)?;
    part.become_instead_of(to)?;
    Ok(PutBack { copied, aside })
}

/// The gateway's own user is to have it, and the lock, whoever does this.
fn give_to_owner(of: &Path, part: &Path) -> Result<(), CopyError> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    owner::give_at(part, &[of, folder])?;
    Ok(owner::give_at(&beside(of, ".lock"), &[of, folder])?)
}

/// Gives what is at `of` another name as well, and its WAL only that one. There is a database at `of` all the while.
fn set_aside(of: &Path) -> Result<Option<PathBuf>, CopyError> {
    if !of.exists() {
        // A WAL whose database was removed is nobody's any more.
        return remove_log(of).map(|()| None);
    }
    let names = (1..=ASIDE_MAX).map(|number| beside(of, &format!(".replaced-{number}")));
    let aside = names.into_iter().find(|name| !name.exists() && !beside(name, "-wal").exists());
    let aside = aside.ok_or_else(|| CopyError::Exists(beside(of, &format!(".replaced-{ASIDE_MAX}"))))?;
    fs::hard_link(of, &aside).map_err(|source| failed("keep aside", of, source))?;
    let wal = beside(of, "-wal");
    match fs::rename(&wal, beside(&aside, "-wal")) {
        Err(source) if source.kind() != ErrorKind::NotFound => return Err(failed("keep aside", &wal, source)),
        _ => {}
    }
    remove_log(of)?;
    Ok(Some(aside))
}

fn remove_log(of: &Path) -> Result<(), CopyError> {
    for path in ["-wal", "-shm"].map(|ending| beside(of, ending)) {
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => return Err(failed("remove", &path, source)),
            _ => {}
        }
    }
    Ok(())
}
