//! Hours that have passed for some processes: their wall clock by libfaketime, the time since boot by a time namespace of
//! the kernel (time_namespaces(7)), so that both have gone the same way, as on a machine that was just left running.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::process::Process;
use crate::servers::Missing;
use crate::wrong_clock::WrongClock;

/// How long the kernel may take to make a namespace.
const DEADLINE: Duration = Duration::from_secs(10);

/// A time that is so many hours later, for those who start in it.
#[derive(Debug)]
pub struct Hours {
    /// How many.
    pub hours: u32,
    clock: WrongClock,
    /// It does nothing but hold the namespace open.
    holder: Process,
}

/// What a process is started with that is to live elsewhere in time; without anything in it, it lives now.
#[derive(Clone, Debug, Default)]
pub struct Entrance {
    /// A program and its first words, which then becomes the process.
    pub through: Vec<String>,
    /// What is in its environment.
    pub environment: Vec<(String, String)>,
}

impl Hours {
    /// Makes it. `folder` is for what it keeps.
    ///
    /// # Errors
    /// [`Missing`] where libfaketime is not installed, or the kernel makes no such namespace for who asks; others when it
    /// takes too long.
    pub fn after(folder: &Path, hours: u32) -> anyhow::Result<Self> {
        let missing = Missing("libfaketime is not installed (apt-get install faketime)".into());
        let clock = WrongClock::new(folder).ok_or(missing)?;
        anyhow::ensure!(clock.set(&format!("+{hours}h")), "the clock's file cannot be written");
        let seconds = (u64::from(hours) * 3_600).to_string();
        let mut command = Command::new("unshare");
        command.args(["--time", "--boottime", &seconds, "--monotonic", &seconds, "--fork", "--kill-child", "--"]);
        command.args(["sleep", "infinity"]);
        let mut holder = Process::start(command, &folder.join("hours.log")).context("start unshare")?;
        let began = std::time::Instant::now();
        // It has a child once the namespace is as it should be.
        let children = format!("/proc/{0}/task/{0}/children", holder.id());
        while std::fs::read_to_string(&children).unwrap_or_default().is_empty() {
            if holder.ended().is_some() {
                let why = holder.log_text();
                return Err(Missing(format!("no namespace of time is to be had: {}", why.trim())).into());
            }
            anyhow::ensure!(began.elapsed() < DEADLINE, "no namespace of time after {DEADLINE:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { hours, clock, holder })
    }

    /// How a process gets there. It is the one that was started, under its own id.
    #[must_use]
    pub fn entrance(&self) -> Entrance {
        let namespace = format!("--time=/proc/{}/ns/time_for_children", self.holder.id());
        let through = ["nsenter", "--no-fork", &namespace, "--"].map(str::to_owned).to_vec();
        Entrance { through, environment: self.clock.environment() }
    }

    /// How far its clocks are ahead, in microseconds.
    #[must_use]
    pub fn ahead_us(&self) -> i64 {
        i64::from(self.hours) * 3_600_000_000
    }
}

impl Entrance {
    /// `program`, started there.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = match self.through.split_first() {
            Some((first, words)) => {
                let mut command = Command::new(first);
                command.args(words).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::or_skip;

    #[test]
    fn whoever_starts_there_has_all_clocks_ahead() {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(hours) = or_skip(Hours::after(folder.path(), 36)) else { return };
        let said = |entrance: &Entrance| {
            let mut command = entrance.command(Path::new("cat"));
            let uptime = command.arg("/proc/uptime").output().expect("run cat").stdout;
            let mut command = entrance.command(Path::new("date"));
            let date = command.arg("+%s").output().expect("run date").stdout;
            let first = |bytes: Vec<u8>| -> f64 {
                let text = String::from_utf8(bytes).expect("digits");
                text.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
            };
            (first(uptime), first(date))
        };
        let (here, there) = (said(&Entrance::default()), said(&hours.entrance()));
        let is_ahead = |now: f64, then: f64| (then - now - 36.0 * 3_600.0).abs() < 30.0;
        assert!(is_ahead(here.0, there.0) && is_ahead(here.1, there.1), "{here:?} {there:?}");
    }
}
