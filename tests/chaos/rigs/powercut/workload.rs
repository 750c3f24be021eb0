//! What a buffer is asked to do, and what it promised when.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use agent::buffer::{Append, Buffer, Loss};
use anyhow::Context;
use proto::message::GapReason;
use proto::{Epoch, Range, Ranges};
use vfs::{Dice, Watch};

use crate::rigs::offers::{Offers, open};

const SOURCES: [&str; 3] = ["meter", "sensor", "site"];
/// Calls of a workload.
const STEPS: u64 = 60;
/// Caps on the file: so tight that it evicts all the time, now and then, never.
const BYTES_MAX: [u64; 3] = [80 * 1_024, 320 * 1_024, 64 << 20];

/// One batch as it was handed over.
#[derive(Clone)]
pub(super) struct Offered {
    pub(super) row: u64,
    pub(super) hash: Vec<u8>,
    pub(super) body: Vec<u8>,
}

/// What a call did, as its answer says.
pub(super) enum Deed {
    /// An append.
    Append {
        batches: Vec<Offered>,
        /// The epoch they are of, 8 bytes.
        epoch: Vec<u8>,
        /// Sources and how far each is now, in appends of its own.
        cursors: Vec<(&'static str, u64)>,
        evicted: BTreeSet<u64>,
        /// Rows of losses.
        lost: BTreeSet<u64>,
    },
    /// Receipts cover these rows.
    Mark(BTreeSet<u64>),
    /// They no longer do.
    Unmark(BTreeSet<u64>),
    /// The agent was started again.
    Reopen,
}

/// A call, and how long the tape was before and after it.
pub(super) struct Note {
    pub(super) begin: usize,
    pub(super) end: usize,
    pub(super) deed: Deed,
}

/// All that a workload did.
pub(super) struct Notebook {
    notes: Vec<Note>,
    pub(super) bytes_max: u64,
}

impl Notebook {
    pub(super) fn notes(&self) -> &[Note] {
        &self.notes
    }
}

/// A workload under way.
pub(super) struct Workload<'w> {
    watch: &'w Watch,
    folder: PathBuf,
    buffer: Option<Buffer>,
    epoch: Option<Epoch>,
    dice: Dice,
    offers: Offers,
    cursors: [u64; SOURCES.len()],
    /// Rows that are there, as far as the answers say.
    held: BTreeSet<u64>,
    marked: BTreeSet<u64>,
    notebook: Notebook,
}

impl<'w> Workload<'w> {
    pub(super) fn start(folder: &Path, seed: u64, watch: &'w Watch) -> anyhow::Result<Self> {
        let mut dice = Dice::new(seed);
        let bytes_max = BYTES_MAX[dice.place(BYTES_MAX.len())];
        let buffer = Some(open(folder, bytes_max)?);
        let notebook = Notebook { notes: vec![Note { begin: 0, end: watch.mark(), deed: Deed::Reopen }], bytes_max };
        let (cursors, held, marked) = ([0; SOURCES.len()], BTreeSet::new(), BTreeSet::new());
        let (folder, offers) = (folder.into(), Offers::new());
        Ok(Self { watch, folder, buffer, epoch: None, dice, offers, cursors, held, marked, notebook })
    }

    /// All of it.
    pub(super) fn work(&mut self) -> anyhow::Result<()> {
        for _ in 0..STEPS {
            let begin = self.watch.mark();
            let deed = match self.dice.below(100) {
                0..70 => self.append()?,
                70..90 => self.mark()?,
                90..94 => self.unmark()?,
                _ => self.reopen()?,
            };
            self.notebook.notes.push(Note { begin, end: self.watch.mark(), deed });
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Notebook {
        self.notebook
    }

    fn buffer(&mut self) -> anyhow::Result<&mut Buffer> {
        self.buffer.as_mut().context("the buffer is open between calls")
    }

    fn append(&mut self) -> anyhow::Result<Deed> {
        let mut append = Append::default();
        for _ in 0..=self.dice.below(3) {
            append.batches.push(self.offers.batch(&mut self.dice, 250)?);
        }
        if self.dice.chance(10) {
            let loss = Loss { source: None, from: None, until: None, count: Some(3), reason: GapReason::Overrun };
            append.losses.push(loss);
        }
        let mut cursors = Vec::new();
        for (source, so_far) in SOURCES.into_iter().zip(&mut self.cursors) {
            if self.dice.chance(60) {
                *so_far += 1;
                cursors.push((source, *so_far));
            }
        }
        append.cursors = cursors.iter().map(|(source, at)| ((*source).into(), at.to_be_bytes().to_vec())).collect();
        let appended = self.buffer()?.append(&append)?;
        if let Some(began) = appended.began {
            self.epoch = Some(began.epoch);
        }
        let epoch = self.epoch.context("an append has an epoch")?.0.to_vec();
        let (evicted, gaps) = (rows_of(&appended.evicted), rows_of(&appended.gaps));
        let lost: BTreeSet<u64> = gaps.difference(&evicted).copied().collect();
        let rows = rows_of(&appended.rows.into_iter().collect());
        let rows = rows.into_iter().filter(|row| !lost.contains(row));
        let offered = rows.zip(&append.batches).map(|(row, batch)| Offered {
            row,
            hash: batch.sealed.hash.0.to_vec(),
            body: batch.sealed.body.clone(),
        });
        let batches: Vec<Offered> = offered.collect();
        anyhow::ensure!(batches.len() == append.batches.len(), "a row for each batch");
        self.held.extend(batches.iter().map(|batch| batch.row));
        self.held.retain(|row| !evicted.contains(row));
        Ok(Deed::Append { batches, epoch, cursors, evicted, lost })
    }

    fn mark(&mut self) -> anyhow::Result<Deed> {
        let share = self.dice.below(100);
        let rows = self.some_rows(|held| held, share);
        self.buffer()?.mark(&ranges(&rows));
        self.marked.extend(&rows);
        if self.dice.chance(30) {
            self.buffer()?.flush_marks()?;
        }
        Ok(Deed::Mark(rows))
    }

    fn unmark(&mut self) -> anyhow::Result<Deed> {
        let marked = self.marked.clone();
        let rows = self.some_rows(|held| held.intersection(&marked).copied().collect(), 30);
        self.buffer()?.unmark(&ranges(&rows))?;
        self.marked.retain(|row| !rows.contains(row));
        Ok(Deed::Unmark(rows))
    }

    fn reopen(&mut self) -> anyhow::Result<Deed> {
        self.buffer = None;
        self.buffer = Some(open(&self.folder, self.notebook.bytes_max)?);
        self.epoch = None;
        Ok(Deed::Reopen)
    }

    /// Each row of `of` with a chance of `percent`.
    fn some_rows(&mut self, of: impl FnOnce(BTreeSet<u64>) -> BTreeSet<u64>, percent: u64) -> BTreeSet<u64> {
        of(self.held.clone()).into_iter().filter(|_| self.dice.chance(percent)).collect()
    }
}

fn rows_of(ranges: &Ranges) -> BTreeSet<u64> {
    ranges.iter().flat_map(|range| range.first..=range.last).collect()
}

fn ranges(rows: &BTreeSet<u64>) -> Ranges {
    rows.iter().map(|row| Range::one(*row)).collect()
}
