//! A device: the agent's real buffer and session while it runs, and what stays of it when it does not.

use std::path::{Path, PathBuf};
use std::time::Instant;

use agent::buffer::{self, Buffer, EpochSpan};
use agent::uplink::Pace;
use agent::uplink::session::Session;
use anyhow::Context;
use proto::{BootId, Clock, DeviceId, Epoch, Quality, Ranges};

/// A device of the world.
pub(super) struct Device {
    /// As its certificate says it. Copies of one disk image share it.
    pub(super) name: DeviceId,
    pub(super) path: PathBuf,
    pub(super) bytes_max: u64,
    pub(super) pace: Pace,
    pub(super) running: Option<Running>,
    /// The connection that the agent has or dials.
    pub(super) connection: Option<usize>,
    /// What it knows of the time in this boot.
    pub(super) clock: Clock,
    /// When this boot began, in the world's microseconds.
    pub(super) booted_at: u64,
    /// It reaches nobody until then.
    pub(super) offline_until: u64,
    /// When a receipt last answered a hello of its.
    pub(super) told_at: u64,
    /// How many copies of its file were put aside, to be put back one day.
    pub(super) copies: usize,
}

/// An agent that runs.
pub(super) struct Running {
    pub(super) buffer: Buffer,
    pub(super) session: Session,
    /// What the session had marked, whether it was written yet or not.
    pub(super) marked: Ranges,
    /// Where epochs' rows lie, as the buffer said it.
    pub(super) spans: Vec<EpochSpan>,
    /// The row that the next batch or loss must have.
    pub(super) next_row: u64,
}

impl Running {
    /// The epoch and number of `row`.
    pub(super) fn identity(&self, row: u64) -> Option<(Epoch, u64)> {
        let span = self.spans.iter().filter(|span| span.base < row).max_by_key(|span| span.base)?;
        Some((span.epoch, row - span.base))
    }
}

impl Device {
    /// A device that was never switched on.
    pub(super) fn new(name: DeviceId, path: PathBuf, bytes_max: u64, pace: Pace) -> Self {
        Self {
            name,
            path,
            bytes_max,
            pace,
            running: None,
            connection: None,
            clock: Clock::default(),
            booted_at: 0,
            offline_until: 0,
            told_at: 0,
            copies: 0,
        }
    }

    /// Starts the agent over what its file holds.
    ///
    /// # Errors
    /// When the buffer does not open.
    pub(super) fn start(&mut self, seed: u64, now: Instant) -> anyhow::Result<()> {
        let settings = buffer::Settings { path: self.path.clone(), bytes_max: self.bytes_max, free_bytes_min: 0 };
        let buffer = Buffer::open(settings, self.clock).context("open an agent's buffer")?;
        let contents = buffer.contents()?;
        let session = Session::new(self.pace, &contents, seed, now);
        let (next_row, marked, spans) = (contents.next_row, contents.settled, contents.epochs);
        self.running = Some(Running { buffer, session, marked, spans, next_row });
        Ok(())
    }

    /// A boot begins: another boot id, another idea of the time.
    pub(super) fn boot(&mut self, boot: BootId, offset_us: i64, quality: Quality, now: u64) {
        self.clock = Clock { boot, offset_us, quality };
        self.booted_at = now;
    }

    /// Microseconds since this boot began.
    pub(super) fn uptime_us(&self, now: u64) -> i64 {
        i64::try_from(now - self.booted_at).unwrap_or(i64::MAX)
    }

    /// The agent is gone, and with it all that it had not written.
    pub(super) fn kill(&mut self) {
        self.running = None;
        self.connection = None;
    }

    /// Puts a copy of its file aside. Only while the agent does not run.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn put_aside(&mut self) -> anyhow::Result<()> {
        if self.path.exists() {
            copy_database(&self.path, &self.aside(self.copies))?;
            self.copies += 1;
        }
        Ok(())
    }

    /// Where the copy of that number lies.
    pub(super) fn aside(&self, copy: usize) -> PathBuf {
        self.path.with_extension(format!("copy-{copy}"))
    }
}

/// Copies a closed database over another: what its last connection left is all in the one file.
///
/// # Errors
/// The disk.
pub(super) fn copy_database(from: &Path, to: &Path) -> anyhow::Result<()> {
    for tail in ["-wal", "-shm"] {
        let mut beside = to.as_os_str().to_owned();
        beside.push(tail);
        if Path::new(&beside).exists() {
            std::fs::remove_file(&beside)?;
        }
    }
    std::fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    Ok(())
}
