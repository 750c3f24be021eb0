//! The socket's place in the file system.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Owner and group may connect.
const MODE: u32 = 0o660;

/// A socket that is listened at. Dropping it removes the socket, if it is still the one that was made.
pub(super) struct Place {
    path: PathBuf,
    /// Device and number of the file.
    file: (u64, u64),
}

impl Place {
    /// Listens at `path`. What is there is removed only if it is a socket of this user at which nobody listens.
    pub(super) async fn listen(path: &Path) -> Result<(UnixListener, Self), String> {
        // Made beside its place: nobody connects before it is known who may.
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        clear(path).await?;
        clear(&beside).await?;
        let cannot = |error: io::Error| {
            let folder = "its folder must be there, and the agent's user be allowed to write in it";
            format!("cannot be listened at: {error}; {folder}")
        };
        let listener = UnixListener::bind(&beside).map_err(cannot)?;
        let put = || {
            std::fs::set_permissions(&beside, Permissions::from_mode(MODE))?;
            std::fs::rename(&beside, path)?;
            file_of(path)
        };
        match put() {
            Ok(file) => Ok((listener, Self { path: path.into(), file })),
            Err(error) => {
                let _ = std::fs::remove_file(&beside); // it was made just now
                Err(cannot(error))
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if file_of(&self.path).is_ok_and(|file| file == self.file) {
            let _ = std::fs::remove_file(&self.path); // one that stays is removed at the next start
        }
    }
}

fn file_of(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|about| (about.dev(), about.ino()))
}

/// Removes what an earlier start left at `path`; fails where that is anything else.
async fn clear(path: &Path) -> Result<(), String> {
    let about = match std::fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(format!("cannot be looked at: {error}; the agent's user must be allowed to enter its folder"));
        }
    };
    if !about.file_type().is_socket() {
        return Err("is there already and is no socket; choose another `path`".into());
    }
    if about.uid() != rustix::process::geteuid().as_raw() {
        return Err("is the socket of another user; choose another `path`, or remove it".into());
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| format!("is left over and cannot be removed: {error}"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err("is listened at by another program; stop that one or choose another `path`".into()),
    }
}
