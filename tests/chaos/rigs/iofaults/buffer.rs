//! The agent's buffer on a failing disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use agent::buffer::{Append, Appended, Buffer};
use proto::{Range, Ranges};
use vfs::{Dice, Watch};

use super::{Blame, persist};
use crate::rig::Fault;
use crate::rigs::offers::{Offers, open};
use crate::rigs::powercut::seen::Seen;

/// Calls of a workload.
const STEPS: usize = 16;
/// Caps on the file: tight, and wide.
const BYTES_MAX: [u64; 2] = [80 * 1_024, 64 << 20];

/// What the buffer promised.
#[derive(Default)]
struct Promised {
    /// Hash and body by row.
    batches: BTreeMap<u64, (Vec<u8>, Vec<u8>)>,
    marked: BTreeSet<u64>,
    gaps: BTreeSet<u64>,
    /// First row of each epoch.
    epochs: BTreeSet<u64>,
    cursor: u64,
}

/// Appends, marks, looks and starts again, on a disk that may fail at any time.
pub(super) fn work(folder: &Path, seed: u64, watch: &Watch, blame: &mut Blame<'_>) -> anyhow::Result<()> {
    let (mut dice, mut offers, mut promised) = (Dice::new(seed), Offers::new(), Promised::default());
    let bytes_max = BYTES_MAX[dice.place(BYTES_MAX.len())];
    let again = |blame: &mut Blame<'_>| persist(watch, "opening", blame, || open(folder, bytes_max));
    let Some(mut buffer) = again(blame) else { return Ok(()) };
    for step in 0..STEPS {
        match dice.below(10) {
            0 | 1 => {
                let rows: BTreeSet<u64> = promised.batches.keys().copied().filter(|_| dice.chance(40)).collect();
                buffer.mark(&rows.iter().map(|row| Range::one(*row)).collect::<Ranges>());
                promised.marked.extend(rows);
            }
            2 => promised.look(&mut buffer, blame),
            _ => {
                let mut append = Append::default();
                for _ in 0..=dice.below(3) {
                    append.batches.push(offers.batch(&mut dice, 150)?);
                }
                let cursor = promised.cursor + 1;
                append.cursors = vec![("meter".into(), cursor.to_be_bytes().to_vec())];
                let Some(done) = persist(watch, "appending", blame, || buffer.append(&append)) else { return Ok(()) };
                promised.cursor = cursor;
                promised.accept(&append, &done);
            }
        }
        if step == STEPS / 2 {
            drop(buffer);
            let Some(opened) = again(blame) else { return Ok(()) };
            buffer = opened;
        }
    }
    drop(buffer);
    watch.heal();
    let Some(mut buffer) = again(blame) else { return Ok(()) };
    match Seen::read(folder) {
        Ok(seen) => promised.judge(&seen, blame),
        Err(error) => blame(Fault::Lost, format!("the file is damaged: {error}")),
    }
    promised.look(&mut buffer, blame);
    Ok(())
}

impl Promised {
    fn accept(&mut self, append: &Append, appended: &Appended) {
        let sealed = append.batches.iter().map(|batch| &batch.sealed);
        let rows = appended.rows.into_iter().flat_map(|rows| rows.first..=rows.last);
        self.batches.extend(rows.zip(sealed.map(|sealed| (sealed.hash.0.to_vec(), sealed.body.clone()))));
        self.gaps.extend(appended.gaps.iter().flat_map(|range| range.first..=range.last));
        self.epochs.extend(appended.began.map(|span| span.base + 1));
    }

    /// What is handed out to be sent is what was accepted, whatever the disk does.
    fn look(&self, buffer: &mut Buffer, blame: &mut Blame<'_>) {
        let Some(last) = self.batches.keys().next_back() else { return };
        let Ok(Some(parcel)) = buffer.peek(Range { first: 1, last: *last }, true, 16 * 1_024) else { return };
        for (row, sealed) in (parcel.rows.first..).zip(&parcel.frame.bodies) {
            if self.batches.get(&row).is_none_or(|(_, body)| *body != sealed.body) {
                blame(Fault::Mutated, format!("row {row} is not handed out as it was accepted"));
            }
        }
    }

    fn judge(&self, seen: &Seen, blame: &mut Blame<'_>) {
        for (row, accepted) in &self.batches {
            match seen.batches.get(row) {
                Some(stored) if stored == accepted => {}
                Some(_) => blame(Fault::Mutated, format!("the batch of row {row} is not what was accepted")),
                None if self.marked.contains(row) || seen.gaps.contains(row) => {}
                None => blame(Fault::Lost, format!("row {row} was accepted, and is neither there nor in a gap")),
            }
        }
        let mut hashes = BTreeSet::new();
        for (row, (hash, _)) in &seen.batches {
            if !hashes.insert(hash) {
                blame(Fault::Doubled, format!("the batch of row {row} is there twice"));
            }
            if !self.batches.contains_key(row) {
                blame(Fault::Phantom, format!("row {row} is of an append that failed"));
            }
        }
        let position = seen.cursors.get("meter").and_then(|bytes| bytes.as_slice().try_into().ok());
        let found = position.map_or(0, u64::from_be_bytes);
        if found != self.cursor {
            let fault = if found > self.cursor { Fault::Lost } else { Fault::Doubled };
            blame(fault, format!("the source would resume at {found} instead of {}", self.cursor));
        }
        self.numbers(seen, blame);
    }

    /// In each epoch, numbers follow on one another from 1 on: the gateway takes one that is missing for a loss.
    fn numbers(&self, seen: &Seen, blame: &mut Blame<'_>) {
        let given: BTreeSet<u64> = self.batches.keys().chain(&self.gaps).chain(&seen.gaps).copied().collect();
        for first in &self.epochs {
            let next_epoch = self.epochs.range(first + 1..).next().copied().unwrap_or(u64::MAX);
            let last = given.range(*first..next_epoch).next_back().copied().unwrap_or(*first);
            for row in (*first..=last).filter(|row| !given.contains(row)) {
                blame(Fault::WrongGap, format!("no batch and no gap ever had the number of row {row}"));
            }
        }
    }
}
