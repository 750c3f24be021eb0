//! TaiDoc TD-42xx, after glucometers-tech/glucometer-protocols, `taidoc/td42xx`, and tidepool-org/uploader.

use crate::{Device, Test};

/// A TaiDoc meter.
#[derive(Clone, Debug)]
pub struct TaiDoc {
    /// Its serial number: the low half, then the high one.
    pub serial: [[u8; 4]; 2],
    /// Its tests, oldest first.
    pub tests: Vec<Test>,
    heard: Vec<u8>,
}

impl TaiDoc {
    /// One with `tests`.
    #[must_use]
    pub fn new(tests: Vec<Test>) -> Self {
        Self { serial: [[1, 2, 3, 4], [5, 6, 7, 8]], tests, heard: Vec::new() }
    }

    fn data(&self, command: u8, low: u8, high: u8) -> Option<[u8; 4]> {
        let number = usize::from(u16::from_le_bytes([low, high]));
        let test = || self.tests.get(self.tests.len().checked_sub(number + 1)?);
        Some(match command {
            0x22 => [0; 4],
            0x27 => self.serial[0],
            0x28 => self.serial[1],
            0x2b => {
                let [low, high] = u16::try_from(self.tests.len()).ok()?.to_le_bytes();
                [low, high, 0, 0]
            }
            0x25 => {
                let [year, month, day, hour, minute] = test()?.at;
                let [low, high] = ((year - 2000) << 9 | month << 5 | day).to_le_bytes();
                [low, high, minute.to_le_bytes()[0], hour.to_le_bytes()[0]]
            }
            0x26 => {
                let test = test()?;
                let [low, high] = test.mg_dl.to_le_bytes();
                [low, high, 0, if test.control { 0xc0 } else { test.meal << 6 }]
            }
            _ => return None,
        })
    }
}

impl Device for TaiDoc {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.heard.extend_from_slice(bytes);
        // What is said to another device is not heard.
        let start = self.heard.iter().position(|byte| *byte == 0x51).unwrap_or(self.heard.len());
        self.heard.drain(..start);
        let mut said = Vec::new();
        while let Some(&[0x51, command, low, high, _, _, 0xa3, sum]) = self.heard.first_chunk() {
            let expected = self.heard[..7].iter().map(|byte| u32::from(*byte)).sum::<u32>();
            self.heard.drain(..8);
            if let Some(data) = self.data(command, low, high).filter(|_| expected & 0xff == u32::from(sum)) {
                let mut frame = [&[0x51, command][..], &data, &[0xa5]].concat();
                let sum: u32 = frame.iter().map(|byte| u32::from(*byte)).sum();
                frame.push(sum.to_le_bytes()[0]);
                said.extend(frame);
            }
        }
        said
    }
}
