//! A disk of some MiB that can be filled to the last byte.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs of its own; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    /// Where it is.
    pub path: PathBuf,
}

impl SmallDisk {
    /// A disk of `mib` MiB at `path`.
    ///
    /// # Errors
    /// Why there can be none here: mostly that this is not root.
    pub fn mount(path: &Path, mib: u32) -> Result<Self, String> {
        std::fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let size = format!("size={mib}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).output();
        match mount {
            Ok(output) if output.status.success() => Ok(Self { path: path.into() }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("mount: {error}")),
        }
    }

    /// Fills it, or what has become free of it.
    ///
    /// # Errors
    /// When the filler cannot be opened.
    pub fn fill(&self) -> std::io::Result<()> {
        let mut filler = File::options().create(true).append(true).open(self.filler())?;
        for piece in [65_536, 4_096, 1] {
            let zeros = vec![0; piece];
            while filler.write(&zeros).is_ok_and(|written| written > 0) {}
        }
        Ok(())
    }

    /// Makes room again.
    ///
    /// # Errors
    /// When the filler cannot be removed.
    pub fn free(&self) -> std::io::Result<()> {
        std::fs::remove_file(self.filler())
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open on it does not keep it there.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
