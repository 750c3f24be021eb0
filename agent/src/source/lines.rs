//! Bytes into lines, within bounds: what is longer than a line may be is skipped to the next newline.

/// One line, without its newline.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The line; of one that is too long, the beginning.
    pub(super) bytes: Vec<u8>,
    /// Bytes of input it took, the newline included.
    pub(super) taken: u64,
    /// Whether it was longer than lines may be.
    pub(super) too_long: bool,
}

/// Finds lines in bytes that come in pieces. It holds at most one line of the longest kind, and one piece.
#[derive(Debug)]
pub(super) struct Framer {
    held: Vec<u8>,
    /// Where the first unread byte is in `held`.
    start: usize,
    /// Up to where no newline was found.
    searched: usize,
    /// Bytes of the present line that were already thrown away, because it is too long.
    skipped: u64,
    /// The beginning of that line.
    beginning: Vec<u8>,
    bytes_max: usize,
}

/// Bytes kept of a line that is too long: enough to recognise it.
const BEGINNING_BYTES: usize = 256;

impl Framer {
    /// For lines of at most `bytes_max` bytes, without newline.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { held: Vec::new(), start: 0, searched: 0, skipped: 0, beginning: Vec::new(), bytes_max }
    }

    /// Takes the next piece of input.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.held.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.held.extend_from_slice(bytes);
    }

    /// The next whole line.
    pub(super) fn next(&mut self) -> Option<Line> {
        let found = self.held[self.searched..].iter().position(|byte| *byte == b'\n');
        if let Some(distance) = found {
            let end = self.searched + distance;
            return Some(self.cut(end, 1));
        }
        self.searched = self.held.len();
        if self.searched - self.start > self.bytes_max {
            self.skip();
        }
        None
    }

    /// What is left when the input has ended without a newline.
    pub(super) fn rest(&mut self) -> Option<Line> {
        (self.unended() > 0).then(|| self.cut(self.held.len(), 0))
    }

    /// Bytes of a line whose newline has not come.
    pub(super) fn unended(&self) -> u64 {
        self.skipped + (self.held.len() - self.start) as u64
    }

    /// Forgets what is held.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.bytes_max);
    }

    fn cut(&mut self, end: usize, newline: usize) -> Line {
        let taken = self.skipped + (end + newline - self.start) as u64;
        let too_long = self.skipped > 0 || end - self.start > self.bytes_max;
        let mut bytes = std::mem::take(&mut self.beginning);
        bytes.extend_from_slice(&self.held[self.start..end]);
        if too_long {
            bytes.truncate(BEGINNING_BYTES);
        } else if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        self.start = end + newline;
        self.searched = self.start;
        self.skipped = 0;
        Line { bytes, taken, too_long }
    }

    fn skip(&mut self) {
        let room = BEGINNING_BYTES.saturating_sub(self.beginning.len());
        let more = &self.held[self.start..];
        self.beginning.extend_from_slice(&more[..more.len().min(room)]);
        self.skipped += more.len() as u64;
        self.held.clear();
        self.start = 0;
        self.searched = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(text: &str, taken: u64) -> Line {
        Line { bytes: text.into(), taken, too_long: false }
    }

    #[test]
    fn both_kinds_of_newline_end_a_line_and_the_rest_waits() {
        let mut framer = Framer::new(10);
        framer.push(b"a,1\r\n\nb");
        assert_eq!(framer.next(), Some(line("a,1", 5)));
        assert_eq!(framer.next(), Some(line("", 1)));
        assert_eq!(framer.next(), None);
        framer.push(b",2");
        assert_eq!(framer.next(), None);
        assert_eq!(framer.unended(), 3);
        assert_eq!(framer.rest(), Some(line("b,2", 3)));
        assert_eq!(framer.unended(), 0);
        assert_eq!(framer.rest(), None);
    }

    #[test]
    fn a_line_that_is_too_long_is_named_once_and_the_next_is_read() {
        let mut framer = Framer::new(4);
        for piece in ["0123", "4567", "89", "\nok\n"] {
            framer.push(piece.as_bytes());
            if let Some(found) = framer.next() {
                assert_eq!(found, Line { bytes: b"0123456789".into(), taken: 11, too_long: true });
            }
        }
        assert_eq!(framer.next(), Some(line("ok", 3)));
        framer.push(b"12345\n");
        assert!(framer.next().is_some_and(|line| line.too_long));
    }

    proptest! {
        #[test]
        fn every_byte_is_accounted_for_however_it_comes(
            pieces in proptest::collection::vec("[ab\r\n]{0,12}", 0..20), bytes_max in 1_usize..9,
        ) {
            let whole: String = pieces.concat();
            let (mut framer, mut taken, mut lines) = (Framer::new(bytes_max), 0, 0);
            for piece in &pieces {
                framer.push(piece.as_bytes());
                while let Some(line) = framer.next() {
                    (taken, lines) = (taken + line.taken, lines + 1);
                    prop_assert!(line.too_long || line.bytes.len() <= bytes_max);
                }
                prop_assert!(framer.held.len() - framer.start <= bytes_max);
            }
            prop_assert_eq!(lines, whole.matches('\n').count());
            prop_assert_eq!(taken + framer.rest().map_or(0, |line| line.taken), whole.len() as u64);
        }
    }
}
