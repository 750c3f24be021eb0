//! Files that settings name: whoever cannot use one says which setting it is, and what may help.

use std::io::{Error, ErrorKind};
use std::path::Path;

use anyhow::Context;
use rustix::fs::{Access, access};

/// What may fail because of a file.
pub(crate) trait Named<T> {
    /// The same, where a failure says that `setting` names the file, and what to do.
    fn named_by(self, setting: &str) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Named<T> for Result<T, E> {
    fn named_by(self, setting: &str) -> anyhow::Result<T> {
        self.map_err(|error| {
            let error = error.into();
            let said = error.chain().find_map(|cause| cause.downcast_ref::<Error>()).map(Error::kind);
            let what = match said {
                Some(ErrorKind::NotFound) => "names what is not there; put it there, or correct the setting",
                Some(ErrorKind::PermissionDenied) => {
                    "names what this user may not use; `chown` it to the user that the gateway runs as, or correct the setting"
                }
                _ => "names what cannot be used",
            };
            error.context(format!("`{setting}` {what}"))
        })
    }
}

/// Fails unless this user may read and write `file`, which `setting` names, or may make it.
pub(crate) fn check_file(file: &Path, setting: &str) -> anyhow::Result<()> {
    if !file.exists() {
        return check_folder_of(file, setting);
    }
    let may = access(file, Access::READ_OK | Access::WRITE_OK).map_err(Error::from);
    may.with_context(|| format!("cannot write {}", file.display())).named_by(setting)
}

/// Fails unless this user may make files beside `file`, which `setting` names; none is made.
pub(crate) fn check_folder_of(file: &Path, setting: &str) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The dot: of a file in its place it is said that it is no folder.
    let may = access(folder.join("."), Access::WRITE_OK | Access::EXEC_OK).map_err(Error::from);
    may.with_context(|| format!("cannot write in {}, for {}", folder.display(), file.display())).named_by(setting)
}
