//! Dexcom receivers, after openaps/dexcom_reader and tidepool-org/uploader.
//!
//! Pages, records and their checksums are built here from those descriptions. Nothing stands in for a receiver that was
//! measured: what a page holds beyond its records is FF.

use std::collections::BTreeMap;

use crate::Device;

/// Bytes of a page, its header included.
const PAGE_BYTES: usize = 528;
const HEADER_BYTES: usize = 28;

/// Which receiver: records have other lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Glucose in 13 bytes, no page of values that were filled in later.
    G4,
    /// Glucose in 25 bytes.
    G6,
}

/// A receiver.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Its serial number.
    pub serial: String,
    /// Which it is.
    pub generation: Generation,
    /// What its own clock shows, in seconds since 2009.
    pub system: u32,
    /// What its display shows more.
    pub display_offset: i32,
    /// Records of each kind, oldest first, with their checksums.
    pub records: BTreeMap<u8, Vec<Vec<u8>>>,
    /// The first page of each kind that is still there.
    pub first_page: BTreeMap<u8, u32>,
    /// Pages of each kind whose header is damaged.
    pub damaged: Vec<(u8, u32)>,
    /// Pages of each kind that it never gives, nor refuses.
    pub mute: Vec<(u8, u32)>,
    /// How many pages it has given.
    pub given: usize,
    heard: Vec<u8>,
}

impl Receiver {
    /// One without records.
    #[must_use]
    pub fn new(serial: &str, generation: Generation) -> Self {
        Self {
            serial: serial.to_owned(),
            generation,
            system: 500_000_000,
            display_offset: 3_600,
            records: BTreeMap::new(),
            first_page: BTreeMap::new(),
            damaged: Vec::new(),
            mute: Vec::new(),
            given: 0,
            heard: Vec::new(),
        }
    }

    /// Adds a record: its own two times, five minutes from number to number, and `said`.
    pub fn record(&mut self, kind: u8, number: u32, said: &[u8]) {
        let display = self.time_of(number).wrapping_add_signed(self.display_offset);
        let times = [self.time_of(number).to_le_bytes(), display.to_le_bytes()].concat();
        let record = summed([times.as_slice(), said].concat());
        self.records.entry(kind).or_default().push(record);
    }

    /// When the `number`th record of each kind is made.
    #[must_use]
    pub fn time_of(&self, number: u32) -> u32 {
        400_000_000 + 300 * number
    }

    /// Adds a value of glucose, or a code below 39.
    pub fn glucose(&mut self, number: u32, bits: u16, direction: u8) {
        let [low, high] = bits.to_le_bytes();
        let measured = self.time_of(number).to_le_bytes();
        let said = match self.generation {
            Generation::G4 => vec![low, high, direction],
            Generation::G6 => [&[low, high][..], &measured, &[1, 2, 3, 4, 5], &[direction, 6, 0, 0]].concat(),
        };
        self.record(4, number, &said);
    }

    /// Adds a value from a meter.
    pub fn meter(&mut self, number: u32, mg_dl: u16) {
        let [low, high] = mg_dl.to_le_bytes();
        let time = self.time_of(number).to_le_bytes();
        let said = match self.generation {
            Generation::G4 => [&[low, high][..], &time].concat(),
            Generation::G6 => [&[low, high, 1][..], &time, &[0xff; 4]].concat(),
        };
        self.record(10, number, &said);
    }

    /// Adds what the sensor measured before it became glucose.
    pub fn sensor(&mut self, number: u32, unfiltered: u32, filtered: u32, rssi: i16) {
        let said = [&unfiltered.to_le_bytes()[..], &filtered.to_le_bytes(), &rssi.to_le_bytes()].concat();
        self.record(3, number, &said);
    }

    /// The pages of a kind: its number of the first record, and its records.
    fn pages(&self, kind: u8) -> Vec<(u32, Vec<Vec<u8>>)> {
        let records = self.records.get(&kind).map_or(&[][..], Vec::as_slice);
        let Some(length) = records.first().map(Vec::len) else { return Vec::new() };
        let room = (PAGE_BYTES - HEADER_BYTES) / length;
        let first = |index: usize| u32::try_from(index * room).unwrap_or(u32::MAX);
        records.chunks(room).enumerate().map(|(index, records)| (first(index), records.to_vec())).collect()
    }

    /// What the maker wrote, as the page of kind 0.
    fn makers_page(&self) -> Vec<u8> {
        let xml =
            format!("<ManufacturingParameters SerialNumber=\"{}\" HardwarePartNumber=\"MD10606\" />", self.serial);
        let mut record = [&[0; 8][..], xml.as_bytes()].concat();
        record.resize(498, 0);
        [header(0, 1, 0, 0), summed(record)].concat()
    }

