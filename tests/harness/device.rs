//! A device: an agent process, its folder, and a ledger of what was offered to it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;

use crate::Agent;
use crate::cloud::Cloud;
use crate::oracle::{self, Allowed, Holdings, Ledger, Offer, Ruling, When};
use crate::pki::Files;
use crate::pty::Port;

/// Readings of the file begin here (2026-06-01), a second apart.
const FILE_FROM_US: i64 = 1_780_272_000_000_000;
/// How far the stamp of a line may be from when it was sent: an agent that has to wait for a processor is not wrong.
const LINE_WITHIN_US: i64 = 30_000_000;
const SIGTERM: i32 = 15;
/// How long an agent may take to end.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

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
        Self {
            line: Some("line"),
            file: true,
            linger_ms: 20,
            buffer: None,
            buffer_settings: String::new(),
            uplink_settings: String::new(),
        }
    }
}

/// An agent process, and what was offered to it: a file that is read on at each start, and a serial line.
pub struct Device {
    /// The agent.
    pub agent: Agent,
    /// Its certificate.
    pub files: Files,
    /// What was offered, in order.
    pub offers: Vec<Offer>,
    /// How far ahead of the true time its readings are expected to be stamped.
    pub ahead_us: i64,
    buffer: PathBuf,
    csv: PathBuf,
    /// For each offer of the file: its index, and where its row ends.
    row_ends: Vec<(usize, u64)>,
    csv_bytes: u64,
    next_row_us: i64,
    port: Option<Port>,
    line: &'static str,
    line_was_cut: bool,
    /// Offers before this one are certain or lost for good.
    settled_offers: usize,
}

impl Device {
    /// A device that sends to the gateway on `port`; it does not run yet.
    ///
    /// # Panics
    /// When its folder, its file or its serial line cannot be made.
    #[must_use]
    pub fn new(folder: &Path, id: &str, port: u16, files: &Files, shape: &Shape) -> Self {
        let agent = Agent::new(folder, id, Some(port), files, "");
        let csv = folder.join("offered.csv");
        let header = "time,value\n";
        std::fs::write(&csv, header).expect("make the file of readings");
        let line = shape.line.map(|_| Port::open(&folder.join("line")).expect("open a pseudo-terminal"));
        let buffer = shape.buffer.clone().unwrap_or_else(|| agent.buffer());
        let device = Self {
            agent,
            files: files.clone(),
            offers: Vec::new(),
            ahead_us: 0,
            buffer,
            csv,
            row_ends: Vec::new(),
            csv_bytes: header.len() as u64,
            next_row_us: FILE_FROM_US,
            port: line,
            line: shape.line.unwrap_or("line"),
            line_was_cut: false,
            settled_offers: 0,
        };
        std::fs::write(device.agent.config(), device.settings(port, shape)).expect("write the agent's configuration");
        device
    }

    fn settings(&self, port: u16, shape: &Shape) -> String {
        let Files { authority, certificate, key } = &self.files;
        let mut text = format!(
            "[device]\nid = \"{}\"\n[buffer]\npath = {:?}\n{}\n[sealer]\nlinger_ms = {}\n\
             [uplink]\nhost = \"localhost\"\nport = {port}\nauthority_file = {authority:?}\n\
             certificate_file = {certificate:?}\nkey_file = {key:?}\nreconnect_s_min = 0.02\nreconnect_s_max = 0.2\n{}\n",
            self.agent.device, self.buffer, shape.buffer_settings, shape.linger_ms, shape.uplink_settings
        );
        if shape.file {
            write!(
                text,
                "[[source]]\nname = \"file\"\ntype = \"file\"\npath = {:?}\ntime = {{ column = \"time\", unit = \"us\" }}\n\
                 series = [{{ column = \"value\", name = \"file\" }}]\n",
                self.csv
            )
            .expect("a String takes text");
        }
        if let Some(port) = &self.port {
            write!(
                text,
                "[[source]]\nname = \"line\"\ntype = \"serial\"\nport = {:?}\nformat = \"key_value\"\ntrust_first_line = true\n\
                 series = [{{ column = \"value\", name = \"{}\" }}]\n",
                port.path, self.line
            )
            .expect("a String takes text");
        }
        text
    }

    /// Its buffer.
    #[must_use]
    pub fn buffer(&self) -> &Path {
        &self.buffer
    }

