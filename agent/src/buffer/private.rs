//! The buffer holds what concerns people: its files are for their owner alone, whatever the umask.
//!
//! A file is private from its first byte on, and SQLite gives those beside a database the same permission bits. One that
//! was made otherwise is narrowed each time that the buffer is opened, so that it does not matter when the power goes.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The permission bits of what is made here.
const MODE: u32 = 0o600;
/// Those of everybody else.
const OTHERS: u32 = 0o077;

/// To make a file with.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(MODE);
    options
}

/// Makes an empty database where there is none: SQLite would go by the umask.
pub(super) fn make(path: &Path) -> io::Result<()> {
    match options().create_new(true).write(true).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Takes the rights of all but the owner from the buffer at `path` and from what the agent makes beside it: its log, its
/// reserve, and what was found damaged. Readings go on where that cannot be.
pub(super) fn narrow(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(name) = path.file_name() else { return };
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_of(name, &file.file_name())
            && let Ok(about) = file.metadata() // of a link itself, which is left alone
            && about.is_file()
            && about.permissions().mode() & OTHERS != 0
        {
            let file = file.path();
            let narrowed = fs::set_permissions(&file, Permissions::from_mode(about.permissions().mode() & !OTHERS));
            match narrowed {
                Ok(()) => {
                    tracing::info!(file = %file.display(), "others could read the buffer; now its owner alone can");
                }
                Err(error) => {
                    tracing::warn!(file = %file.display(), %error, "others can read the buffer; run `chmod 600` on it");
                }
            }
        }
    }
}

/// Whether `file` is the buffer called `name`, or one that this agent makes beside it.
fn is_of(name: &OsStr, file: &OsStr) -> bool {
    let ending = file.to_str().zip(name.to_str()).and_then(|(file, name)| file.strip_prefix(name));
    ending.is_some_and(|ending| {
        ["", "-wal", "-shm", ".lock", ".reserve"].contains(&ending)
            || [".salvag", ".damaged-"].iter().any(|made| ending.starts_with(made))
    })
}
