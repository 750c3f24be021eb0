//! A device: an agent process, its folder, and a ledger of what was offered to it.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;

mod input;

pub use input::Input;

use crate::Agent;
use crate::cloud::Cloud;
use crate::oracle::{self, Allowed, Holdings, Ledger, Offer, Ruling};
use crate::pki::Files;

const SIGTERM: i32 = 15;
/// How long an agent may take to end.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// Lines of a log that are worth showing.
const LOG_LINES: usize = 12;
/// How long a database may be busy because its owner is just starting or being killed.
const BUSY_DEADLINE: Duration = Duration::from_secs(5);

/// How a device is set up.
#[derive(Clone, Debug)]
pub struct Shape {
    /// The series of its serial line, if it has one.
    pub line: Option<&'static str>,
    /// Whether it follows a file, from one start to the next.
    pub file: bool,
    /// How long the first reading of a batch waits for more.
    pub linger_ms: u64,
    /// Where its buffer lies, if not in its folder.
    pub buffer: Option<PathBuf>,
    /// Settings of `[buffer]`.
    pub buffer_settings: String,
    /// Settings of `[uplink]`.
    pub uplink_settings: String,
}

impl Default for Shape {
    fn default() -> Self {
        let (buffer_settings, uplink_settings) = (String::new(), String::new());
        Self { line: Some("line"), file: true, linger_ms: 20, buffer: None, buffer_settings, uplink_settings }
    }
}

/// An agent process, and what was offered to it.
pub struct Device {
    /// The agent.
    pub agent: Agent,
    /// Its certificate.
    pub files: Files,
    /// Its file and its serial line.
    pub input: Input,
    buffer: PathBuf,
}

impl Device {
    /// A device that sends to the gateway on `port`; it does not run yet.
    ///
    /// # Panics
    /// When its folder, its file or its serial line cannot be made.
    #[must_use]
    pub fn new(folder: &Path, id: &str, port: u16, files: &Files, shape: &Shape) -> Self {
        let agent = Agent::new(folder, id, Some(port), files, "");
        let buffer = shape.buffer.clone().unwrap_or_else(|| agent.buffer());
        let device = Self { input: Input::new(folder, shape), agent, files: files.clone(), buffer };
        std::fs::write(device.agent.config(), device.settings(port, shape)).expect("write the agent's configuration");
        device
    }

    fn settings(&self, port: u16, shape: &Shape) -> String {
        let Files { authority, certificate, key } = &self.files;
        format!(
            "[device]\nid = \"{}\"\n[buffer]\npath = {:?}\n{}\n[sealer]\nlinger_ms = {}\n\
             [uplink]\nhost = \"localhost\"\nport = {port}\nauthority_file = {authority:?}\n\
             certificate_file = {certificate:?}\nkey_file = {key:?}\nreconnect_s_min = 0.02\nreconnect_s_max = 0.2\n{}\n{}",
            self.agent.device,
            self.buffer,
            shape.buffer_settings,
            shape.linger_ms,
            shape.uplink_settings,
            self.input.settings()
        )
    }

    /// Its buffer.
    #[must_use]
    pub fn buffer(&self) -> &Path {
        &self.buffer
    }

    /// Starts the agent (again).
    pub fn start(&mut self) {
        self.agent.start();
    }

    /// SIGKILL: what was on the line and is not in the buffer may be gone, and nobody has accepted it.
    pub fn kill(&mut self) {
        self.agent.kill();
        self.input.doubt();
    }

