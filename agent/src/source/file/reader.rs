//! The blocking half: rows of an open file, each with the place behind it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use proto::Instant;

use super::cursor::{Cursor, HEAD_BYTES_MAX};
use super::{FileError, Settings};
use crate::source::fields::Mapping;
use crate::source::format::LineFormat;
use crate::source::lines::{Framer, Line};
use crate::source::record::{Parser, TimeField};

mod rows;

pub(super) use rows::Record;

/// Bytes read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Rejects that end a read early: each may hold a line.
const REJECTS_MAX: usize = 64;
/// The first bytes of every gzip file (RFC 1952, section 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// An open file and what is known of its rows.
pub(super) struct Reader {
    path: String,
    file: File,
    framer: Framer,
    parser: Parser,
    offset: u64,
    lines: u64,
    piece: Vec<u8>,
    /// Whether a last line without an end is taken as it stands.
    takes_rest: bool,
    /// Whether the last line had no end.
    open: bool,
    /// Where the next line begins and how long the part of it was that was taken before.
    again: Option<(u64, u64)>,
}

impl Reader {
    /// The file, placed at `cursor` or at its first row; and the cursor to go on with.
    pub(super) fn open(settings: &Settings, cursor: Option<Cursor>) -> Result<(Self, Cursor), FileError> {
        let path = settings.path.display().to_string();
        let failed = |act| {
            let path = path.clone();
            move |error| FileError::Io { act, path, error }
        };
        if !std::fs::metadata(&settings.path).map_err(failed("look at"))?.is_file() {
            return Err(FileError::NotAFile { path });
        }
        let mut file = File::open(&settings.path).map_err(failed("open"))?;
        let mut head = Vec::new();
        file.by_ref().take(HEAD_BYTES_MAX as u64).read_to_end(&mut head).map_err(failed("read"))?;
        if head.starts_with(&GZIP_MAGIC) {
            return Err(FileError::Compressed { path });
        }
        let bytes = file.metadata().map_err(failed("look at"))?.len();
        let mut now = Cursor::new(&head);
        if let Some(before) = cursor {
            check_same(&path, &before, &head, bytes)?;
            (now.offset, now.lines, now.open, now.replay) = (before.offset, before.lines, before.open, before.replay);
        }
        file.rewind().map_err(failed("read"))?;
        let mut reader = Self::start(settings, path, file)?;
        reader.read_header(settings)?;
        if now.offset > reader.offset {
            match now.open.filter(|start| *start < now.offset) {
                Some(start) => {
                    reader.seek(start, now.lines.saturating_sub(1))?;
                    reader.again = Some((start, now.offset - start));
                }
                None => reader.seek(now.offset, now.lines)?,
            }
        } else {
            (now.offset, now.lines, now.open) = (reader.offset, reader.lines, None);
        }
        Ok((reader, now))
    }

    fn start(settings: &Settings, path: String, file: File) -> Result<Self, FileError> {
        let unchecked = |error: crate::source::BadSetting| FileError::Header {
            path: path.clone(),
            line: 1,
            problem: error.to_string(), // settings were validated before
        };
        let parser = Parser {
            format: settings.line_format().map_err(unchecked)?,
            mapping: Mapping::new(&settings.series).map_err(unchecked)?,
            time: Some(TimeField::new(&settings.time, settings.time_zone.as_deref()).map_err(unchecked)?),
            columns: None,
        };
        let framer = Framer::new(settings.line_bytes_max);
        let piece = vec![0; PIECE_BYTES];
        let (takes_rest, open, again) = (false, false, None);
        Ok(Self { path, file, framer, parser, offset: 0, lines: 0, piece, takes_rest, open, again })
    }

    /// Bytes of a last line that has no end and was left alone.
    pub(super) fn unended(&self) -> u64 {
        if self.takes_rest { 0 } else { self.framer.unended() }
    }

    /// From now on a last line is taken as it stands.
    pub(super) fn take_rest(&mut self) {
        self.takes_rest = true;
    }

    /// At most `rows_max` rows; none at the end of the file.
    pub(super) fn read(&mut self, rows_max: usize) -> Result<Vec<Record>, FileError> {
        let mut records: Vec<Record> = Vec::new();
        let mut rejects = 0;
        while records.len() < rows_max && rejects < REJECTS_MAX {
            let Some(line) = self.next_line()? else { break };
            let again = self.again.take();
            let record = match again {
                None => self.record(&line),
                Some((start, bytes)) => self.record_again(start, bytes, &line),
            };
            let Some(record) = record else { continue };
            rejects += usize::from(record.reject.is_some());
            records.push(record);
        }
        Ok(records)
    }

    /// The time of the last row that has one.
    pub(super) fn last_time(&mut self) -> Result<Option<Instant>, FileError> {
        let mut last = None;
        self.take_rest();
        while let Some(line) = self.next_line()? {
            last = self.parser.time_of(&line.bytes).or(last);
        }
        Ok(last)
    }

    /// The next line; at the end of the file what is there without a newline, if that is to be taken.
    fn next_line(&mut self) -> Result<Option<Line>, FileError> {
        self.open = false;
        let line = loop {
            if let Some(line) = self.framer.next() {
                break Some(line);
            }
            let path = &self.path;
            let failed = |error| FileError::Io { act: "read", path: path.clone(), error };
            match self.file.read(&mut self.piece).map_err(failed)? {
                0 if !self.takes_rest => break None,
                0 => {
                    self.open = true;
                    break self.framer.rest();
                }
                count => self.framer.push(&self.piece[..count]),
            }
        };
        if let Some(line) = &line {
            self.offset += line.taken;
            self.lines += 1;
        }
        Ok(line)
    }

    fn seek(&mut self, offset: u64, lines: u64) -> Result<(), FileError> {
        let path = &self.path;
        let failed = |error| FileError::Io { act: "read", path: path.clone(), error };
        self.file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        self.framer.clear();
        (self.offset, self.lines) = (offset, lines);
        Ok(())
    }

    /// Passes what stands before the first row, and finds the columns by their names.
    fn read_header(&mut self, settings: &Settings) -> Result<(), FileError> {
        for _ in 0..settings.skip_lines {
            self.next_line()?;
        }
        let LineFormat::Csv { .. } = self.parser.format else { return Ok(()) };
        if !settings.header {
            return Ok(());
        }
        let line = self.next_line()?;
        let number = self.lines.max(1);
        let wrong = |problem: String| FileError::Header { path: self.path.clone(), line: number, problem };
        if line.is_none() && self.unended() > 0 {
            return Err(wrong("it has no end yet; is the file still being written?".into()));
        }
        let line = line.map(|line| line.bytes).unwrap_or_default();
        self.parser.take_header(&line).map_err(wrong)
    }
}

fn check_same(path: &str, cursor: &Cursor, head: &[u8], bytes: u64) -> Result<(), FileError> {
    let changed = |problem| FileError::Changed { path: path.into(), problem };
    if bytes < cursor.offset {
        return Err(changed("it is shorter than what was read"));
    }
    if !cursor.knows(head) {
        return Err(changed("it begins otherwise"));
    }
    Ok(())
}
