//! A child process that ends with its owner.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait_for;

/// What `command` says until it ends; it is killed after `deadline`, which its status then tells.
///
/// # Errors
/// When it cannot be started.
pub fn output_within(mut command: Command, deadline: Duration) -> io::Result<Output> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let id = Pid::from_raw(child.id().cast_signed());
    let (ended, ends) = mpsc::sync_channel::<()>(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if ends.recv_timeout(deadline) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = kill(id, Signal::SIGKILL); // it may have ended this moment
            }
        });
        let output = child.wait_with_output();
        drop(ended);
        output
    })
}

/// A running program of ours; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// What it wrote to standard error, for when something goes wrong.
    pub log: PathBuf,
}

impl Process {
    /// Starts `command`, its standard error appended to `log`, its standard output piped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command, log: &Path) -> io::Result<Self> {
        let errors = File::options().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn()?;
        Ok(Self { child, log: log.into() })
    }

    /// The same with its standard output in `log` too, for programs whose words nobody waits for.
    ///
    /// # Errors
    /// The same.
    pub fn start_logged(mut command: Command, log: &Path) -> io::Result<Self> {
        let words = File::options().create(true).append(true).open(log)?;
        let child = command.stdin(Stdio::null()).stdout(words.try_clone()?).stderr(words).spawn()?;
        Ok(Self { child, log: log.into() })
    }

    /// As [`Process::start`], with its standard input to be written to.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_led(mut command: Command, log: &Path) -> io::Result<(Self, ChildStdin)> {
        let errors = File::options().create(true).append(true).open(log)?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).spawn()?;
        let input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok((Self { child, log: log.into() }, input))
    }

    /// The process's id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it writes to standard output; once.
    pub fn output(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Whether it has ended, and how.
    ///
    /// # Panics
    /// When the system cannot say.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be asked for")
    }

    /// SIGSTOP: it stays there and does nothing; its sockets still take bytes in.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn freeze(&self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGSTOP).expect("a child of ours takes signals");
    }

    /// SIGCONT: it goes on.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn thaw(&self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGCONT).expect("a child of ours takes signals");
    }

    /// SIGKILL, and gone when this returns.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child of ours can be killed");
        self.child.wait().expect("a child of ours can be waited for");
    }

    /// SIGTERM, not waited for.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn ask_to_end(&mut self) {
        if self.ended().is_none() {
            kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).expect("a child of ours takes signals");
        }
    }

    /// SIGTERM; waits for the end.
    ///
    /// # Panics
    /// When it does not end within the deadline.
    pub fn terminate(&mut self) -> ExitStatus {
        self.ask_to_end();
        wait_for("a program to end after SIGTERM", Duration::from_secs(20), || self.ended())
    }

    /// Resident memory in KiB, and listening sockets, as the kernel counts them.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse().ok()).unwrap_or(0)
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn log_text(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = File::open(&self.log) {
            let _ = file.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_command_that_does_not_end_is_killed_and_one_that_does_is_heard_to_its_end() {
        let mut endless = Command::new("sleep");
        endless.arg("60");
        let output = output_within(endless, Duration::from_millis(50)).unwrap();
        assert_eq!(output.status.signal(), Some(Signal::SIGKILL as i32));
        let mut short = Command::new("sh");
        short.args(["-c", "echo said; exit 3"]);
        let output = output_within(short, Duration::from_secs(60)).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), b"said\n".as_slice()));
    }
}
