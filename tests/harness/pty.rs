//! A pseudo-terminal that stands in for a serial port: what is written to it, the agent reads from its other end.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::ttyname;

/// The device's end of a serial line, with a stable name for the other end.
pub struct Port {
    master: File,
    /// Kept open, so that the line survives the agent's absence as a plugged-in adapter does.
    slave: File,
    /// What the agent opens.
    pub path: PathBuf,
}

impl Port {
    /// Opens a line whose other end is named `path`.
    ///
    /// # Errors
    /// When the system has no pseudo-terminal to give.
    pub fn open(path: &Path) -> io::Result<Self> {
        let OpenptyResult { master, slave } = openpty(None, None)?;
        let mut settings = tcgetattr(&slave)?;
        cfmakeraw(&mut settings);
        tcsetattr(&slave, SetArg::TCSANOW, &settings)?;
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        // Programs that are started later are not to have the line open too.
        for end in [&master, &slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        let _ = std::fs::remove_file(path);
        symlink(ttyname(&slave)?, path)?;
        Ok(Self { master: master.into(), slave: slave.into(), path: path.into() })
    }

    /// Whether the other end has read everything.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        rustix::io::ioctl_fionread(&self.slave).is_ok_and(|waiting| waiting == 0)
    }

    /// Sends `line`. A line that the other end leaves unread is lost once the kernel's few KiB are full, as on a wire:
    /// answers whether it was sent.
    pub fn send(&mut self, line: &str) -> bool {
        self.master.write_all(format!("{line}\n").as_bytes()).is_ok()
    }
}
