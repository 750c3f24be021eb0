//! What is offered to a device, by a file that is read on at each start and by a serial line; and a ledger of it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Shape, now_us};
use crate::oracle::{Offer, When};
use crate::pty::Port;

/// Readings of the file begin here (2026-06-01), a second apart.
const FILE_FROM_US: i64 = 1_780_272_000_000_000;
/// How far the stamp of a line may be from when it was sent: an agent that has to wait for a processor is not wrong.
const LINE_WITHIN_US: i64 = 30_000_000;

/// A file, a serial line, and everything that they have offered.
pub struct Input {
    offers: Vec<Offer>,
    /// How far ahead of the true time lines are expected to be stamped.
    pub ahead_us: i64,
    csv: PathBuf,
    /// For each offer of the file: its index, and where its row ends.
    row_ends: Vec<(usize, u64)>,
    csv_bytes: u64,
    next_row_us: i64,
    port: Option<Port>,
    line: &'static str,
    line_was_cut: bool,
    has_file: bool,
    /// Lines before this offer are certain or in doubt for good.
    settled: usize,
}

impl Input {
    pub(super) fn new(folder: &Path, shape: &Shape) -> Self {
        let (csv, header) = (folder.join("offered.csv"), "time,value\n");
        std::fs::write(&csv, header).expect("make the file of readings");
        Self {
            offers: Vec::new(),
            ahead_us: 0,
            csv,
            row_ends: Vec::new(),
            csv_bytes: header.len() as u64,
            next_row_us: FILE_FROM_US,
            port: shape.line.map(|_| Port::open(&folder.join("line")).expect("open a pseudo-terminal")),
            line: shape.line.unwrap_or("line"),
            line_was_cut: false,
            has_file: shape.file,
            settled: 0,
        }
    }

    /// `[[source]]` tables.
    pub(super) fn settings(&self) -> String {
        let mut text = String::new();
        if self.has_file {
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

    /// Each reading has a value of its own; it ends with a five, so that a number that was cut is another one.
    fn next_value(&self) -> f64 {
        f64::from(u32::try_from(self.offers.len()).unwrap_or(u32::MAX)) + 0.5
    }

    /// Whether nothing on the serial line is unread.
    #[must_use]
    pub fn is_line_read(&self) -> bool {
        self.port.as_ref().is_none_or(Port::is_drained)
    }

    /// Whether an agent that has taken in `offset` bytes of the file has taken in all of it.
    pub(super) fn is_file_read(&self, offset: u64) -> bool {
        self.row_ends.is_empty() || offset >= self.csv_bytes
    }

    /// Lines until now were taken in and stored: the agent has ended well.
    pub(super) fn trust(&mut self) {
        self.settled = self.offers.len();
    }

    /// What was sent since the agent last ended may or may not have been accepted: it died, or could store nothing.
    pub fn doubt(&mut self) {
        self.offers[self.settled..].iter_mut().for_each(|offer| offer.sure = false);
        self.settled = self.offers.len();
    }

    /// What was offered. Rows of the file are accepted as far as the agent's own `offset` there says.
    pub(super) fn offers(&self, offset: u64) -> Vec<Offer> {
        let mut offers = self.offers.clone();
        for (index, end) in &self.row_ends {
            offers[*index].sure = *end <= offset;
        }
        offers
    }
}