    /// SIGTERM: what was taken in is stored.
    ///
    /// # Errors
    /// When the agent does not end, or not well.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if self.agent.process.is_some() {
            let status = self.ends_within(STOP_DEADLINE).context("the agent does not end")?;
            // Just started, it does not know yet what to do about SIGTERM, and has taken nothing in.
            if status.signal() == Some(SIGTERM) {
                self.input.doubt();
            } else {
                anyhow::ensure!(status.success(), "the agent ended with {status}:\n{}", self.log_tail());
            }
        }
        self.input.trust();
        Ok(())
    }

    /// SIGTERM. Answers how the agent ended; if it has not within `deadline`, it is killed, and the answer is none.
    pub fn ends_within(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let mut process = self.agent.process.take()?;
        let began = Instant::now();
        process.ask_to_end();
        while began.elapsed() < deadline {
            if let Some(status) = process.ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        process.kill();
        self.input.doubt();
        None
    }

    /// The last lines that the agent wrote.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.agent.folder.join("agent.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// SIGSTOP for `time`, then SIGCONT.
    pub fn pause(&self, time: Duration) {
        if let Some(process) = &self.agent.process {
            process.freeze();
            std::thread::sleep(time);
            process.thaw();
        }
    }

    /// What its buffer says; nothing as long as it has none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn marks(&self) -> anyhow::Result<Holdings> {
        if !self.buffer.exists() {
            return Ok(Holdings::default());
        }
        retried(|| Holdings::read_marks(&self.buffer)).context("read the agent's buffer")
    }

    /// Buffer and ledger, in this order: the ledger only grows.
    fn numbers(&self, cloud: &Cloud) -> anyhow::Result<(Holdings, Ledger)> {
        let marks = self.marks()?;
        let ledger = retried(|| cloud.database.numbers(&self.agent.device));
        Ok((marks, ledger?))
    }

    /// Whether the agent has numbers that the cloud has not settled.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn has_batches_in_flight(&self, cloud: &Cloud) -> anyhow::Result<bool> {
        let (marks, ledger) = self.numbers(cloud)?;
        Ok(!oracle::unsettled(&marks, &ledger).is_empty())
    }

    /// Batches that a receipt has covered, and that the cloud's database does not have.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn early_receipts(&self, cloud: &Cloud) -> anyhow::Result<Vec<oracle::Place>> {
        let (marks, ledger) = self.numbers(cloud)?;
        Ok(oracle::early_receipts(&marks, &ledger))
    }

    /// Whether all of the file is in the buffer.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn is_file_read(&self) -> anyhow::Result<bool> {
        Ok(self.input.is_file_read(offset(&self.marks()?)))
    }

    /// Whether file and line are taken in, and all that was taken in is settled in the cloud.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn is_drained(&self, cloud: &Cloud) -> anyhow::Result<bool> {
        let is_line_read = self.input.is_line_read();
        let (marks, ledger) = self.numbers(cloud)?;
        let is_read = is_line_read && self.input.is_file_read(offset(&marks));
        Ok(is_read && oracle::unsettled(&marks, &ledger).is_empty())
    }

    /// What was offered, with what the agent says of the file: rows before its cursor are accepted.
    ///
    /// # Errors
    /// When its buffer cannot be read.
    pub fn accepted(&self) -> anyhow::Result<Vec<Offer>> {
        Ok(self.input.offers(offset(&self.marks()?)))
    }

    /// Holds the cloud's database against what was offered. The agent does not run.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn judge(&self, cloud: &Cloud, allowed: Allowed) -> anyhow::Result<Ruling> {
        let offers = self.accepted()?;
        let holdings = Holdings::read(&self.buffer).context("read the agent's buffer")?;
        let mut ruling = oracle::judge(&offers, &cloud.ledger(&self.agent.device)?, Some(&holdings), allowed);
        ruling.examples.iter_mut().for_each(|example| *example = format!("{}: {example}", self.agent.device));
        Ok(ruling)
    }
}

/// How far the agent has read its file.
fn offset(holdings: &Holdings) -> u64 {
    holdings.offsets.get("file").copied().unwrap_or(0)
}

fn retried<T, E>(mut read: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let began = Instant::now();
    loop {
        match read() {
            Err(_) if began.elapsed() < BUSY_DEADLINE => std::thread::sleep(Duration::from_millis(10)),
            result => return result,
        }
    }
}

/// Microseconds since the Unix epoch, by this machine's clock.
///
/// # Panics
/// When the clock stands before 1970 or far beyond our days.
#[must_use]
pub fn now_us() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "compared with what another process saw on the same clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970");
    i64::try_from(since.as_micros()).expect("the clock stands in our days")
}
