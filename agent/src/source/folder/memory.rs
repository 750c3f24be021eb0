//! What was read of a folder: the cursor.
//!
//! A file is known by its name, by how it begins, and by the line before the place that was reached; names are kept as
//! hashes, because the names of exports say whose they are. Records of exports are known one by one, the newest few
//! thousand of them, because a new export repeats most of the one before; of what is older, the days are known that were
//! read.

use std::collections::BTreeSet;

use crate::source::hash::fnv;

mod days;
mod written;

use days::{DAY, Days};

/// Files of one folder that are known; beyond, those that are gone are forgotten first.
pub(super) const FILES_MAX: usize = 500;
/// Records of exports that are known: more than two weeks of a sensor that measures every five minutes.
pub(super) const RECORDS_MAX: usize = 5_000;
/// Bits of a record's hash beside its second.
const HASH_BITS: u32 = 30;
/// Seconds that a record's time may have: up to the year 2514.
const SECONDS_MAX: i64 = (1 << 34) - 1;

/// What tells a record of an export apart: the second that the person's clock showed, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) second: i64,
    pub(super) hash: u64,
}

impl Identity {
    /// Sorted by time.
    fn packed(self) -> u64 {
        let second = self.second.clamp(0, SECONDS_MAX).unsigned_abs();
        (second << HASH_BITS) | (self.hash >> (64 - HASH_BITS))
    }
}

/// What is known of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct File {
    /// A hash of its name.
    pub(super) name: u64,
    /// How many bytes `head` is the hash of: a file that was short may have grown.
    pub(super) head_bytes: u64,
    pub(super) head: u64,
    /// The place behind the last row that was taken, and the lines before it.
    pub(super) offset: u64,
    pub(super) lines: u64,
    /// How many bytes the last line before it had, and their hash.
    pub(super) tail_bytes: u64,
    pub(super) tail: u64,
    /// Its size and time when it was refused; 0 for one that was not.
    pub(super) refused: u64,
    /// Whether it was missing since: another of that name is then another file.
    pub(super) gone: bool,
    /// Whether that last line had no end when it was taken, so that it may go on.
    pub(super) open: bool,
}

/// Every file of one folder, and the newest records of its exports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// The last touched is the last.
    pub(super) files: Vec<File>,
    /// Records of the files before the present one. None leaves while that is read: it may be about to repeat it.
    records: BTreeSet<u64>,
    /// Records of the present file.
    present: BTreeSet<u64>,
    /// Records before this second are not known one by one, though there were some before the present file.
    floor: u64,
    /// The same, of the present file.
    rising: u64,
    /// Days that the files before the present one had records of.
    days: Days,
    /// The same, of the present file.
    present_days: Days,
}

/// What is known of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    New,
    Known,
    /// Older than those that are known one by one, and of a day that was read before: taken for known.
    Old,
}

impl Memory {
    pub(super) fn of(&self, name: u64) -> Option<&File> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Keeps what is known of `file` now; whether there was room.
    pub(super) fn keep(&mut self, file: File) -> bool {
        self.forget(file.name);
        if self.files.len() >= FILES_MAX {
            let Some(gone) = self.files.iter().position(|file| file.gone) else { return false };
            self.files.remove(gone);
        }
        self.files.push(file);
        true
    }

    pub(super) fn forget(&mut self, name: u64) {
        self.files.retain(|file| file.name != name);
    }

    /// Another file is begun: what the one before had is now of before.
    pub(super) fn begin_file(&mut self) {
        self.records.append(&mut self.present);
        self.days.append(&mut self.present_days);
        self.floor = self.floor.max(self.rising).max(trim(&mut self.records));
    }

    /// Whether a record is new; then it is known from now on.
    pub(super) fn take(&mut self, identity: Identity) -> Record {
        let record = identity.packed();
        if self.records.contains(&record) || self.present.contains(&record) {
            return Record::Known;
        }
        let second = record >> HASH_BITS;
        let day = second / DAY;
        if second < self.floor && self.days.has(day) {
            return Record::Old;
        }
        self.present_days.insert(day, day);
        self.present.insert(record);
        self.rising = self.rising.max(trim(&mut self.present));
        Record::New
    }
}

/// Lets the oldest go beyond those that are kept; the second behind the last that went, or 0.
fn trim(records: &mut BTreeSet<u64>) -> u64 {
    let mut behind = 0;
    while records.len() > RECORDS_MAX {
        behind = records.pop_first().map_or(0, |oldest| (oldest >> HASH_BITS) + 1);
    }
    behind
}

/// Tells files and records apart.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let hash = fnv(bytes);
    // FNV's high bits hardly know of the last bytes, and of records only those are kept (MurmurHash3's finalizer).
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests;
