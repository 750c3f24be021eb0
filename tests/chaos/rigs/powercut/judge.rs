//! Holds an image against what the buffer had promised until then. It shares no code with the buffer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use agent::buffer::{Append, Buffer};
use vfs::Dice;

use super::seen::Seen;
use super::workload::{Deed, Note, Notebook, Offered};
use crate::rig::Fault;
use crate::rigs::offers::{Offers, open};

/// Told of everything that is wrong.
type Blame<'b> = dyn FnMut(Fault, String) + 'b;

/// What must hold after a cut, from the notes alone.
#[derive(Default)]
struct Expected<'n> {
    /// What was accepted, or may have been: true if it was.
    batches: BTreeMap<u64, (&'n Offered, &'n [u8], bool)>,
    /// How far each source is at the least.
    cursors: BTreeMap<&'static str, u64>,
    /// Rows that may have left.
    evicted: BTreeSet<u64>,
    /// Rows that are a gap for certain.
    lost: BTreeSet<u64>,
    /// Rows that a receipt was said to cover, or that it was said it no longer does.
    marked: BTreeSet<u64>,
    unmarked: BTreeSet<u64>,
    /// The append that the cut came in the middle of.
    under_way: Option<&'n Note>,
}

/// Opens the image in `folder` as the agent does after the power is back, and judges what it finds.
pub(super) fn image(
    notebook: &Notebook,
    cut: usize,
    folder: &Path,
    names: &BTreeSet<String>,
    blame: &mut Blame<'_>,
) -> anyhow::Result<()> {
    let expected = Expected::at(notebook, cut);
    let mut buffer = match open(folder, notebook.bytes_max) {
        Ok(buffer) => buffer,
        Err(error) => {
            blame(Fault::Lost, format!("the buffer does not open again: {error:?}"));
            return Ok(());
        }
    };
    if let Some(aside) = set_aside(folder, names)? {
        blame(Fault::Lost, format!("a file was set aside, as if a power cut had damaged it: {aside}"));
    }
    let seen = match Seen::read(folder) {
        Ok(seen) => seen,
        Err(error) => {
            blame(Fault::Lost, format!("the file is damaged: {error}"));
            return Ok(());
        }
    };
    expected.batches(&seen, blame);
    expected.cursors(&seen, blame);
    expected.settled(&seen, blame);
    expected.goes_on(&mut buffer, &seen, folder, blame)
}

/// A file that is there and that no buffer at work has.
fn set_aside(folder: &Path, names: &BTreeSet<String>) -> anyhow::Result<Option<String>> {
    let sqlite = |name: &String| ["buffer.db-wal", "buffer.db-shm", "buffer.db-journal"].contains(&name.as_str());
    Ok(super::names(folder)?.into_iter().find(|name| !names.contains(name) && !sqlite(name)))
}

impl<'n> Expected<'n> {
    fn at(notebook: &'n Notebook, cut: usize) -> Self {
        let mut expected = Self::default();
        for note in notebook.notes().iter().filter(|note| note.begin <= cut) {
            let done = note.end <= cut;
            match &note.deed {
                Deed::Append { batches, epoch, cursors, evicted, lost } => {
                    expected.evicted.extend(evicted);
                    let entries = batches.iter().map(|batch| (batch.row, (batch, epoch.as_slice(), done)));
                    expected.batches.extend(entries);
                    if done {
                        expected.cursors.extend(cursors.iter().copied());
                        expected.lost.extend(lost);
                    } else {
                        expected.under_way = Some(note);
                    }
                }
                Deed::Mark(rows) => {
                    expected.marked.extend(rows);
                    expected.unmarked.retain(|row| !rows.contains(row));
                }
                Deed::Unmark(rows) if done => {
                    expected.unmarked.extend(rows);
                }
                Deed::Unmark(_) | Deed::Reopen => {}
            }
        }
        expected
    }

