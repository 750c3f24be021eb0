//! A virtual machine: started, listened to, and killed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::Parts;
use crate::process::Process;

/// How many batches the guest's buffer held when it last said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held(
    /// Batches.
    pub u64,
);

/// A machine that runs.
#[derive(Debug)]
pub struct Guest {
    process: Process,
    console: PathBuf,
}

impl Guest {
    /// Powers on. The guest's console goes to `console`.
    ///
    /// # Errors
    /// When the machine cannot be started.
    pub fn start(parts: &Parts, initrd: &Path, disk: &Path, console: &Path) -> anyhow::Result<Self> {
        let kind = parts.kind;
        let mut command = Command::new(kind.emulator);
        // Without hardware virtualisation: it is not everywhere, and the cut is the same.
        command.args(kind.board).args(["-accel", "tcg", "-m", &parts.memory_mib.to_string(), "-nographic"]);
        command.args(["-no-reboot", "-nodefaults", "-serial"]).arg(format!("file:{}", console.display()));
        command.arg("-kernel").arg(&parts.kernel).arg("-initrd").arg(initrd);
        command.arg("-append").arg(format!("console={} quiet panic=-1", kind.console));
        // writeback: what the guest has flushed is safe with the host, which goes on; what it has not flushed is lost.
        command.arg("-drive").arg(format!("file={},format=raw,if=none,id=d0,cache=writeback", disk.display()));
        command.arg("-device").arg(format!("{},drive=d0", kind.disk));
        command.args(["-netdev", "user,id=n0", "-device"]).arg(format!("{},netdev=n0", kind.network));
        let process = Process::start(command, &console.with_extension("qemu.log"))?;
        Ok(Self { process, console: console.into() })
    }

    /// Waits until the guest has looked into its buffer; answers what was there.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn wait_until_up(&mut self, deadline: Duration) -> anyhow::Result<Held> {
        let begun = Instant::now();
        loop {
            let said = self.said();
            if let Some(held) = number_after(&said, "guest: begins with ") {
                return Ok(Held(held));
            }
            if let Some(status) = self.process.ended() {
                anyhow::bail!("the machine ended with {status}: {}\n{said}", self.process.log_text());
            }
            anyhow::ensure!(begun.elapsed() < deadline, "the guest did not come up in {deadline:?}:\n{said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGKILL: the guest's memory, its page cache with it, is gone. Answers what its buffer held at the least.
    ///
    /// # Errors
    /// When the agent had ended by itself.
    pub fn cut_the_power(&mut self) -> anyhow::Result<Held> {
        self.process.kill();
        let said = self.said();
        anyhow::ensure!(!said.contains("guest: agent ended"), "the agent ended by itself in the guest:\n{said}");
        let last = said.lines().filter_map(|line| number_after(line, "guest: holds ")).max();
        Ok(Held(last.or_else(|| number_after(&said, "guest: begins with ")).unwrap_or(0)))
    }

    /// What the agent in it took of its memory when it last said so, in KiB.
    #[must_use]
    pub fn resident_kib(&self) -> Option<u64> {
        self.said().lines().filter_map(|line| number_after(line, "batches, resident ")).next_back()
    }

    /// All that its console shows.
    #[must_use]
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.console).unwrap_or_default()).into_owned()
    }
}

/// The number after `words`, if a whole line with it was printed.
fn number_after(text: &str, words: &str) -> Option<u64> {
    let rest = &text[text.find(words)? + words.len()..];
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    rest[digits.len()..].starts_with(['\r', '\n', ' ']).then(|| digits.parse().ok())?
}
