//! SD Biosensor CodeFree, after glucometers-tech/glucometer-protocols, `sd-biosensor/codefree`.

use crate::{Device, Test};

/// A CodeFree that is switched on again whenever it was left.
#[derive(Clone, Debug)]
pub struct CodeFree {
    /// Its tests, oldest first.
    pub tests: Vec<Test>,
    heard: Vec<u8>,
    /// How many tests were given; none before it was answered.
    given: Option<usize>,
    idle: u32,
}

/// How often it must find nobody speaking before it is switched on, and switched on again.
const PAUSES: u32 = 30;

impl CodeFree {
    /// One with `tests`.
    #[must_use]
    pub fn new(tests: Vec<Test>) -> Self {
        Self { tests, heard: Vec::new(), given: None, idle: PAUSES }
    }

    fn answer(&mut self, message: &[u8]) -> Vec<u8> {
        match (message, self.given) {
            ([0x10, 0x40], _) => {
                self.given = Some(0);
                let count = u16::try_from(self.tests.len()).unwrap_or(u16::MAX).to_be_bytes();
                frame(&[&[0x30][..], &count, &[0xaa; 19]].concat())
            }
            ([0x10, 0x60], Some(given)) if given < self.tests.len() => {
                self.given = Some(given + 1);
                let test = self.tests[self.tests.len() - 1 - given];
                let [year, month, day, hour, minute] = test.at.map(|part| (part % 2000).to_le_bytes()[0]);
                let [high, low] = test.mg_dl.to_be_bytes();
                let record = [0x13, 0, year, month, day, hour, minute, high, low, test.meal << 4];
                frame(&[&record[..], &[7; 7]].concat())
            }
            ([0x10, 0x60], Some(_)) => {
                (self.given, self.idle) = (None, 0);
                frame(&[0x10, 0x70])
            }
            _ => Vec::new(),
        }
    }
}

impl Device for CodeFree {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.idle = 0;
        self.heard.extend_from_slice(bytes);
        // What is said to another device is not heard.
        let start = self.heard.iter().position(|byte| *byte == 0x53).unwrap_or(self.heard.len());
        self.heard.drain(..start);
        let mut said = Vec::new();
        while let Some(&[0x53, 0x10, length]) = self.heard.first_chunk() {
            let length = usize::from(length);
            if self.heard.len() < 3 + length {
                break;
            }
            let frame: Vec<u8> = self.heard.drain(..3 + length).collect();
            said.extend(self.answer(&frame[3..1 + length]));
        }
        said
    }

    fn idle(&mut self) -> Vec<u8> {
        self.idle += 1;
        if self.idle.is_multiple_of(PAUSES) { frame(&[0x10, 0x30]) } else { Vec::new() }
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    let length = u8::try_from(message.len() + 2).unwrap_or(u8::MAX);
    let xor = message.iter().fold(0, |xor, byte| xor ^ byte);
    [&[0x53, 0x20, length], message, &[xor, 0xaa]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_as_published() {
        assert_eq!(frame(&[0x10, 0x30]), [0x53, 0x20, 0x04, 0x10, 0x30, 0x20, 0xaa]);
        let mut meter = CodeFree::new(vec![Test::number(0)]);
        assert_eq!(meter.hear(&[0x53, 0x10, 0x04, 0x10, 0x40, 0x50, 0xaa]).len(), 27);
    }
}
