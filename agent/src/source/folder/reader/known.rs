//! Whether a file is still the one that was read.

use std::io::{self, Read};

use super::{Input, Reader, TAIL_BYTES_MAX, Trouble};
use crate::source::folder::memory::{self, hash};

impl Reader {
    /// What is known of this very file: nothing if it is another, and a refusal if it is the same and yet is not.
    pub(super) fn same(
        &mut self,
        known: memory::File,
        head: &[u8],
        bytes: u64,
    ) -> Result<Option<memory::File>, Trouble> {
        if known.offset == 0 {
            return Ok(None); // nothing of it was taken
        }
        let begins = usize::try_from(known.head_bytes).ok().and_then(|count| head.get(..count));
        let how = if matches!(self.input, Input::Plain(_)) && bytes < known.offset {
            "cut short"
        } else if begins.is_none_or(|begins| hash(begins) != known.head) || !self.has_tail(&known)? {
            "rewritten"
        } else {
            return Ok(Some(known));
        };
        if known.gone {
            return Ok(None); // another file under the name of one that is gone
        }
        Err(Trouble::Refused(format!(
            "it was {how} after it was read up to line {}; nothing more of it is taken: put what is new into a file of another \
             name, or only append to this one",
            known.lines
        )))
    }

    /// Whether the line before the place that was reached is still there.
    fn has_tail(&mut self, known: &memory::File) -> Result<bool, Trouble> {
        let Some(start) = known.offset.checked_sub(known.tail_bytes) else { return Ok(false) };
        if known.tail_bytes > TAIL_BYTES_MAX {
            return Ok(false);
        }
        match self.input.seek(start) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            done => done?,
        }
        let mut tail = Vec::new();
        self.input.by_ref().take(known.tail_bytes).read_to_end(&mut tail)?;
        self.input.seek(0)?;
        let line = tail.strip_suffix(b"\n").unwrap_or(&tail);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(tail.len() as u64 == known.tail_bytes && (tail.is_empty() || hash(line) == known.tail))
    }
}
