//! Many devices in a process of their own, as seen from outside: what it is told, and what it says.
//!
//! The process is `tributary-load`. It takes one [`Job`] as JSON in its arguments, an [`Order`] a line on standard
//! input, and answers on standard output, a [`Said`] a line. It ends with its input.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::binary;
use crate::process::Process;

/// Who connects, and where to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The gateway's port on loopback.
    pub port: u16,
    /// Whom to trust, PEM.
    pub authority: PathBuf,
    /// Names, certificates and keys, as [`crate::Pki::fleet`] wrote them.
    pub fleet: PathBuf,
    /// How many of them connect.
    pub devices: usize,
    /// Over how long the first connections are spread, in milliseconds.
    pub spread_ms: u64,
}

/// What the devices are to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Publish, and wait for all receipts.
    Publish(Work),
    /// Close every socket at once, then come back as agents do.
    Drop,
}

/// What each device publishes: frames of one batch, encoded before the clock starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Work {
    /// Each order of a run has another one: it makes the epoch.
    pub run: u8,
    /// Readings of one batch.
    pub readings: usize,
    /// Messages of one device.
    pub messages: usize,
    /// Messages without a receipt that one device may have under way.
    pub window: usize,
    /// Microseconds between two messages of one device; as fast as receipts allow without.
    pub every_us: Option<u64>,
}

/// What the process says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Said {
    /// All devices are connected, and the gateway has granted them their receipts.
    Up(Up),
    /// Receipts cover all that was ordered.
    Done(Done),
}

/// All devices are there (again).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Up {
    /// How many.
    pub sessions: usize,
    /// Since the first one dialled, or since the first one was lost.
    pub seconds: f64,
    /// Connections that were tried meanwhile.
    pub attempts: u64,
    /// Why attempts failed and connections ended, with how often.
    pub failures: BTreeMap<String, u64>,
    /// Processor time of the devices' process meanwhile, in seconds.
    pub processor_s: f64,
}

/// What was published is settled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// Readings that receipts cover.
    pub readings: usize,
    /// Messages they came in.
    pub messages: usize,
    /// From the first publish to the last receipt.
    pub seconds: f64,
    /// Processor time of the devices' process meanwhile, in seconds.
    pub processor_s: f64,
    /// From publish, or from when it was due, to the receipt, in milliseconds: half of all were faster.
    pub p50_ms: f64,
    /// All but one of a hundred were faster.
    pub p99_ms: f64,
    /// The slowest.
    pub most_ms: f64,
    /// Devices that are connected.
    pub sessions: usize,
    /// Why connections ended meanwhile, with how often.
    pub failures: BTreeMap<String, u64>,
}

/// A device of a fleet: its name, its certificate, its key (PKCS#8), both DER.
pub type Member = (String, Vec<u8>, Vec<u8>);

/// The running process; killed when dropped.
pub struct Load {
    /// It.
    pub process: Process,
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl Load {
    /// Starts it; its devices connect at once. What goes wrong is written to `folder`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(job: &Job, folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(binary("tributary-load"));
        command.arg(serde_json::to_string(job)?);
        let (mut process, input) = Process::start_led(command, &folder.join("load.log"))?;
        let output = process.output().context("its output is piped")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Ok(Self { process, input, lines })
    }

    /// Waits until all are connected.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn up(&self, deadline: Duration) -> anyhow::Result<Up> {
        match self.next(deadline).context("wait for all devices to be connected")? {
            Said::Up(up) => Ok(up),
            Said::Done(done) => anyhow::bail!("{done:?} instead"),
        }
    }

    /// Has `work` done, and waits for it.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn publish(&mut self, work: &Work, deadline: Duration) -> anyhow::Result<Done> {
        self.order(&Order::Publish(work.clone()))?;
        loop {
            match self.next(deadline).context("wait for all receipts")? {
                Said::Done(done) => return Ok(done),
                Said::Up(_) => {} // some were away meanwhile; what they published is counted all the same
            }
        }
    }

    /// Gives an order.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn order(&mut self, order: &Order) -> anyhow::Result<()> {
        writeln!(self.input, "{}", serde_json::to_string(order)?).context("give an order to the devices")
    }

    fn next(&self, deadline: Duration) -> anyhow::Result<Said> {
        let log = || format!("the devices said nothing within {deadline:?}; {}", self.process.log_text());
        Ok(serde_json::from_str(&self.lines.recv_timeout(deadline).with_context(log)?)?)
    }
}

/// Lets this process and its children open `wanted` files at once, as far as the system allows. Answers how many.
#[must_use]
pub fn raise_files(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let maximum = now.maximum.map_or(wanted, |most| most.max(wanted));
    let raised = Rlimit { current: Some(maximum), maximum: Some(maximum) };
    // Only root may go beyond the hard limit; up to it everybody may.
    if setrlimit(Resource::Nofile, raised).is_err() {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
