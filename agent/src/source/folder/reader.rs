//! The blocking half: rows of one file, each with what is known of the file behind it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use proto::Instant;
use rustix::fs::{Mode, OFlags};

use super::export::Export;
use super::input::Input;
use super::memory::{self, Identity, hash};
use crate::source::lines::{Framer, Line};
use crate::source::record::Parser;
use crate::source::{Reject, Sample};

mod header;
mod known;
mod unended;

pub(super) use unended::Still;
use unended::Taken;

/// Bytes read at once.
const PIECE_BYTES: usize = 16 * 1024;
/// Bytes of a file's beginning that identify it.
const HEAD_BYTES_MAX: u64 = 4_096;
/// Bytes of the line before the place that was reached, which identify it too.
const TAIL_BYTES_MAX: u64 = 4_096;
/// Rejects that end a read early: each may hold a line.
const REJECTS_MAX: usize = 64;
/// The first bytes of gzip and of zip, which spreadsheets are (RFC 1952, section 2.3.1; APPNOTE.TXT 6.3.10, section 4.3.7).
const PACKED: [&[u8]; 2] = [&[0x1f, 0x8b], b"PK\x03\x04"];

/// How a file's rows are read.
pub(super) enum Rows {
    /// As the settings map them.
    Mapped(Parser),
    /// As its maker writes them.
    Export(Export),
}

/// How files are laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) header: bool,
    pub(super) skip_lines: u32,
    pub(super) line_bytes_max: usize,
}

