//! Sensors of the air, after the makers' data sheets: SDS011 and Plantower push, MH-Z19 is asked.

use crate::Device;

/// One of them.
#[derive(Clone, Debug)]
pub struct Air {
    /// What it pushes, each once.
    pub pushes: Vec<Vec<u8>>,
    /// What it answers to the question for carbon dioxide.
    pub answers: Vec<u8>,
    heard: Vec<u8>,
}

impl Air {
    /// An SDS011 that measured this, in tenths of a microgram.
    #[must_use]
    pub fn sds011(measured: &[(u16, u16)]) -> Self {
        let frame = |(fine, coarse): &(u16, u16)| {
            let data = [fine.to_le_bytes(), coarse.to_le_bytes(), [0xa1, 0x60]].concat();
            let sum: u32 = data.iter().map(|byte| u32::from(*byte)).sum();
            [&[0xaa, 0xc0], &data[..], &[sum.to_le_bytes()[0], 0xab]].concat()
        };
        Self::pushing(measured.iter().rev().map(frame).collect())
    }

    /// A Plantower sensor with these words, so many times.
    #[must_use]
    pub fn plantower(words: &[u16], times: usize) -> Self {
        let length = u16::try_from(words.len() * 2 + 2).unwrap_or(0);
        let mut frame = [&[0x42, 0x4d], &length.to_be_bytes()[..]].concat();
        frame.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        let sum: u32 = frame.iter().map(|byte| u32::from(*byte)).sum();
        let [low, high, ..] = sum.to_le_bytes();
        frame.extend([high, low]);
        Self::pushing(vec![frame; times])
    }

    /// An MH-Z19 at so many ppm and °C.
    #[must_use]
    pub fn mhz19(ppm: u16, celsius: u8) -> Self {
        let [high, low] = ppm.to_be_bytes();
        let mut frame = vec![0xff, 0x86, high, low, celsius + 40, 0, 0, 0];
        let sum: u32 = frame[1..].iter().map(|byte| u32::from(*byte)).sum();
        frame.push((256 - sum % 256).to_le_bytes()[0]);
        Self { pushes: Vec::new(), answers: frame, heard: Vec::new() }
    }

    /// A receiver or sensor that says just this, last first.
    #[must_use]
    pub fn pushing(pushes: Vec<Vec<u8>>) -> Self {
        Self { pushes, answers: Vec::new(), heard: Vec::new() }
    }
}

impl Device for Air {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.heard.extend_from_slice(bytes);
        let question = [0xff, 0x01, 0x86, 0, 0, 0, 0, 0, 0x79];
        match self.heard.windows(9).position(|nine| nine == question) {
            Some(at) => {
                self.heard.drain(..at + 9);
                self.answers.clone()
            }
            None => Vec::new(),
        }
    }

    fn idle(&mut self) -> Vec<u8> {
        self.pushes.pop().unwrap_or_default()
    }
}
