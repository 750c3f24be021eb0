//! The write-ahead log after a sudden end, before SQLite reads it.
//!
//! SQLite reads the log up to the first frame whose checksum is wrong, and takes the rest for what a power cut left of
//! a commit that was never answered. After a power cut that is right. After damage it is wrong: answered commits would be
//! forgotten without a word. The two can be told apart: each commit is on disk before the next one begins, so a power
//! cut leaves one unfinished commit at most; and after a kill, the shared memory beside the log still says how far it
//! went. A log that is damaged so is sealed anew, its damage included: that shows where it matters, by a batch's hash or
//! by SQLite's check of the file. The format: <https://www.sqlite.org/fileformat2.html#walformat> and walformat.html.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::beside;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// Of a log whose checksums are of little-endian words; one more, of big-endian words.
const MAGIC: u32 = 0x377f_0682;
/// What both the log and the shared memory state as their version.
const VERSION: u32 = 3_007_000;
/// A log beyond this is left to SQLite: it is read whole here.
const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What was found of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Log {
    /// All that was ever answered.
    Whole,
    /// It was damaged, and is readable again; what it says must be checked.
    Mended,
    /// Answered commits are missing from it.
    Short,
}

/// Looks at the log of the database at `path`, and mends it if that is needed. Nobody may have the file open.
pub(super) fn mend(path: &Path) -> io::Result<Log> {
    let name = beside(path, "-wal");
    if fs::metadata(&name).map_or(0, |file| file.len()) > LOG_BYTES_MAX {
        return Ok(Log::Whole);
    }
    let Ok(bytes) = fs::read(&name) else { return Ok(Log::Whole) };
    let index = Index::read(&fs::read(beside(path, "-shm")).unwrap_or_default());
    if bytes.len() < HEADER_BYTES + FRAME_HEADER_BYTES {
        let short = index.is_some_and(|index| index.frames > index.copied);
        return Ok(if short { Log::Short } else { Log::Whole });
    }
    let mut log = Frames::new(bytes, index.as_ref());
    let whole = log.whole();
    let index = index.filter(|index| index.salts == log.salts);
    let wanted = index.as_ref().map_or_else(|| log.answered(whole), |index| index.frames);
    if wanted <= whole {
        return Ok(Log::Whole);
    }
    let last = (1..=wanted.min(log.count())).rev().find(|frame| log.commits(*frame)).unwrap_or(0);
    tracing::error!(whole, wanted, last, "the buffer's write-ahead log is damaged; mending it");
    if last > whole {
        log.restore(path, index.map_or(0, |index| index.copied), last)?;
        log.seal(last);
        let file = File::options().write(true).open(&name)?;
        file.write_all_at(&log.bytes, 0)?;
        file.set_len(log.start(last + 1) as u64)?;
        file.sync_all()?;
    }
    Ok(if last < wanted { Log::Short } else { Log::Mended })
}

/// What the shared memory says of the log.
struct Index {
    big_endian: bool,
    salts: [u8; 8],
    /// Frames up to the last commit.
    frames: usize,
    /// Frames that have been copied into the database.
    copied: usize,
}

impl Index {
    /// None unless it is what was written: after a power cut it may be anything.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (first, second) = (bytes.get(..48)?, bytes.get(48..96)?);
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let sum = checksum(&first[..40], cfg!(target_endian = "big"), (0, 0));
        let sound = first == second && word(0)? == VERSION && (word(40)?, word(44)?) == sum;
        sound.then_some(())?;
        let copied = usize::try_from(word(96)?).ok()?;
        let salts = first[32..40].try_into().ok()?;
        Some(Self { big_endian: first[13] != 0, salts, frames: usize::try_from(word(16)?).ok()?, copied })
    }
}

/// SQLite's checksum, going on from `sums`.
fn checksum(bytes: &[u8], big_endian: bool, mut sums: (u32, u32)) -> (u32, u32) {
    let word = |four: &[u8]| {
        let four = [four[0], four[1], four[2], four[3]];
        if big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    };
    for eight in bytes.chunks_exact(8) {
        sums.0 = sums.0.wrapping_add(word(&eight[..4])).wrapping_add(sums.1);
        sums.1 = sums.1.wrapping_add(word(&eight[4..])).wrapping_add(sums.0);
    }
    sums
}

/// The log as frames, counted from 1.
struct Frames {
    bytes: Vec<u8>,
    page_bytes: usize,
    big_endian: bool,
    salts: [u8; 8],
    header_is_sound: bool,
}

