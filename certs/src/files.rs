//! Files that are either whole or not there: bounded reads, and writes that a crash cannot tear.
//!
//! A write goes to a temporary file beside its target, is synced, takes the target's name in one step, and then the
//! folder is synced. Whoever opens the target sees the old bytes or the new ones, after a power cut too. Whose the new file
//! is: see [`owner`].

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};

use crate::owner;

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused; `action` says what was attempted.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The file or folder it was attempted on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that must not be overwritten is already there.
    #[error("{} already exists and is not overwritten; move it away or choose another name", path.display())]
    Exists {
        /// The file that is in the way.
        path: PathBuf,
    },
    /// The path names a folder, a pipe or a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// The file is larger than anything that belongs there.
    #[error("{} is larger than {bytes_max} bytes; is it the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        bytes_max: u64,
    },
    /// It is root's, and would be closed to whom it is for.
    #[error(
        "cannot give {} to user {uid} and group {gid}, for whom it is; run this as that user instead of root",
        path.display()
    )]
    NotGiven {
        /// The file that was to be written.
        path: PathBuf,
        /// Whose it was to be.
        uid: u32,
        /// Of which group.
        gid: u32,
        /// What the system said.
        source: io::Error,
    },
}

/// The whole of a regular file of at most `bytes_max` bytes, and its permission bits as they were when it was opened.
///
/// The bits are those of the file that is read, not of whatever bears its name a moment later. A pipe is refused
/// without waiting for its writer.
pub fn read(path: &Path, bytes_max: u64) -> Result<(Vec<u8>, u32), FileError> {
    let flags = OFlags::NONBLOCK.bits().cast_signed(); // a pipe without a writer would block the open for ever
    let file =
        OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|source| failed("open", path, source))?;
    let metadata = file.metadata().map_err(|source| failed("inspect", path, source))?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile { path: path.into() });
    }
    let room = usize::try_from(metadata.len().min(bytes_max)).unwrap_or(0);
    // All of it at once: a growing buffer would leave copies of a key behind on the heap. One byte of room more, so
    // that the end is found without growing.
    let mut bytes = Vec::with_capacity(room + 1);
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|source| failed("read", path, source))?;
    if bytes.len() as u64 > bytes_max {
        return Err(FileError::TooLarge { path: path.into(), bytes_max });
    }
    Ok((bytes, metadata.permissions().mode() & 0o7777))
}

/// Writes a file that must not exist yet, with exactly the permission bits `mode`, whatever the umask.
///
/// It never has wider bits than `mode`, not even before it has its name. Fails with [`FileError::Exists`] rather than
/// overwriting, also when two processes try at once.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    write(path, bytes, mode, |temporary| match renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::EXIST) => Err(FileError::Exists { path: path.into() }),
        Err(errno) => Err(failed("create", path, errno.into())),
    })
}

/// Writes a file, taking the place of one that is there. Permission bits as for [`create`]; what root writes belongs to
/// whom the file in its place belonged to.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    write(path, bytes, mode, |temporary| fs::rename(temporary, path).map_err(|source| failed("replace", path, source)))
}

/// Removes what an interrupted [`create`] or [`replace`] of `path` left beside it.
///
/// Only for a caller who knows that nobody is writing `path` now, such as the holder of a lock.
pub fn sweep(path: &Path) -> Result<(), FileError> {
    let (folder, prefix) = temporary_prefix(path)?;
    let list = |source| failed("list", &folder, source);
    for entry in fs::read_dir(&folder).map_err(list)? {
        let entry = entry.map_err(list)?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(prefix.as_encoded_bytes()) && name.ends_with(TEMPORARY_SUFFIX.as_bytes()) {
            fs::remove_file(entry.path()).map_err(|source| failed("remove", &entry.path(), source))?;
        }
    }
    Ok(())
}

fn write(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    place: impl FnOnce(&Path) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let (temporary, file) = open_temporary(path, mode)?;
    let placed = owner::give(&file, path, &[path, folder_of(path)])
        .and_then(|()| fill(file, bytes, mode).map_err(|source| failed("write", path, source)))
        .and_then(|()| place(&temporary));
    if let Err(error) = placed {
        // The first error is the one worth telling; a leftover is swept or ignored.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    let folder = folder_of(path);
    // The new name is durable only once its folder is.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| failed("sync", folder, source))
}

fn open_temporary(path: &Path, mode: u32) -> Result<(PathBuf, File), FileError> {
    let (folder, prefix) = temporary_prefix(path)?;
    let mut last = None;
    for attempt in 0..TEMPORARY_NAMES_MAX {
        let mut name = prefix.clone();
        name.push(format!("{}-{attempt}{TEMPORARY_SUFFIX}", std::process::id()));
        let temporary = folder.join(name);
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            // Another thread is writing the same file, or a process that had our number died while it did.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => last = Some(error),
            Err(source) => return Err(failed("create a temporary file beside", path, source)),
        }
    }
    let source = last.unwrap_or_else(|| ErrorKind::AlreadyExists.into());
    Err(failed("create a temporary file beside", path, source))
}

fn fill(mut file: File, bytes: &[u8], mode: u32) -> io::Result<()> {
    // A umask can only have taken bits away; here the owner gets back what `mode` grants.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn temporary_prefix(path: &Path) -> Result<(PathBuf, OsString), FileError> {
    let name = path.file_name().ok_or_else(|| FileError::NotAFile { path: path.into() })?;
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    Ok((folder_of(path).into(), prefix))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> FileError {
    FileError::Io { action, path: path.into(), source }
}

const TEMPORARY_SUFFIX: &str = ".tmp";
/// More writers of one file at once than this are a fault somewhere else.
const TEMPORARY_NAMES_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn create_refuses_to_overwrite_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        create(&path, b"one", 0o600).unwrap();
        assert!(matches!(create(&path, b"two", 0o600), Err(FileError::Exists { .. })));
        assert_eq!(read(&path, 10).unwrap(), (b"one".to_vec(), 0o600));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn replace_takes_the_place_of_the_old_file_and_sweep_removes_leftovers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        fs::write(folder.path().join(".index.77-0.tmp"), b"torn").unwrap();
        fs::write(folder.path().join(".other.77-0.tmp"), b"not ours").unwrap();
        replace(&path, b"one", 0o644).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        sweep(&path).unwrap();
        assert_eq!(read(&path, 3).unwrap(), (b"two".to_vec(), 0o600));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn reads_are_bounded_and_only_of_regular_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, b"12345").unwrap();
        assert!(matches!(read(&path, 4), Err(FileError::TooLarge { bytes_max: 4, .. })));
        assert!(matches!(read(folder.path(), 4), Err(FileError::NotAFile { .. })));
        assert!(matches!(read(&folder.path().join("b"), 4), Err(FileError::Io { action: "open", .. })));
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert!(matches!(read(&pipe, 4), Err(FileError::NotAFile { .. })), "a pipe is refused without waiting");
    }
}
