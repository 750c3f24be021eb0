//! Whose a new file is: what root writes belongs to whom it belonged to before, or else to whom its folder belongs.
//!
//! Who administers a machine is root there, and what runs there is not. A file that root makes anew in the place of
//! another's would be closed to that one from then on, which nobody would see before it is needed.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::Path;

use crate::files::FileError;

const ROOT: u32 = 0;

/// Gives `file`, which is or is to be at `path`, the owner and group of the first of `models` that is there, if it is
/// root's. What anybody else has written stays theirs: they could give nothing away.
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
}