    /// Appends `count` readings to the file, a second apart; they are read at the agent's next start.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn offer(&mut self, count: usize) -> anyhow::Result<()> {
        let times: Vec<i64> = (self.next_row_us..).step_by(1_000_000).take(count).collect();
        self.next_row_us += i64::try_from(count)? * 1_000_000;
        self.offer_at(&times)
    }

    /// Appends a reading to the file for each of these times, in this order.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn offer_at(&mut self, times: &[i64]) -> anyhow::Result<()> {
        let mut text = String::new();
        for &time_us in times {
            let value = self.next_value();
            writeln!(text, "{time_us},{value}")?;
            self.row_ends.push((self.offers.len(), self.csv_bytes + text.len() as u64));
            self.offers.push(Offer { series: "file", when: When::At(time_us), value, sure: false });
        }
        self.csv_bytes += text.len() as u64;
        let mut file = File::options().append(true).open(&self.csv).context("append to the file of readings")?;
        file.write_all(text.as_bytes()).context("append to the file of readings")
    }

    /// Sends a reading down the serial line, which the agent stamps. Answers whether there was room on the wire.
    pub fn send(&mut self) -> bool {
        let (value, us) = (self.next_value(), now_us() + self.ahead_us);
        let Some(port) = &mut self.port else { return false };
        if !port.send(&format!("value={value}")) {
            // A part of it may be on the wire, to which the next line is glued.
            self.line_was_cut = true;
            return false;
        }
        let when = When::Around { us, within_us: LINE_WITHIN_US };
        let sure = !std::mem::take(&mut self.line_was_cut);
        self.offers.push(Offer { series: self.line, when, value, sure });
        true
    }

    /// Whether nothing on the serial line is unread.
    #[must_use]
    pub fn is_line_read(&self) -> bool {
        self.port.as_ref().is_none_or(Port::is_drained)
    }

    /// Whether all of the file is in the buffer.
    ///
    /// # Errors
    /// When the buffer cannot be read.
    pub fn is_file_read(&self) -> anyhow::Result<bool> {
        let offset = self.marks()?.offsets.get("file").copied().unwrap_or(0);
        Ok(self.row_ends.is_empty() || offset >= self.csv_bytes)
    }

    /// Each reading has a value of its own, and tenths, so that a cut number is another one.
    fn next_value(&self) -> f64 {
        let count = u32::try_from(self.offers.len()).unwrap_or(u32::MAX);
        f64::from(count) + 0.5
    }

    /// Starts the agent (again).
    pub fn start(&mut self) {
        self.agent.start();
    }

    /// SIGKILL: what was on the line and is not in the buffer may be gone, and nobody has accepted it.
    pub fn kill(&mut self) {
        self.agent.kill();
        self.doubt_lines();
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
                self.doubt_lines();
            } else {
                anyhow::ensure!(status.success(), "the agent in {} ended with {status}", self.agent.folder.display());
            }
        }
        self.settled_offers = self.offers.len();
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
        self.doubt_lines();
        None
    }

    /// What was sent since the last start or end may or may not have been accepted: the agent died, or could not store it.
    pub fn doubt_lines(&mut self) {
        for offer in &mut self.offers[self.settled_offers..] {
            offer.sure = false;
        }
        self.settled_offers = self.offers.len();
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

    /// Whether the agent has numbers that the cloud has not settled.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn has_batches_in_flight(&self, cloud: &Cloud) -> anyhow::Result<bool> {
        let marks = self.marks()?;
        let ledger = retried(|| Ledger::read_numbers(&cloud.gateway.database(), &self.agent.device))?;
        Ok(!oracle::unsettled(&marks, &ledger).is_empty())
    }

    /// Batches that a receipt has covered, and that the cloud's database does not have.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn early_receipts(&self, cloud: &Cloud) -> anyhow::Result<Vec<oracle::Place>> {
        let marks = self.marks()?;
        let ledger = retried(|| Ledger::read_numbers(&cloud.gateway.database(), &self.agent.device))?;
        Ok(oracle::early_receipts(&marks, &ledger))
    }

    /// Whether file and line are taken in, and all that was taken in is settled in the cloud.
    ///
    /// # Errors
    /// When a database cannot be read.
    pub fn is_drained(&self, cloud: &Cloud) -> anyhow::Result<bool> {
        let is_read = self.is_line_read();
        let marks = self.marks()?;
        let ledger = retried(|| Ledger::read_numbers(&cloud.gateway.database(), &self.agent.device))?;
        Ok(is_read && self.is_file_read()? && oracle::unsettled(&marks, &ledger).is_empty())
    }

    /// What was offered, with what the agent says of the file: rows before its cursor are accepted.
    ///
    /// # Errors
    /// When its buffer cannot be read.
    pub fn accepted(&self) -> anyhow::Result<Vec<Offer>> {
        let mut offers = self.offers.clone();
        let offset = self.marks()?.offsets.get("file").copied().unwrap_or(0);
        for (index, end) in &self.row_ends {
            offers[*index].sure = *end <= offset;
        }
        Ok(offers)
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

/// A database whose owner is just being killed may be busy or half recovered for a moment.
fn retried<T>(mut read: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let began = Instant::now();
    loop {
        match read() {
            Err(_) if began.elapsed() < Duration::from_secs(5) => std::thread::sleep(Duration::from_millis(10)),
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
