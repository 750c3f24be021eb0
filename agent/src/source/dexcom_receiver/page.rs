//! A page: 28 bytes that say what it holds, and records of one kind.
//!
//! Generations of receivers have records of other lengths, and the revision in the header is not enough to tell which.
//! Each record carries its own checksum, so the length is the one at which the checksums are right.

use super::frame::is_whole;
use crate::source::hash::fnv;

/// Bytes before the records.
const HEADER_BYTES: usize = 28;
/// Records of a page, at most: the smallest has 13 bytes.
const RECORDS_MAX: u32 = 128;

/// Kinds of records.
pub(super) mod kind {
    pub(in super::super) const MANUFACTURING: u8 = 0;
    pub(in super::super) const SENSOR: u8 = 3;
    pub(in super::super) const GLUCOSE: u8 = 4;
    pub(in super::super) const CALIBRATION: u8 = 5;
    pub(in super::super) const INSERTION: u8 = 7;
    pub(in super::super) const METER: u8 = 10;
    pub(in super::super) const EVENT: u8 = 11;
    pub(in super::super) const BACKFILLED: u8 = 18;
}

/// Those that readings come of, in the order in which they are read: what matters most comes first.
pub(super) const KINDS: [u8; 7] =
    [kind::GLUCOSE, kind::BACKFILLED, kind::METER, kind::INSERTION, kind::EVENT, kind::CALIBRATION, kind::SENSOR];

/// Bytes of a record of each kind, its checksum included, in one generation or another.
fn lengths(kind: u8) -> &'static [usize] {
    match kind {
        kind::GLUCOSE | kind::BACKFILLED => &[13, 23, 25, 27],
        kind::SENSOR | kind::EVENT => &[20],
        kind::METER => &[16, 21],
        kind::INSERTION => &[15, 25],
        kind::CALIBRATION => &[249, 148],
        _ => &[],
    }
}

/// What a page holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page<'a> {
    /// The number of its first record; the next page goes on behind its last.
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) kind: u8,
    pub(super) number: u32,
    records: &'a [u8],
}

impl<'a> Page<'a> {
    /// Reads a page, as a receiver gives it.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let (header, records) = bytes.split_at_checked(HEADER_BYTES).ok_or("is too short")?;
        if !is_whole(header) {
            return Err("has a header with a wrong checksum");
        }
        let word = |at: usize| header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        let fields = (word(0), word(4), word(10));
        let (Some(first), Some(count), Some(number)) = fields else { return Err("is too short") };
        if count > RECORDS_MAX || first.checked_add(count).is_none() {
            return Err("says that it holds more than it can");
        }
        Ok(Self { first, count, kind: header[8], number, records })
    }

    /// The number behind that of its last record.
    pub(super) fn end(&self) -> u32 {
        self.first + self.count
    }

    /// Its records with their numbers, oldest first; none where no record has a right checksum at any known length.
    pub(super) fn records(&self) -> Option<Vec<(u32, &'a [u8])>> {
        if self.count == 0 {
            return Some(Vec::new());
        }
        let count = usize::try_from(self.count).ok()?;
        let intact = |length: &usize| {
            let records = self.records.chunks_exact(*length).take(count);
            records.filter(|record| is_whole(record)).count()
        };
        let fits = lengths(self.kind).iter().copied().filter(|length| count * length <= self.records.len());
        let length = fits.max_by_key(intact).filter(|length| intact(length) > 0)?;
        Some((self.first..self.end()).zip(self.records.chunks_exact(length)).collect())
    }
}

/// Tells a record apart from another of the same number, which a receiver that was reset has.
pub(super) fn mark_of(record: &[u8]) -> u64 {
    fnv(record)
}

#[cfg(test)]
mod tests {
    use super::super::frame::crc16;
    use super::*;

    fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.extend(crc16(&bytes).to_le_bytes());
        bytes
    }

    fn header(first: u32, count: u32, kind: u8) -> Vec<u8> {
        let words = |words: [u32; 4]| words.map(u32::to_le_bytes).concat();
        let start = [first.to_le_bytes(), count.to_le_bytes()].concat();
        summed([start, vec![kind, 2], words([9, 0, 0, 0])].concat())
    }

    #[test]
    fn records_have_the_length_at_which_their_checksums_are_right() {
        for (kind, length) in [(4, 13), (4, 23), (4, 25), (18, 27), (10, 16), (10, 21), (7, 15), (7, 25), (5, 148)] {
            let record = |number: u8| summed(vec![number; length - 2]);
            let bytes = [header(40, 3, kind), record(1), record(2), record(3), vec![0xff; 300]].concat();
            let page = Page::read(&bytes).unwrap();
            assert_eq!((page.number, page.end()), (9, 43));
            let records = page.records().unwrap();
            let expected: Vec<(u32, Vec<u8>)> = (40..43).zip((1..4).map(record)).collect();
            assert_eq!(records, expected.iter().map(|(number, bytes)| (*number, &bytes[..])).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_damaged_record_costs_itself_and_a_damaged_header_the_page() {
        let record = summed(vec![7; 11]);
        let mut bytes = [header(0, 2, 4), record.clone(), record, vec![0xff; 100]].concat();
        bytes[30] ^= 1;
        let records = Page::read(&bytes).unwrap().records().unwrap();
        assert_eq!(records.iter().map(|(_, bytes)| is_whole(bytes)).collect::<Vec<_>>(), [false, true]);
        bytes[43] ^= 1;
        assert_eq!(Page::read(&bytes).unwrap().records(), None);
        bytes[3] ^= 1;
        assert!(Page::read(&bytes).is_err());
        assert!(Page::read(&header(0, 4_000_000_000, 4)).is_err());
        assert!(Page::read(&header(u32::MAX, 1, 4)).is_err());
        assert_eq!(Page::read(&header(0, 0, 4)).unwrap().records(), Some(vec![]));
    }
}
