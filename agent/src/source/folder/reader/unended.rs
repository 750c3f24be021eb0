//! The last line of a file that may not have been written to its end. It is left alone until the file has been still for
//! long, and then taken as [`Part`] says.

use super::{Reader, Record, TAIL_BYTES_MAX, Trouble, memory};
use crate::source::folder::look::stamp_of;
use crate::source::lines::Line;
use crate::source::unended::Part;

/// Since when the file is as it is.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Still {
    /// Its size and time when it was looked at.
    pub(in super::super) stamp: u64,
    /// Whether it has been so for long enough to take a last line without an end.
    pub(in super::super) is_long: bool,
}

/// A line that was taken without an end, and its length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    part: Part,
    bytes: u64,
}

impl Taken {
    /// The last line that was taken of `file`, where it had no end.
    pub(super) fn of(file: &memory::File) -> Option<Self> {
        let start = file.offset.checked_sub(file.tail_bytes).filter(|_| file.open)?;
        Some(Self { part: Part { file: file.name, start, hash: file.tail }, bytes: file.tail_bytes })
    }

    pub(super) fn start(self) -> u64 {
        self.part.start
    }
}

impl Reader {
    /// What is there at the end of the file without a newline, if nothing more is to be expected of it.
    pub(super) fn unended(&mut self) -> Result<Option<Line>, Trouble> {
        self.waits = false;
        let bytes = self.framer.unended();
        if bytes == 0 {
            return Ok(None);
        }
        let (stamp, _) = stamp_of(&self.input.file().metadata()?)?;
        self.waits = !self.still.is_long || stamp != self.still.stamp;
        if self.waits {
            return Ok(None);
        }
        let line = self.framer.rest();
        // Longer than can be known again.
        Ok(line.map(|line| Line { too_long: line.too_long || bytes > TAIL_BYTES_MAX, ..line }))
    }

    /// A line, and a name for its readings where it has no end: by that they can be withdrawn.
    pub(super) fn record(&self, line: &Line) -> Record {
        let mut record = self.row(line);
        if let Some(taken) = Taken::of(&self.file) {
            taken.part.name(&mut record.samples);
        }
        record
    }

    /// A line of which `taken` was taken before: nothing if it is still just that, else the whole of it, and what is to be
    /// withdrawn.
    pub(super) fn record_again(&self, taken: Taken, line: &Line) -> Record {
        let whole = self.record(line);
        let bytes = usize::try_from(taken.bytes.saturating_sub(self.mark_bytes)).unwrap_or(usize::MAX);
        let part = &line.bytes[..bytes.min(line.bytes.len())];
        let part = part.strip_suffix(b"\r").unwrap_or(part);
        let before = self.row(&Line { bytes: part.to_vec(), taken: taken.bytes, too_long: false });
        let is_same = part == line.bytes || (whole.identity.is_some() && whole.identity == before.identity);
        if is_same && !line.too_long {
            return Record { samples: Vec::new(), reject: None, identity: None, urgent: false, ..whole };
        }
        Record { withdrawn: taken.part.withdrawn(before.samples), ..whole }
    }
}
