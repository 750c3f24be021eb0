//! What happened, in order: as a hash, by which two runs of a seed are compared, and in words for who looks closer.

use std::fmt;

use proto::Epoch;

/// The log of one world.
pub(super) struct Log {
    hash: u64,
    /// Epochs are drawn by the agent's buffer from the system. Here they are called by the order of their appearance.
    epochs: Vec<Epoch>,
    text: bool,
}

impl Log {
    pub(super) fn new(text: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, epochs: Vec::new(), text }
    }

    /// Notes what happened `at` microseconds after the world began.
    pub(super) fn note(&mut self, at: u64, what: fmt::Arguments<'_>) {
        let line = format!("{:>12.6} {what}", std::time::Duration::from_micros(at).as_secs_f64());
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3); // FNV-1a
        }
        if self.text {
            println!("{line}");
        }
    }

    /// What `epoch` is called here.
    pub(super) fn epoch(&mut self, epoch: Epoch) -> usize {
        let known = self.epochs.iter().position(|known| *known == epoch);
        known.unwrap_or_else(|| {
            self.epochs.push(epoch);
            self.epochs.len() - 1
        })
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }
}
