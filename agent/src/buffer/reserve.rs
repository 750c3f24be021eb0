//! Room kept on the disk, so that evicting and noting a gap can still be written when someone else has filled it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::{beside, disk_bytes};
use super::private;
use crate::random::Random;

/// How often it is tried to take the reserve again: it is written out each time, and flash wears.
const TRY_EVERY: Duration = Duration::from_secs(10);

/// A file beside the buffer that holds nothing but space.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    held: bool,
    tried: Option<Instant>,
}

impl Reserve {
    /// The reserve beside `buffer`: held if its file is there.
    pub(super) fn new(buffer: &Path, bytes: u64) -> Self {
        let path = beside(buffer, ".reserve");
        let held = fs::metadata(&path).is_ok_and(|file| file.len() >= bytes);
        Self { path, bytes, held, tried: None }
    }

    /// Whether there ever was one here: then the buffer beside it is this agent's.
    pub(super) fn was_here(buffer: &Path) -> bool {
        fs::exists(beside(buffer, ".reserve")).unwrap_or(false)
    }

    /// Whether the space is there.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Gives the space back to the disk. The empty file stays, as a sign of whose the buffer is.
    pub(super) fn let_go(&mut self) {
        if self.held {
            let given = File::options().write(true).open(&self.path).and_then(|file| file.set_len(0));
            tracing::warn!(bytes = self.bytes, ok = given.is_ok(), "the disk is full; using the buffer's reserve");
            self.held = false;
            self.tried = Some(Instant::now());
        }
    }

    /// Takes the space again when the disk has it, twice over, so that the buffer has room to work as well.
    pub(super) fn keep(&mut self) {
        if self.held || self.tried.is_some_and(|tried| tried.elapsed() < TRY_EVERY) {
            return;
        }
        self.tried = Some(Instant::now());
        if disk_bytes(&self.path).is_some_and(|(free, _)| free < self.bytes * 2) {
            return;
        }
        self.held = self.write().is_ok();
        if !self.held {
            let _ = File::options().write(true).open(&self.path).and_then(|file| file.set_len(0));
        }
    }

    /// Writes what no file system can leave out or make smaller.
    fn write(&self) -> io::Result<()> {
        let mut file = private::options().create(true).write(true).truncate(true).open(&self.path)?;
        let mut random = Random::new(self.bytes);
        let mut piece = [0; 4_096];
        for _ in 0..self.bytes.div_ceil(4_096) {
            piece.chunks_exact_mut(8).for_each(|eight| eight.copy_from_slice(&random.next().to_be_bytes()));
            file.write_all(&piece)?;
        }
        file.sync_all()
    }
}
