//! A program that is run in the place of a port: what it prints is read.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::{sleep, timeout};

/// How long a program that has closed its output may take to end by itself.
const END_TIME: Duration = Duration::from_secs(1);
const END_LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often a killed program is looked for, a millisecond apart: it is gone after the first, as a rule.
const REAP_LOOKS: u32 = 20;
/// Bytes of standard error read at once. They are counted and thrown away: they may hold what is measured.
const ERROR_PIECE_BYTES: usize = 1_024;
/// Pieces of it that are counted once the program has ended: what a pipe holds.
const ERROR_PIECES_MAX: usize = 64;

/// What is run, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// The program's absolute path.
    pub(crate) path: PathBuf,
    /// What it is given; no shell sees it.
    pub(crate) arguments: Vec<String>,
    /// All of its environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Where it runs.
    pub(crate) folder: PathBuf,
    /// How long after its end it is run again.
    pub(crate) restart: Duration,
}

/// It runs. Dropping this kills it, with everything that it has started and that is still of its process group.
pub(super) struct Running {
    child: Child,
    group: Option<Pid>,
    output: Receiver,
    errors: Option<Receiver>,
    error_bytes: u64,
}

impl Running {
    /// Runs `program`, or says why that cannot be and what to do.
    pub(super) fn start(program: &Program) -> Result<Self, String> {
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).env_clear().envs(program.environment.iter().map(|(key, value)| (key, value)));
        command.current_dir(&program.folder).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| cannot_start(program, &error))?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pipe = |end: Option<OwnedFd>| Receiver::from_owned_fd(end.ok_or(io::ErrorKind::BrokenPipe)?);
        let output = pipe(child.stdout.take().map(OwnedFd::from));
        let errors = pipe(child.stderr.take().map(OwnedFd::from));
        match (output, errors) {
            (Ok(output), Ok(errors)) => Ok(Self { child, group, output, errors: Some(errors), error_bytes: 0 }),
            (Err(error), _) | (_, Err(error)) => {
                end(&mut child, group);
                Err(format!("its output cannot be read: {error}"))
            }
        }
    }

    /// What it prints; 0 bytes when it will print nothing more. It may be dropped while waiting.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut piece = [0; ERROR_PIECE_BYTES];
        loop {
            let Some(errors) = &mut self.errors else { return self.output.read(buffer).await };
            tokio::select! {
                read = self.output.read(buffer) => return read,
                read = errors.read(&mut piece) => match read {
                    Ok(0) | Err(_) => self.errors = None,
                    Ok(count) => self.error_bytes = self.error_bytes.saturating_add(count as u64),
                },
            }
        }
    }

    /// How it ended, once it has closed its output.
    pub(super) async fn ended(&mut self) -> String {
        let looks = END_TIME.as_millis() / END_LOOK_EVERY.as_millis();
        let mut how = "closed its output and ran on, so it was killed".to_owned();
        for _ in 0..looks {
            if let Some(status) = self.status() {
                how = format!("ended: {status}");
                break;
            }
            sleep(END_LOOK_EVERY).await;
        }
        self.count_errors().await;
        match self.error_bytes {
            0 => how,
            bytes => format!(
                "{how}; {bytes} bytes that it wrote to standard error are not shown: run it by hand to see them"
            ),
        }
    }

    /// Counts what it wrote to standard error and what was not read while it printed; within bounds, as a program that it
    /// has started may write on.
    async fn count_errors(&mut self) {
        let mut piece = [0; ERROR_PIECE_BYTES];
        for _ in 0..ERROR_PIECES_MAX {
            let Some(errors) = &mut self.errors else { return };
            match timeout(END_LOOK_EVERY, errors.read(&mut piece)).await {
                Ok(Ok(count @ 1..)) => self.error_bytes = self.error_bytes.saturating_add(count as u64),
                _ => self.errors = None,
            }
        }
    }

    /// Its exit status, without letting its number go: until it is, no other group can have that number.
    fn status(&self) -> Option<ExitStatus> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.group?), options).ok()??;
        let code = status.exit_status().map(|code| (code & 0xff) << 8);
        code.or_else(|| status.terminating_signal()).map(ExitStatus::from_raw)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child, self.group);
    }
}

/// Kills the group, and takes the exit status of its leader.
fn end(child: &mut Child, group: Option<Pid>) {
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL); // it may be gone already
    }
    for _ in 0..REAP_LOOKS {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn cannot_start(program: &Program, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::NotFound if program.path.exists() => {
            "`folder` or the interpreter that its first line names is not there"
        }
        io::ErrorKind::NotFound => "check `command` and `folder`",
        io::ErrorKind::PermissionDenied => "the agent's user must be allowed to run it and to be in `folder`",
        _ => "is it a program, or a script with a first line such as #!/bin/sh?",
    };
    format!("cannot be started: {error}; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(path: &str, arguments: &[&str]) -> Program {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Program { path: path.into(), arguments, environment: Vec::new(), folder: "/".into(), restart: Duration::ZERO }
    }

    #[tokio::test]
    async fn how_a_program_ended_is_told_without_what_it_wrote() {
        for (script, how) in [
            ("echo secret >&2; exit 3", "ended: exit status: 3; 7 bytes"),
            ("kill -9 $$", "ended: signal: 9"),
            ("exec >&-; exec sleep 600", "ran on, so it was killed"),
        ] {
            let mut running = Running::start(&program("/bin/sh", &["-c", script])).unwrap();
            while running.read(&mut [0; 64]).await.unwrap() > 0 {}
            let found = running.ended().await;
            assert!(found.contains(how) && !found.contains("secret"), "{found}");
        }
    }

    #[tokio::test]
    async fn a_program_that_cannot_be_started_says_what_to_do() {
        let script = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(script.path(), "#!/no/interpreter\n").unwrap();
        for (path, advice) in [
            ("/no/such/program", "check `command`"),
            ("/", "must be allowed to run it"),
            (script.path().to_str().unwrap(), "must be allowed to run it"),
        ] {
            let problem = Running::start(&program(path, &[])).err().unwrap();
            assert!(problem.contains(advice), "{path}: {problem}");
        }
    }
}