/// Why a file is not read.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is what it is; nothing of it is taken until it changes.
    Refused(String),
    /// What it begins with is still being written.
    Unfinished,
    /// The system refuses; another look may succeed.
    Io(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One row, read.
pub(super) struct Record {
    pub(super) samples: Vec<Sample>,
    pub(super) urgent: bool,
    pub(super) reject: Option<Reject>,
    pub(super) identity: Option<Identity>,
    /// What was taken of it while it had no end, to be withdrawn.
    pub(super) withdrawn: Vec<Sample>,
    /// What is known of the file once this row is taken.
    pub(super) file: memory::File,
}

/// An open file, placed behind what was taken of it.
pub(super) struct Reader {
    label: String,
    input: Input,
    framer: Framer,
    rows: Rows,
    piece: Vec<u8>,
    /// What is known of the file at this place.
    pub(super) file: memory::File,
    /// Whether it is read from its beginning.
    pub(super) is_new: bool,
    still: Still,
    /// Whether there is a last line without an end that was left alone.
    pub(super) waits: bool,
    /// The next line, of which a part was taken before.
    again: Option<Taken>,
    /// Bytes of a mark that the line before began with and that are no part of it.
    mark_bytes: u64,
}

impl Reader {
    /// Opens `path`, of which `known` was read; `label` names it in rejects.
    pub(super) fn open(
        path: &Path,
        label: String,
        known: memory::File,
        still: Still,
        rows: Rows,
        layout: Layout,
    ) -> Result<Self, Trouble> {
        // What is dropped by others may have become a link or a pipe since it was looked at.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file =
            File::from(rustix::fs::open(path, flags | OFlags::RDONLY, Mode::empty()).map_err(io::Error::from)?);
        let bytes = file.metadata()?.len();
        let mut head = Vec::new();
        file.by_ref().take(HEAD_BYTES_MAX).read_to_end(&mut head)?;
        if PACKED.iter().any(|mark| head.starts_with(mark)) {
            return Err(Trouble::Refused("it is packed or a spreadsheet; unpack it, or save it as CSV".into()));
        }
        let input = Input::new(file, &head)?;
        let now = memory::File {
            name: known.name,
            head_bytes: head.len() as u64,
            head: hash(&head),
            ..memory::File::default()
        };
        let (framer, piece) = (Framer::new(layout.line_bytes_max), vec![0; PIECE_BYTES]);
        let (is_new, waits, again, mark_bytes) = (true, false, None, 0);
        let mut reader = Self { label, input, framer, rows, piece, file: now, is_new, still, waits, again, mark_bytes };
        let known = reader.same(known, &head, bytes)?;
        reader.pass_header(layout)?;
        if let Some(known) = known {
            reader.is_new = false;
            if known.offset > reader.file.offset {
                reader.go_on(known)?;
            }
        }
        Ok(reader)
    }

    /// Goes to the place that was reached; where a line without an end was taken, to its beginning.
    fn go_on(&mut self, known: memory::File) -> Result<(), Trouble> {
        self.again = Taken::of(&known);
        self.seek(self.again.map_or(known.offset, Taken::start))?;
        let memory::File { head_bytes, head, .. } = self.file;
        self.file = memory::File { head_bytes, head, refused: 0, gone: false, ..known };
        Ok(())
    }

    fn seek(&mut self, offset: u64) -> Result<(), Trouble> {
        self.input.seek(offset)?;
        self.framer.clear();
        Ok(())
    }

    /// At most `rows_max` rows; none at the end of the file.
    pub(super) fn read(&mut self, rows_max: usize) -> Result<Vec<Record>, Trouble> {
        let mut records = Vec::new();
        let mut rejects = 0;
        while records.len() < rows_max && rejects < REJECTS_MAX {
            let Some(line) = self.next_line()? else { break };
            let record = match self.again.take() {
                None => self.record(&line),
                Some(taken) => self.record_again(taken, &line),
            };
            rejects += usize::from(record.reject.is_some());
            records.push(record);
        }
        Ok(records)
    }

    fn row(&self, line: &Line) -> Record {
        let (samples, withdrawn, file) = (Vec::new(), Vec::new(), self.file.clone());
        let mut record = Record { samples, urgent: false, reject: None, identity: None, withdrawn, file };
        let problem = match &self.rows {
            _ if line.too_long => {
                Some("is longer than `line_bytes_max`, or longer than 4096 bytes and without an end".into())
            }
            Rows::Mapped(parser) => match parser.read(&line.bytes, Instant::default()) {
                Ok(None) => None,
                Ok(Some(taken)) => {
                    (record.samples, record.urgent) = (taken.samples, taken.urgent);
                    taken.problem
                }
                Err(problem) => Some(problem),
            },
            Rows::Export(_) if line.bytes.iter().all(u8::is_ascii_whitespace) => None,
            Rows::Export(export) => match export.read(&line.bytes) {
                Ok(None) => None,
                Ok(Some(exported)) => {
                    (record.samples, record.identity) = (exported.samples, Some(exported.identity));
                    exported.problem
                }
                Err(problem) => Some(problem),
            },
        };
        let place = || format!("{} line {}", self.label, self.file.lines);
        record.reject = problem.map(|problem| Reject::new(place(), problem, &line.bytes));
        record
    }

    /// The next line; at the end of the file what is there without a newline, once that has been so for long.
    fn next_line(&mut self) -> Result<Option<Line>, Trouble> {
        let mut has_end = true;
        let line = loop {
            if let Some(line) = self.framer.next() {
                break Some(line);
            }
            match self.input.read(&mut self.piece)? {
                0 => {
                    has_end = false;
                    break self.unended()?;
                }
                count => self.framer.push(&self.piece[..count]),
            }
        };
        let Some(mut line) = line else { return Ok(None) };
        if let Some(taken) = self.again {
            (self.file.offset, self.file.lines) = (taken.start(), self.file.lines.saturating_sub(1));
        }
        self.file.offset += line.taken;
        self.file.lines += 1;
        let known = !line.too_long && line.taken <= TAIL_BYTES_MAX;
        (self.file.tail_bytes, self.file.tail) = if known { (line.taken, hash(&line.bytes)) } else { (0, 0) };
        self.file.open = known && !has_end;
        let mark = "\u{feff}".as_bytes();
        let is_marked = self.file.offset == line.taken && line.bytes.starts_with(mark);
        self.mark_bytes = if is_marked { mark.len() as u64 } else { 0 };
        if is_marked {
            line.bytes.drain(..mark.len());
        }
        Ok(Some(line))
    }
}
