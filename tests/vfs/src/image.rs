//! What a power cut leaves of a tape.

use std::fs;
use std::io;
use std::path::Path;

use crate::dice::Dice;
use crate::tape::{FileId, Operation, Tape};

/// What a disk writes at once: old sectors, and pages of the page cache.
const UNITS: [u64; 2] = [512, 4_096];
/// In how many of a hundred cases a piece of an un-synced write is kept, one of these for each image: all or nothing of
/// it are the plain cuts; few and most find what rests on an order of writes.
const KEPT_PERCENT: [u64; 6] = [0, 0, 10, 50, 90, 100];

/// A tape, played up to some operation.
#[derive(Clone, Debug)]
pub struct Replay<'t> {
    tape: &'t Tape,
    at: usize,
    files: Vec<State>,
}

/// A file at some operation.
#[derive(Clone, Debug, Default)]
struct State {
    /// What the last sync left; none if the file, or its absence, is all that is durable.
    durable: Option<Vec<u8>>,
    /// The operations since then.
    pending: Vec<usize>,
}

/// Files by name, as a power cut left them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Name and content.
    pub files: Vec<(String, Vec<u8>)>,
}

impl<'t> Replay<'t> {
    pub(crate) fn new(tape: &'t Tape) -> Self {
        Self { tape, at: 0, files: vec![State::default(); tape.names().len()] }
    }

    /// Plays on until `mark` operations are played. It never goes back.
    pub fn advance(&mut self, mark: usize) {
        let operations = self.tape.operations();
        for (place, operation) in operations.iter().enumerate().take(mark).skip(self.at) {
            let Some(file) = operation.file() else {
                self.files.iter_mut().for_each(|state| state.sync_name(operations));
                continue;
            };
            let Some(state) = self.files.get_mut(file.0) else { continue };
            match operation {
                Operation::Found(_, bytes) => *state = State { durable: Some(bytes.clone()), pending: Vec::new() },
                Operation::Lose(_) => state.pending.clear(),
                Operation::Sync(_) => {
                    let pending = std::mem::take(&mut state.pending);
                    let done = pending.iter().filter_map(|place| operations.get(*place));
                    state.durable = done.fold(state.durable.take(), apply);
                }
                _ => state.pending.push(place),
            }
        }
        self.at = self.at.max(mark.min(operations.len()));
    }

    /// What the last sync left of `file`.
    #[must_use]
    pub fn durable(&self, file: FileId) -> Option<&[u8]> {
        self.files.get(file.0)?.durable.as_deref()
    }

    /// What processes see here, and what is left when they are killed and the power stays on: all that was done.
    #[must_use]
    pub fn whole(&self) -> Image {
        let operations = self.tape.operations();
        let content = |state: &State| {
            let pending = state.pending.iter().filter_map(|place| operations.get(*place));
            pending.fold(state.durable.clone(), apply)
        };
        let files = self.tape.names().iter().zip(&self.files);
        Image { files: files.filter_map(|(name, state)| Some((name.clone(), content(state)?))).collect() }
    }

    /// One of the images that a cut here can leave; `seed` says which.
    #[must_use]
    pub fn image(&self, seed: u64) -> Image {
        let mut dice = Dice::new(seed);
        let unit = UNITS[dice.place(UNITS.len())];
        let kept_percent = KEPT_PERCENT[dice.place(KEPT_PERCENT.len())];
        let mut files = Vec::with_capacity(self.files.len());
        for (name, state) in self.tape.names().iter().zip(&self.files) {
            let mut fate = Fate { dice: &mut dice, unit, kept_percent };
            if let Some(bytes) = fate.of(state, self.tape.operations()) {
                files.push((name.clone(), bytes));
            }
        }
        Image { files }
    }
}

impl State {
    /// What was done to the name is durable; what was done to the content is not.
    fn sync_name(&mut self, operations: &[Operation]) {
        let is_delete = |place: &usize| matches!(operations.get(*place), Some(Operation::Delete(_)));
        if let Some(last) = self.pending.iter().rposition(is_delete) {
            self.durable = None;
            self.pending.drain(..=last);
        }
        let known = self.pending.len();
        self.pending.retain(|place| !matches!(operations.get(*place), Some(Operation::Create(_))));
        if self.pending.len() < known {
            self.durable.get_or_insert_default();
        }
    }
}

impl Image {
    /// Writes the files into the folder `into`.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write(&self, into: &Path) -> io::Result<()> {
        self.files.iter().try_for_each(|(name, bytes)| fs::write(into.join(name), bytes))
    }
}

/// Decides what becomes of operations that no sync followed.
struct Fate<'d> {
    dice: &'d mut Dice,
    unit: u64,
    kept_percent: u64,
}

impl Fate<'_> {
    fn of(&mut self, state: &State, operations: &[Operation]) -> Option<Vec<u8>> {
        let pending: Vec<&Operation> = state.pending.iter().filter_map(|place| operations.get(*place)).collect();
        let mut content = state.durable.clone();
        let mut lives: Vec<&[&Operation]> = pending.split(|it| matches!(it, Operation::Delete(_))).collect();
        // A name is one file's at a time: what was done to the file of a later life shows just if the deletion before it
        // happened, and then nothing of the earlier life does.
        let last = lives.pop().unwrap_or_default();
        for life in lives {
            if !self.happens() {
                return self.life(content, life);
            }
            content = None;
        }
        self.life(content, last)
    }

    /// What is left of a file that held `content` after some of `operations`.
    fn life(&mut self, mut content: Option<Vec<u8>>, operations: &[&Operation]) -> Option<Vec<u8>> {
        for operation in operations {
            content = match operation {
                Operation::Write(_, offset, bytes) => self.write(content, *offset, bytes),
                Operation::Create(_) if !self.happens() => return None,
                Operation::Create(_) => apply(content, operation),
                _ if self.happens() => apply(content, operation),
                _ => content,
            };
        }
        content
    }

    fn write(&mut self, mut content: Option<Vec<u8>>, offset: u64, bytes: &[u8]) -> Option<Vec<u8>> {
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let room = self.unit - at % self.unit;
            let (piece, after) = rest.split_at(rest.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            if self.happens() {
                put(content.get_or_insert_default(), at, piece);
            }
            (at, rest) = (at + piece.len() as u64, after);
        }
        content
    }

    fn happens(&mut self) -> bool {
        self.dice.chance(self.kept_percent)
    }
}

/// The whole of `operation`, done to `content`.
fn apply(content: Option<Vec<u8>>, operation: &Operation) -> Option<Vec<u8>> {
    match operation {
        Operation::Create(_) => Some(content.unwrap_or_default()),
        Operation::Write(_, offset, bytes) => {
            let mut content = content.unwrap_or_default();
            put(&mut content, *offset, bytes);
            Some(content)
        }
        Operation::Truncate(_, length) => {
            let mut content = content.unwrap_or_default();
            content.resize(usize::try_from(*length).unwrap_or(usize::MAX), 0);
            Some(content)
        }
        Operation::Delete(_) => None,
        Operation::Found(..) | Operation::Sync(_) | Operation::Lose(_) | Operation::SyncFolder => content,
    }
}

fn put(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let Ok(from) = usize::try_from(offset) else { return };
    let until = from + bytes.len();
    if content.len() < until {
        content.resize(until, 0);
    }
    content[from..until].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests;