impl Frames {
    fn new(bytes: Vec<u8>, index: Option<&Index>) -> Self {
        let magic = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let page_bytes = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        let big_endian = magic == MAGIC + 1;
        let mut log = Self { bytes, page_bytes: 4_096, big_endian, salts: [0; 8], header_is_sound: false };
        let sum = checksum(&log.bytes[..24], big_endian, (0, 0));
        // Our files all have pages of 4 KiB.
        if magic & !1 == MAGIC && log.sum_at(24) == sum && page_bytes == 4_096 {
            log.header_is_sound = true;
            log.salts.copy_from_slice(&log.bytes[16..24]);
        } else if let Some(index) = index {
            (log.big_endian, log.salts) = (index.big_endian, index.salts);
        } else {
            log.big_endian = cfg!(target_endian = "big");
            log.salts.copy_from_slice(&log.bytes[HEADER_BYTES + 8..HEADER_BYTES + 16]);
        }
        log
    }

    fn count(&self) -> usize {
        (self.bytes.len() - HEADER_BYTES) / (FRAME_HEADER_BYTES + self.page_bytes)
    }

    fn start(&self, frame: usize) -> usize {
        HEADER_BYTES + (frame - 1) * (FRAME_HEADER_BYTES + self.page_bytes)
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }

    fn sum_at(&self, at: usize) -> (u32, u32) {
        (self.word(at), self.word(at + 4))
    }

    /// Whether `frame` ends a commit of this log.
    fn commits(&self, frame: usize) -> bool {
        let at = self.start(frame);
        self.word(at + 4) != 0 && self.bytes[at + 8..at + 16] == self.salts
    }

    fn sum_of(&self, frame: usize, before: (u32, u32)) -> (u32, u32) {
        let at = self.start(frame);
        let sums = checksum(&self.bytes[at..at + 8], self.big_endian, before);
        let page = at + FRAME_HEADER_BYTES;
        checksum(&self.bytes[page..page + self.page_bytes], self.big_endian, sums)
    }

    /// Whether `frame` is what was written, if the checksum before it is.
    fn is_sound(&self, frame: usize) -> bool {
        let before = if frame == 1 { self.sum_at(24) } else { self.sum_at(self.start(frame - 1) + 16) };
        let at = self.start(frame);
        self.bytes[at + 8..at + 16] == self.salts && self.sum_at(at + 16) == self.sum_of(frame, before)
    }

    /// Frames up to the last commit that SQLite would find.
    fn whole(&self) -> usize {
        if !self.header_is_sound {
            return 0;
        }
        let sound = (1..=self.count()).take_while(|frame| self.is_sound(*frame)).last().unwrap_or(0);
        (1..=sound).rev().find(|frame| self.commits(*frame)).unwrap_or(0)
    }

    /// Frames up to the last commit that was surely answered, where only the log itself can tell.
    fn answered(&self, whole: usize) -> usize {
        let beyond: Vec<usize> = (whole + 1..=self.count()).filter(|frame| self.commits(*frame)).collect();
        let [.., before, last] = beyond[..] else { return whole };
        if (before + 1..=last).all(|frame| self.is_sound(frame)) { last } else { before }
    }

    /// Puts back what the database at `path` has of damaged frames: the first `copied` ones are all in there.
    fn restore(&mut self, path: &Path, copied: usize, last: usize) -> io::Result<()> {
        let database = File::open(path)?;
        for frame in (1..=last.min(copied)).filter(|frame| !self.is_sound(*frame)).collect::<Vec<_>>() {
            let (at, length) = (self.start(frame), self.page_bytes as u64);
            let place = u64::from(self.word(at)).saturating_sub(1) * length;
            let mut page = vec![0; self.page_bytes];
            if database.read_exact_at(&mut page, place).is_ok() {
                let from = at + FRAME_HEADER_BYTES;
                self.bytes[from..from + self.page_bytes].copy_from_slice(&page);
            }
        }
        Ok(())
    }

    /// Writes header and checksums so that SQLite reads up to `last`.
    fn seal(&mut self, last: usize) {
        let words = |sums: (u32, u32)| [sums.0.to_be_bytes(), sums.1.to_be_bytes()].concat();
        let page_bytes = u32::try_from(self.page_bytes).unwrap_or(4_096);
        let head = [MAGIC + u32::from(self.big_endian), VERSION, page_bytes];
        for (place, word) in head.iter().enumerate() {
            self.bytes[place * 4..place * 4 + 4].copy_from_slice(&word.to_be_bytes());
        }
        self.bytes[16..24].copy_from_slice(&self.salts);
        let mut sums = checksum(&self.bytes[..24], self.big_endian, (0, 0));
        self.bytes[24..32].copy_from_slice(&words(sums));
        for frame in 1..=last {
            let at = self.start(frame);
            self.bytes[at + 8..at + 16].copy_from_slice(&self.salts);
            sums = self.sum_of(frame, sums);
            self.bytes[at + 16..at + 24].copy_from_slice(&words(sums));
        }
    }
}
