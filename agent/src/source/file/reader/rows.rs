//! What a line of the file becomes.

use proto::Instant;

use super::{Cursor, Reader};
use crate::source::hash::fnv;
use crate::source::lines::Line;
use crate::source::unended::Part;
use crate::source::{Intake, Reject, Sample};

/// One row, read.
pub(in super::super) struct Record {
    /// `readings.csv line 17`
    pub(in super::super) place: String,
    pub(in super::super) samples: Vec<Sample>,
    urgent: bool,
    pub(super) reject: Option<Reject>,
    /// What was taken of it while it had no end, to be withdrawn.
    withdrawn: Vec<Sample>,
    /// Where the next row starts, and the lines before it.
    offset: u64,
    lines: u64,
    /// Where it began, if it has no end.
    open: Option<u64>,
}

impl Record {
    /// Moves it into `intake`, and `cursor` behind it.
    pub(in super::super) fn add_to(self, intake: &mut Intake, cursor: &mut Cursor) {
        (cursor.offset, cursor.lines, cursor.open) = (self.offset, self.lines, self.open);
        intake.samples.extend(self.withdrawn);
        intake.urgent |= self.urgent && !self.samples.is_empty();
        intake.samples.extend(self.samples);
        intake.rejects.extend(self.reject);
    }
}

impl Reader {
    /// A row's readings and what is wrong with it; none for a blank line. Readings of a line without an end get a name by
    /// which they can be withdrawn.
    pub(super) fn record(&self, line: &Line) -> Option<Record> {
        let place = format!("{} line {}", self.path, self.lines);
        let read = match line.too_long {
            true => Err("is longer than `line_bytes_max`".into()),
            false => self.parser.read(&line.bytes, Instant::default()),
        };
        let (mut samples, urgent, problem) = match read {
            Ok(None) => return None,
            Ok(Some(taken)) => (taken.samples, taken.urgent, taken.problem),
            Err(problem) => (Vec::new(), false, Some(problem)),
        };
        let open = self.open.then(|| self.offset.saturating_sub(line.taken));
        if let Some(start) = open {
            self.part(start, &line.bytes).name(&mut samples);
        }
        let reject = problem.map(|reason| Reject::new(place.clone(), reason, &line.bytes));
        let (offset, lines, withdrawn) = (self.offset, self.lines, Vec::new());
        Some(Record { place, samples, urgent, reject, withdrawn, offset, lines, open })
    }

    /// A line of which so many bytes were taken before: nothing if it is still just that, else the whole of it, and what is
    /// to be withdrawn.
    pub(super) fn record_again(&self, start: u64, bytes: u64, line: &Line) -> Option<Record> {
        let mut whole = self.record(line)?;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(line.bytes.len());
        let part = line.bytes[..bytes].strip_suffix(b"\r").unwrap_or(&line.bytes[..bytes]);
        if part == line.bytes {
            (whole.samples, whole.reject) = (Vec::new(), None);
            return Some(whole);
        }
        let before = self.parser.read(part, Instant::default()).ok().flatten();
        whole.withdrawn = before.map_or_else(Vec::new, |taken| self.part(start, part).withdrawn(taken.samples));
        Some(whole)
    }

    fn part(&self, start: u64, bytes: &[u8]) -> Part {
        Part { file: fnv(self.path.as_bytes()), start, hash: fnv(bytes) }
    }
}
