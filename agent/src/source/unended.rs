//! A row that was taken though its line had no end: `6,1` may be all of it, or the beginning of `6,118`.
//!
//! Its readings get a name, made of the file, the place and what stood there. Should the line go on after all, they are
//! withdrawn by that name, and the whole line is a row like any other.

use proto::{Change, Origin, Reading, Value};

use super::Sample;

/// Where such a row is, and what it was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// A hash that tells the file.
    pub(super) file: u64,
    /// Its first byte, from the file's start.
    pub(super) start: u64,
    /// A hash of its bytes.
    pub(super) hash: u64,
}

impl Part {
    /// Gives its readings their name.
    pub(super) fn name(self, samples: &mut [Sample]) {
        samples.iter_mut().for_each(|sample| sample.reading.origin = self.origin(1, Change::Add));
    }

    /// What withdraws these, its readings.
    pub(super) fn withdrawn(self, samples: Vec<Sample>) -> Vec<Sample> {
        let withdrawn = |sample: Sample| {
            let origin = self.origin(2, Change::Retract);
            Sample { reading: Reading { value: Value::Absent, origin, ..sample.reading }, ..sample }
        };
        samples.into_iter().map(withdrawn).collect()
    }

    fn origin(self, revision: u64, change: Change) -> Option<Box<Origin>> {
        let id = format!("{:016x}-{}-{:016x}", self.file, self.start, self.hash);
        Some(Box::new(Origin { id, revision, change }))
    }
}
