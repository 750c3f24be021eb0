//! Which of a meter's records were taken: the cursor.
//!
//! Meters number their records from the newest, so that a number means another record after the next measurement, and
//! their clocks may be set back. What stays is the order: what was newest when a meter was last read still follows, in
//! that order, upon whatever is new. So the newest few records are kept, as hashes, for each meter.

use serde::{Deserialize, Serialize};

use crate::source::SourceError;
use crate::source::hash::fnv;

/// The version that this writes.
const VERSION: u8 = 1;
/// Newest records that are kept of a meter: that many in the same order are no chance.
const HEADS_MAX: usize = 8;
/// Meters that are kept; beyond, the one that was not seen for longest is forgotten.
const METERS_MAX: usize = 64;

/// What was taken, of every meter that was ever on this cable.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    version: u8,
    /// The last seen is the last.
    meters: Vec<Meter>,
}

/// What was taken of one meter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Meter {
    /// A hash of its serial number, which says who its owner is.
    serial: u64,
    /// How many records it held.
    count: usize,
    /// Its newest records, newest first.
    heads: Vec<u64>,
    /// Whether it numbers or sends its records from the oldest on; none before their times have shown it.
    pub(super) ascending: Option<bool>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { version: VERSION, meters: Vec::new() }
    }
}

impl Memory {
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers always have a JSON form")
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SourceError> {
        let memory: Self = serde_json::from_slice(bytes).map_err(|error| SourceError::Cursor(error.to_string()))?;
        if memory.version != VERSION {
            let problem = format!("version {} is not known, only {VERSION}", memory.version);
            return Err(SourceError::Cursor(problem));
        }
        let fits = |meter: &Meter| meter.heads.len() <= HEADS_MAX;
        if memory.meters.len() > METERS_MAX || !memory.meters.iter().all(fits) {
            return Err(SourceError::Cursor("it holds more than it may".into()));
        }
        Ok(memory)
    }

    /// What is known of the meter with that serial number.
    pub(super) fn of(&self, serial: &[u8]) -> Meter {
        let serial = fnv(serial);
        let known = self.meters.iter().find(|meter| meter.serial == serial).cloned();
        known.unwrap_or(Meter { serial, ..Meter::default() })
    }

    /// Keeps what was taken of `meter`.
    pub(super) fn keep(&mut self, meter: Meter) {
        self.meters.retain(|other| other.serial != meter.serial);
        if self.meters.len() == METERS_MAX {
            self.meters.remove(0);
        }
        self.meters.push(meter);
    }
}

impl Meter {
    /// Whether the last of `newest_first` are those that were the newest, so that all before them are new and all behind
    /// are known. `count` is how many records the meter holds now, where it says so before they are read: where it
    /// holds more than it did, that many at least are new, even if one is the same as the one before it.
    pub(super) fn meets(&self, newest_first: &[u64], count: usize) -> bool {
        let least = count.saturating_sub(self.count);
        let heads = &self.heads;
        !heads.is_empty() && newest_first.len() >= least + heads.len() && newest_first.ends_with(heads)
    }

    /// How many records of a meter are enough to meet those that are known.
    pub(super) fn known(&self) -> usize {
        self.heads.len()
    }

    /// It goes the other way than it was taken to go: its newest is what was taken for the oldest.
    pub(super) fn turn(&mut self) {
        self.heads.reverse();
    }

    /// Nothing that was taken is still there.
    pub(super) fn forget(&mut self) {
        self.heads.clear();
    }

    /// A record that was taken, newer than all others. `count` is how many the meter holds up to it.
    pub(super) fn take(&mut self, record: u64, count: usize) {
        self.heads.insert(0, record);
        self.heads.truncate(HEADS_MAX);
        self.count = count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_many_meters_the_last_seen_are_kept() {
        let mut memory = Memory::default();
        for number in 0..=METERS_MAX {
            let mut meter = memory.of(&number.to_le_bytes());
            meter.take(7, 1);
            memory.keep(meter);
        }
        let decoded = Memory::decode(&memory.encode()).unwrap();
        assert_eq!(decoded, memory);
        assert_eq!(decoded.of(&0_usize.to_le_bytes()).known(), 0);
        assert_eq!(decoded.of(&METERS_MAX.to_le_bytes()).known(), 1);
        assert!(Memory::decode(b"{\"version\":2,\"meters\":[]}").is_err());
    }

    /// Takes what is new in a memory that holds `records`, oldest first, as a session does.
    fn read(memory: &mut Meter, records: &[u64], room: usize) -> Vec<u64> {
        let held = &records[records.len().saturating_sub(room)..];
        let mut seen = Vec::new();
        for record in held.iter().rev() {
            seen.push(*record);
            if memory.meets(&seen, held.len()) {
                seen.truncate(seen.len() - memory.known());
                break;
            }
        }
        let before = held.len() - seen.len();
        if seen.len() == held.len() {
            memory.forget();
        }
        let new: Vec<u64> = seen.into_iter().rev().collect();
        for (index, record) in new.iter().enumerate() {
            memory.take(*record, before + index + 1);
        }
        new
    }

    proptest! {
        /// Values repeat, the ring wraps; between two looks fewer come than it has room for, less those that are kept.
        #[test]
        fn every_record_is_taken_once(
            records in proptest::collection::vec(0_u64..1_000_000, 0..200), looks in proptest::collection::vec(0_usize..20, 1..30),
            room in 30_usize..60,
        ) {
            let (mut memory, mut taken, mut until) = (Meter::default(), Vec::new(), 0);
            for more in looks {
                until = (until + more).min(records.len());
                taken.extend(read(&mut memory, &records[..until], room));
            }
            prop_assert_eq!(taken, records[..until].to_vec());
        }

        #[test]
        fn records_that_are_the_same_are_told_apart_by_their_number(equal in 1_usize..20, more in 0_usize..20) {
            let mut memory = Meter::default();
            prop_assert_eq!(read(&mut memory, &vec![5; equal], 100).len(), equal);
            prop_assert_eq!(read(&mut memory, &vec![5; equal + more], 100).len(), more);
        }
    }
}
