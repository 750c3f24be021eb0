//! What was done to the files of a folder, in order.

use std::io;
use std::path::Path;

use crate::image::Replay;

/// A file by its place among the names of a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(pub(crate) usize);

/// Something that was done to a file, or to the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It was there when the first connection opened it: taken to be durable.
    Found(FileId, Vec<u8>),
    /// It was made, empty.
    Create(FileId),
    /// Bytes were written at an offset.
    Write(FileId, u64, Vec<u8>),
    /// It was cut or grown to a length.
    Truncate(FileId, u64),
    /// All that was done to it until here is durable.
    Sync(FileId),
    /// A sync failed: what was not durable until here never will be, as Linux has it.
    Lose(FileId),
    /// It was deleted.
    Delete(FileId),
    /// Which names are in the folder is durable.
    SyncFolder,
}

impl Operation {
    /// The file it was done to; none if it was the folder.
    #[must_use]
    pub fn file(&self) -> Option<FileId> {
        match self {
            Self::Found(file, _)
            | Self::Create(file)
            | Self::Write(file, _, _)
            | Self::Truncate(file, _)
            | Self::Sync(file)
            | Self::Lose(file)
            | Self::Delete(file) => Some(*file),
            Self::SyncFolder => None,
        }
    }
}

/// All that was done to the files of one folder.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    names: Vec<String>,
    operations: Vec<Operation>,
}

impl Tape {
    /// How many operations are on it: a place to cut at.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.operations.len()
    }

    /// The operations in order.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The files it speaks of, by name within the folder; a [`FileId`] is a place in it.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The name of a file of this tape.
    #[must_use]
    pub fn name(&self, file: FileId) -> &str {
        self.names.get(file.0).map_or("", String::as_str)
    }

    /// The tape from its start, to be cut where one likes.
    #[must_use]
    pub fn replay(&self) -> Replay<'_> {
        Replay::new(self)
    }

    /// Writes one of the images that a cut after the first `operations` can leave into the empty folder `into`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn image(&self, operations: usize, seed: u64, into: &Path) -> io::Result<()> {
        let mut replay = self.replay();
        replay.advance(operations);
        replay.image(seed).write(into)
    }

    /// The file of that name; whether the tape has heard of it before.
    pub(crate) fn file(&mut self, name: &str) -> (FileId, bool) {
        if let Some(place) = self.names.iter().position(|known| known == name) {
            return (FileId(place), true);
        }
        self.names.push(name.to_owned());
        (FileId(self.names.len() - 1), false)
    }

    pub(crate) fn note(&mut self, operation: Operation) {
        self.operations.push(operation);
    }
}
