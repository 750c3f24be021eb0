//! Whose a new file is: what root writes belongs to whom it belonged to before, or else to whom its folder belongs.
//!
//! Who administers a machine is root there, and what runs there is not. A file that root makes anew in the place of
//! another's would be closed to that one from then on, which nobody would see before it is needed.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;

use crate::files::FileError;

const ROOT: u32 = 0;

/// Gives `file`, which the caller has just made and which is to be at `path`, the owner and group of the first of `models`
/// that is there, if it is root's. What anybody else has written stays theirs: they could give nothing away.
///
/// # Errors
/// The file or its model cannot be looked at; root may not give files away, as in a container without that capability.
pub fn give(file: &File, path: &Path, models: &[&Path]) -> Result<(), FileError> {
    let looking = |source| FileError::Io { action: "look at the owner of", path: path.into(), source };
    let is = file.metadata().map_err(looking)?;
    let Some(model) = models.iter().find_map(|model| fs::metadata(model).ok()).filter(|_| is.uid() == ROOT) else {
        return Ok(());
    };
    let (uid, gid) = (model.uid(), model.gid());
    if (is.uid(), is.gid()) == (uid, gid) {
        return Ok(());
    }
    fchown(file, Some(uid), Some(gid)).map_err(|source| FileError::NotGiven { path: path.into(), uid, gid, source })
}

/// The same of a file that is there already. In another user's folder it may have been put there by that user: a link to a
/// file of root's is not followed, and what has a second name is not given away.
///
/// # Errors
/// As for [`give`], and where it is no regular file of one name.
pub fn give_at(path: &Path, models: &[&Path]) -> Result<(), FileError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let looking = |source| FileError::Io { action: "look at the owner of", path: path.into(), source };
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(looking)?;
    let is = file.metadata().map_err(looking)?;
    if !is.is_file() || is.nlink() != 1 {
        return Err(FileError::NotAFile { path: path.into() });
    }
    give(&file, path, models)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;

    use super::*;
    use crate::files;

    #[test]
    fn what_root_writes_belongs_to_whom_it_belonged_to_or_to_whom_the_folder_belongs() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let of = |name: &str| fs::metadata(path(name)).map(|found| (found.uid(), found.gid())).unwrap();
        fs::write(path("old"), b"one").unwrap();
        if chown(path("old"), Some(64_321), Some(64_322)).is_err() {
            return println!("skipped: only root can give files away");
        }
        files::replace(&path("old"), b"two", 0o600).unwrap();
        assert_eq!((of("old"), fs::read(path("old")).unwrap()), ((64_321, 64_322), b"two".to_vec()));
        files::create(&path("in root's folder"), b"", 0o600).unwrap();
        assert_eq!(of("in root's folder"), of("."));
        chown(folder.path(), Some(64_323), Some(64_324)).unwrap();
        files::create(&path("new"), b"", 0o600).unwrap();
        files::replace(&path("newer"), b"", 0o600).unwrap();
        assert_eq!([of("new"), of("newer")], [(64_323, 64_324); 2]);
    }

    #[test]
    fn a_file_that_somebody_has_led_to_their_folder_is_not_given_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let of = |name: &str| fs::metadata(path(name)).map(|found| found.uid()).unwrap();
        fs::create_dir(path("theirs")).unwrap();
        if chown(path("theirs"), Some(64_321), None).is_err() {
            return println!("skipped: only root can give files away");
        }
        for name in ["root's", "theirs/plain"] {
            fs::write(path(name), b"").unwrap();
        }
        std::os::unix::fs::symlink(path("root's"), path("theirs/lock")).unwrap();
        assert!(give_at(&path("theirs/lock"), &[&path("theirs")]).is_err());
        fs::remove_file(path("theirs/lock")).unwrap();
        fs::hard_link(path("root's"), path("theirs/lock")).unwrap();
        assert!(give_at(&path("theirs/lock"), &[&path("theirs")]).is_err());
        give_at(&path("theirs/plain"), &[&path("theirs")]).unwrap();
        assert_eq!((of("root's"), of("theirs/plain")), (0, 64_321));
    }
}
