//! A wall clock that is wrong, for one process, by libfaketime (Debian: faketime). The monotonic clock stays right.

use std::path::{Path, PathBuf};

/// A clock that can be stepped while the process runs.
#[derive(Clone, Debug)]
pub struct WrongClock {
    library: PathBuf,
    file: PathBuf,
}

impl WrongClock {
    /// A clock whose setting lies in `folder`; none where libfaketime is not installed.
    #[must_use]
    pub fn new(folder: &Path) -> Option<Self> {
        let library = library()?;
        std::fs::create_dir_all(folder).ok()?;
        let clock = Self { library, file: folder.join("wrong-clock") };
        clock.set("+0").then_some(clock)
    }

    /// Sets it: `+3y`, `-90d`, or `@1970-01-01 00:10:00` for a clock that begins there with each start. Answers whether
    /// it could be set.
    #[must_use]
    pub fn set(&self, setting: &str) -> bool {
        let aside = self.file.with_extension("new");
        std::fs::write(&aside, format!("{setting}\n")).and_then(|()| std::fs::rename(&aside, &self.file)).is_ok()
    }

    /// What a process that is to live by this clock has in its environment.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let path = |path: &Path| path.display().to_string();
        [
            ("LD_PRELOAD", path(&self.library)),
            ("FAKETIME_TIMESTAMP_FILE", path(&self.file)),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
            ("TZ", "UTC".into()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

/// What a process has in its environment whose clocks, the monotonic one too, are to run `factor` times as fast: it waits
/// as long by them as ever. None where libfaketime is not installed.
#[must_use]
pub fn fast(factor: u32) -> Option<Vec<(String, String)>> {
    let library = library()?.display().to_string();
    Some(
        [("LD_PRELOAD", library), ("FAKETIME", format!("+0 x{factor}"))]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
    )
}

/// Debian keeps it beside the machine's other libraries.
fn library() -> Option<PathBuf> {
    let machines = std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    machines.map(|machine| machine.path().join("faketime/libfaketimeMT.so.1")).find(|library| library.exists())
}