    fn page(&self, kind: u8, number: u32) -> Option<Vec<u8>> {
        if kind == 0 {
            return (number == 0).then(|| self.makers_page());
        }
        let gone = number < self.first_page.get(&kind).copied().unwrap_or(0);
        let (first, records) = self.pages(kind).into_iter().nth(usize::try_from(number).ok()?).filter(|_| !gone)?;
        let mut header = header(first, u32::try_from(records.len()).ok()?, kind, number);
        if self.damaged.contains(&(kind, number)) {
            header[5] ^= 1;
        }
        let mut page = [header, records.concat()].concat();
        page.resize(PAGE_BYTES, 0xff);
        Some(page)
    }

    fn answer(&mut self, command: u8, said: &[u8]) -> Vec<u8> {
        let refused = || frame(4, &[]);
        match (command, said) {
            (10, []) => frame(1, &[]),
            (16, &[18]) if self.generation == Generation::G4 => refused(),
            (16, &[0]) => frame(1, &[0; 8]),
            (16, &[kind]) => {
                let first = self.first_page.get(&kind).copied().unwrap_or(0);
                let last = u32::try_from(self.pages(kind).len()).unwrap_or(0).checked_sub(1);
                let range = last.map_or([u32::MAX; 2], |last| [first, last]);
                frame(1, &range.map(u32::to_le_bytes).concat())
            }
            (17, &[kind, a, b, c, d, 1]) => {
                self.given += 1;
                let number = u32::from_le_bytes([a, b, c, d]);
                if self.mute.contains(&(kind, number)) {
                    return Vec::new();
                }
                self.page(kind, number).map_or_else(refused, |page| frame(1, &page))
            }
            (29, []) => frame(1, &self.display_offset.to_le_bytes()),
            (34, []) => frame(1, &self.system.to_le_bytes()),
            _ => frame(3, &[]),
        }
    }
}

impl Device for Receiver {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.heard.extend_from_slice(bytes);
        let mut said = Vec::new();
        while let Some(&[1, low, high]) = self.heard.first_chunk() {
            let length = usize::from(u16::from_le_bytes([low, high]));
            if self.heard.len() < length.max(6) {
                break;
            }
            let question: Vec<u8> = self.heard.drain(..length.max(6)).collect();
            let (content, crc) = question.split_at(question.len() - 2);
            if crc == crc16(content).to_le_bytes() {
                said.extend(self.answer(content[3], &content[4..]));
            } else {
                said.extend(frame(5, &[]));
            }
        }
        said
    }
}

/// Number of the first record, how many there are, kind, revision, number of the page, three words that are not known.
fn header(first: u32, count: u32, kind: u8, number: u32) -> Vec<u8> {
    let words = [number, 0, 0, 0].map(u32::to_le_bytes).concat();
    summed([&first.to_le_bytes()[..], &count.to_le_bytes(), &[kind, 2], &words].concat())
}

fn frame(status: u8, said: &[u8]) -> Vec<u8> {
    let [low, high] = u16::try_from(said.len() + 6).unwrap_or(u16::MAX).to_le_bytes();
    summed([&[1, low, high, status], said].concat())
}

fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(crc16(&bytes).to_le_bytes());
    bytes
}

/// By polynomial division, bit by bit: x^16 + x^12 + x^5 + 1, from 0.
fn crc16(bytes: &[u8]) -> u16 {
    let mut rest: u32 = 0;
    for bit in bytes.iter().chain(&[0, 0]).flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at & 1))) {
        rest = rest << 1 | bit;
        if rest & 0x1_0000 != 0 {
            rest ^= 0x1_1021;
        }
    }
    u16::try_from(rest).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tidepool-org/uploader, `lib/crc.js`; the frame of PING.
    #[test]
    fn it_counts_as_published() {
        assert_eq!(crc16(&[0x02, 0x06, 0x06, 0x03]), 0xc50d);
        assert_eq!(frame(10, &[]), [0x01, 0x06, 0x00, 0x0a, 0x5e, 0x65]);
        let mut receiver = Receiver::new("sm40000000", Generation::G4);
        (0..39).for_each(|number| receiver.glucose(number, 118, 4));
        assert_eq!(receiver.pages(4).len(), 2, "38 records of 13 bytes a page");
        assert_eq!(receiver.hear(&[0x01, 0x07, 0x00, 0x10, 0x04, 0x8b, 0xb8])[4..12], [0, 0, 0, 0, 1, 0, 0, 0]);
    }
}
