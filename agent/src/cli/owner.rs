//! Whose what `enrol` makes is, when root runs it.
//!
//! The agent runs as another user, who has to read its key, and to put the next one in its place. That user is told by the
//! folder of the buffer, which is for the agent to write and thus its own; the folder of certificates may be root's with a
//! sticky bit, as the package makes it.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::OFlags;

use crate::config::Config;
use crate::uplink::{KeySettings, Settings};

/// Who the agent runs as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    /// Who is to have the files; nobody else than who makes them, unless that is root and the agent runs as another.
    ///
    /// # Errors
    /// When the folder that would tell is not there.
    pub(super) fn of(config: &Config) -> anyhow::Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let path = &config.buffer.path;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let about = folder.metadata().with_context(|| {
            let folder = folder.display();
            format!(
                "`buffer.path`: nobody knows as whom the agent runs, for there is no folder {folder}; make it as that user, or run \
                 this as that user: `runuser -u USER -- tributary-agent enrol …`"
            )
        })?;
        Ok((about.uid() != 0).then(|| Self { user: about.uid(), group: about.gid() }))
    }

    /// Gives what was made to the agent: all of these files that are root's.
    ///
    /// # Errors
    /// When one cannot be given.
    pub(super) fn take(self, uplink: &Settings) -> anyhow::Result<()> {
        files(uplink).into_iter().try_for_each(|file| {
            let done = self.take_one(&file);
            done.with_context(|| format!("give {} to user {}, whom the agent runs as", file.display(), self.user))
        })
    }

    /// Gives one. The folder may be written by others: a link that leads elsewhere, or another name of a file that is, is
    /// not what was made here.
    fn take_one(self, file: &Path) -> std::io::Result<()> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let opened = match File::options().read(true).custom_flags(flags).open(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let about = opened.metadata()?;
        if about.is_file() && about.nlink() == 1 && about.uid() == 0 {
            fchown(&opened, Some(self.user), Some(self.group))?;
        }
        Ok(())
    }
}

/// All that enrolling and renewal write, whether it is there or not.
fn files(uplink: &Settings) -> Vec<PathBuf> {
    let beside = |file: &Path, endings: &[&str]| -> Vec<PathBuf> {
        endings.iter().map(|ending| format!("{}{ending}", file.display()).into()).collect()
    };
    let mut all = beside(&uplink.certificate_file, &["", ".next", ".offer"]);
    if let KeySettings::File(key) = &uplink.key {
        all.extend(beside(key, &["", ".next"]));
    }
    all.extend(uplink.receipt_key_file.clone());
    all
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_root_made_is_given_and_what_leads_elsewhere_or_has_another_name_is_not() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let owner = Owner { user: 64_321, group: 64_321 };
        for name in ["made", "secret", "named"] {
            std::fs::write(place(name), name).unwrap();
        }
        symlink(place("secret"), place("link")).unwrap();
        std::fs::hard_link(place("named"), place("second")).unwrap();
        owner.take_one(&place("made")).unwrap();
        owner.take_one(&place("none")).unwrap();
        owner.take_one(&place("second")).unwrap();
        assert!(owner.take_one(&place("link")).is_err(), "it is said");
        let user = |name: &str| place(name).metadata().unwrap().uid();
        assert_eq!(["made", "secret", "named"].map(user), [64_321, 0, 0]);
    }
}
