//! What is known of a folder, as bytes.

use super::days::{DAY, Days};
use super::{FILES_MAX, File, HASH_BITS, Memory, RECORDS_MAX};
use crate::source::SourceError;

/// The version that this writes.
const VERSION: u8 = 2;
/// The version before days were known, and lines without an end.
const WITHOUT_DAYS: u8 = 1;

impl Memory {
    pub(in super::super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let mut put = |number: u64| bytes.extend_from_slice(&number.to_le_bytes());
        put(self.files.len() as u64);
        self.files.iter().flat_map(File::numbers).for_each(&mut put);
        [self.floor, self.rising].into_iter().for_each(&mut put);
        self.days.numbers().chain(self.present_days.numbers()).for_each(&mut put);
        put(self.records.len() as u64);
        self.records.iter().chain(&self.present).copied().for_each(&mut put);
        bytes
    }

    pub(in super::super) fn decode(bytes: &[u8]) -> Result<Self, SourceError> {
        let bad = |problem: &str| SourceError::Cursor(problem.to_owned());
        let (version, rest) = bytes.split_first().ok_or_else(|| bad("it is empty"))?;
        if ![VERSION, WITHOUT_DAYS].contains(version) {
            return Err(bad(&format!("version {version} is not known, only up to {VERSION}")));
        }
        let (numbers, []) = rest.as_chunks::<8>() else { return Err(bad("it is cut off")) };
        let mut numbers = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let mut next = || numbers.next().ok_or_else(|| bad("it is cut off"));
        let count = next()?;
        if count > FILES_MAX as u64 {
            return Err(bad("it holds more files than it may"));
        }
        let mut files = Vec::new();
        for _ in 0..count {
            let numbers = [next()?, next()?, next()?, next()?, next()?, next()?, next()?, next()?, next()?];
            files.push(File::read(numbers).ok_or_else(|| bad("it says neither yes nor no"))?);
        }
        let (floor, rising) = (next()?, next()?);
        let mut days = [Days::default(), Days::default()];
        if *version == VERSION {
            for days in &mut days {
                *days = Days::read(&mut || next().ok()).ok_or_else(|| bad("its days are in no order"))?;
            }
        }
        let count = usize::try_from(next()?).unwrap_or(usize::MAX);
        let records: Vec<u64> = numbers.collect();
        let (records, present) = records.split_at_checked(count).ok_or_else(|| bad("it is cut off"))?;
        for records in [records, present] {
            if records.len() > RECORDS_MAX || !records.is_sorted_by(|one, other| one < other) {
                return Err(bad("its records are too many or in no order"));
            }
        }
        let newest = records.iter().chain(present).map(|record| record >> HASH_BITS).max();
        let [records, present] = [records, present].map(|records| records.iter().copied().collect());
        let [mut days, present_days] = days;
        // Nothing is known of the days before: each may have been read.
        if let Some(newest) = newest.filter(|_| *version == WITHOUT_DAYS) {
            days.insert(0, newest / DAY);
        }
        Ok(Self { files, records, present, floor, rising, days, present_days })
    }
}

impl File {
    fn numbers(&self) -> [u64; 9] {
        let Self { name, head_bytes, head, offset, lines, tail_bytes, tail, refused, gone, open } = *self;
        let state = u64::from(gone) | u64::from(open) << 1;
        [name, head_bytes, head, offset, lines, tail_bytes, tail, refused, state]
    }

    fn read([name, head_bytes, head, offset, lines, tail_bytes, tail, refused, state]: [u64; 9]) -> Option<Self> {
        let (gone, open) = (state & 1 == 1, state & 2 == 2);
        let file = Self { name, head_bytes, head, offset, lines, tail_bytes, tail, refused, gone, open };
        (state < 4).then_some(file)
    }
}