    fn batches(&self, seen: &Seen, blame: &mut Blame<'_>) {
        for (row, (offered, epoch, accepted)) in &self.batches {
            match seen.batches.get(row) {
                Some((hash, body)) => {
                    if (hash, body) != (&offered.hash, &offered.body) {
                        blame(Fault::Mutated, format!("the batch of row {row} is not what was accepted"));
                    }
                    if seen.identity(*row).is_none_or(|(found, _)| found != *epoch) {
                        blame(Fault::Doubled, format!("row {row} is of another epoch than it was"));
                    }
                }
                None if !accepted => {}
                None if !self.evicted.contains(row) => {
                    blame(Fault::Lost, format!("row {row} was accepted and is not there"));
                }
                None if !self.marked.contains(row) && !seen.gaps.contains(row) => {
                    blame(Fault::WrongGap, format!("row {row} was evicted without receipt and without gap"));
                }
                None => {}
            }
        }
        for row in seen.batches.keys().filter(|row| !self.batches.contains_key(row)) {
            blame(Fault::Phantom, format!("row {row} was never offered"));
        }
        for row in self.lost.iter().filter(|row| !seen.gaps.contains(row) && !self.marked.contains(row)) {
            blame(Fault::WrongGap, format!("row {row} was noted as a loss, and no gap names it"));
        }
    }

    /// Each cursor says just what is stored. An append that was under way is there as a whole or not at all.
    fn cursors(&self, seen: &Seen, blame: &mut Blame<'_>) {
        let mut expected = self.cursors.clone();
        if let Some(Note { deed: Deed::Append { batches, cursors, .. }, .. }) = self.under_way {
            let there = batches.iter().filter(|batch| seen.batches.contains_key(&batch.row)).count();
            if there == batches.len() {
                expected.extend(cursors.iter().copied());
            } else if there > 0 {
                blame(Fault::Lost, format!("{there} of {} batches of one append are there", batches.len()));
            }
        }
        let sources = seen.cursors.keys().map(String::as_str).chain(expected.keys().copied());
        for source in sources.collect::<BTreeSet<_>>() {
            let position = seen.cursors.get(source).and_then(|bytes| bytes.as_slice().try_into().ok());
            let found = position.map_or(0, u64::from_be_bytes);
            let wanted = expected.get(source).copied().unwrap_or(0);
            if found > wanted {
                blame(Fault::Lost, format!("{source} would resume at {found}, behind what is stored until {wanted}"));
            } else if found < wanted {
                blame(Fault::Doubled, format!("{source} would resume at {found}, though all until {wanted} is stored"));
            }
        }
    }

    fn settled(&self, seen: &Seen, blame: &mut Blame<'_>) {
        for row in &seen.settled {
            if !self.marked.contains(row) {
                blame(Fault::EarlyReceipt, format!("row {row} counts as settled, and no receipt said so"));
            } else if self.unmarked.contains(row) && seen.batches.contains_key(row) {
                blame(Fault::Lost, format!("row {row} still counts as settled after its receipt was taken back"));
            }
        }
    }

    /// What is appended now gets numbers that nothing else had.
    fn goes_on(&self, buffer: &mut Buffer, before: &Seen, folder: &Path, blame: &mut Blame<'_>) -> anyhow::Result<()> {
        let batch = Offers::new().batch(&mut Dice::new(7), 20)?;
        let appended = match buffer.append(&Append { batches: vec![batch], ..Append::default() }) {
            Ok(appended) => appended,
            Err(error) => {
                blame(Fault::Lost, format!("nothing can be appended any more: {error:?}"));
                return Ok(());
            }
        };
        let Ok(after) = Seen::read(folder) else {
            blame(Fault::Lost, "the file is damaged by the next append".to_owned());
            return Ok(());
        };
        let Some((row, (epoch, _))) = appended.rows.and_then(|rows| Some((rows.first, after.identity(rows.first)?)))
        else {
            blame(Fault::Lost, "what is appended has no number".to_owned());
            return Ok(());
        };
        if self.batches.values().any(|(_, known, _)| *known == epoch.as_slice()) || before.batches.contains_key(&row) {
            blame(Fault::Doubled, format!("the number of row {row} is given again"));
        }
        let moved = before.batches.keys().filter(|row| after.batches.contains_key(row));
        for row in moved.filter(|row| before.identity(**row) != after.identity(**row)) {
            blame(Fault::Doubled, format!("row {row} has another number after the next start"));
        }
        Ok(())
    }
}
