//! Who starts programs and wants to hear of them: systemd's side of `sd_notify(3)`.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::Process;
use crate::wait_for;

/// How long programs may take to say something for the first time.
const PATIENCE: Duration = Duration::from_secs(20);

/// A socket that one program's words come to.
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    /// One that listens in `folder`.
    ///
    /// # Panics
    /// When there can be no socket.
    #[must_use]
    pub fn listen(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket in a folder of our own");
        socket.set_nonblocking(true).expect("a socket of our own can be set");
        Self { socket, path }
    }

    /// What a program is started with, to be taken for dead after `watchdog` without a word.
    #[must_use]
    pub fn environment(&self, watchdog: Duration) -> Vec<(String, String)> {
        let (path, watchdog) = (self.path.display().to_string(), watchdog.as_micros().to_string());
        vec![("NOTIFY_SOCKET".to_owned(), path), ("WATCHDOG_USEC".to_owned(), watchdog)]
    }

    /// What was said since the last time.
    pub fn heard(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let next =
            || self.socket.recv(&mut bytes).ok().map(|length| String::from_utf8_lossy(&bytes[..length]).into_owned());
        std::iter::from_fn(next).collect()
    }

    /// Waits for a message with `line` in it, and gives it.
    ///
    /// # Panics
    /// When none comes.
    pub fn waits_for(&self, line: &str) -> String {
        wait_for(line, PATIENCE, || self.heard().into_iter().find(|words| words.lines().any(|word| word == line)))
    }

    /// How often the watchdog is fed within `time` from now.
    #[must_use]
    pub fn fed_within(&self, time: Duration) -> usize {
        let (until, mut fed) = (Instant::now() + time, 0);
        self.heard();
        while Instant::now() < until {
            fed += self.heard().iter().filter(|words| words.lines().any(|word| word == "WATCHDOG=1")).count();
            std::thread::sleep(Duration::from_millis(10));
        }
        fed
    }
}

/// A disk that has stopped answering one program: each of its syncs takes a minute. It goes on when this is dropped.
pub struct HungDisk(Process);

impl HungDisk {
    /// The disk of `program`, from now on; none where strace is not there or may not trace.
    ///
    /// # Panics
    /// When strace is there and does nothing.
    #[must_use]
    pub fn of(program: &Process, folder: &Path) -> Option<Self> {
        let works = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
        if !works.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_enter=60000000"]);
        command.args(["-o", "/dev/null", "-p", &program.id().to_string()]);
        let strace = Process::start(command, &folder.join("strace.log")).expect("strace starts");
        wait_for("strace to be there", PATIENCE, || strace.log_text().contains("attached").then_some(()));
        Some(Self(strace))
    }
}

impl Drop for HungDisk {
    fn drop(&mut self) {
        self.0.ask_to_end();
        wait_for("strace to let go", PATIENCE, || self.0.ended());
    }
}
