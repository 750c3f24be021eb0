//! Devices on Modbus, after the Modbus application protocol 1.1b3, Modbus over serial line 1.02, and the manual of the
//! Eastron SDM630 (input registers of two words, floats, the high word first).

use std::collections::BTreeMap;

use crate::Device;

/// Devices on one bus.
#[derive(Clone, Debug, Default)]
pub struct Modbus {
    /// By device, function and address: registers, or bits in place of them.
    pub registers: BTreeMap<(u8, u8, u16), u16>,
    /// Whether there is a header instead of a CRC.
    pub over_tcp: bool,
    /// Whether the adapter gives the question back.
    pub echoes: bool,
    /// The next question is answered with this exception.
    pub refuses: Option<u8>,
    /// What it heard and has not answered.
    pub heard: Vec<u8>,
}

impl Modbus {
    /// A meter with 230.2 V on its first phase, and other registers at zero.
    #[must_use]
    pub fn sdm630() -> Self {
        let mut meter = Self::default();
        for address in (0..0x50).chain(0x156..0x15a) {
            meter.registers.insert((1, 4, address), 0);
        }
        meter.float(1, 0, 230.2);
        meter
    }

    /// Puts a float into two input registers.
    pub fn float(&mut self, device: u8, address: u16, number: f32) {
        let [a, b, c, d] = number.to_be_bytes();
        self.registers.insert((device, 4, address), u16::from_be_bytes([a, b]));
        self.registers.insert((device, 4, address + 1), u16::from_be_bytes([c, d]));
    }

    fn answer(&mut self, question: [u8; 6]) -> Vec<u8> {
        let [device, function, high, low, count_high, count_low] = question;
        let (start, count) = (u16::from_be_bytes([high, low]), u16::from_be_bytes([count_high, count_low]));
        if let Some(code) = self.refuses.take() {
            return vec![device, function | 0x80, code];
        }
        let all: Option<Vec<u16>> = (start..start.saturating_add(count))
            .map(|at| self.registers.get(&(device, function, at)).copied())
            .collect();
        let Some(all) = all else { return vec![device, function | 0x80, 2] };
        let data: Vec<u8> = if function <= 2 {
            all.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit != 0))).collect()
        } else {
            all.iter().flat_map(|word| word.to_be_bytes()).collect()
        };
        [&[device, function, u8::try_from(data.len()).unwrap_or(0)], &data[..]].concat()
    }
}

impl Device for Modbus {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.heard.extend_from_slice(bytes);
        let mut said = Vec::new();
        if self.over_tcp {
            while let Some(&[t0, t1, 0, 0, 0, 6, a, b, c, d, e, f]) = self.heard.first_chunk() {
                self.heard.drain(..12);
                let answer = self.answer([a, b, c, d, e, f]);
                said.extend([t0, t1, 0, 0, 0, u8::try_from(answer.len()).unwrap_or(0)]);
                said.extend(answer);
            }
            return said;
        }
        while let Some(&[a, b, c, d, e, f, low, high]) = self.heard.first_chunk() {
            let question = [a, b, c, d, e, f];
            self.heard.drain(..8);
            if self.echoes {
                said.extend([a, b, c, d, e, f, low, high]);
            }
            let is_here = self.registers.keys().any(|(device, ..)| *device == a);
            if crc(0xffff, &question).to_le_bytes() == [low, high] && is_here {
                let mut answer = self.answer(question);
                answer.extend(crc(0xffff, &answer).to_le_bytes());
                said.extend(answer);
            }
        }
        said
    }
}

/// CRC-16 as the serial line's specification draws it: bit by bit, from the lowest.
#[must_use]
pub fn crc(start: u16, bytes: &[u8]) -> u16 {
    let mut crc = start;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            let carry = crc % 2 == 1;
            crc /= 2;
            if carry {
                crc ^= 0xa001;
            }
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_frame_comes_out() {
        let mut meter = Modbus::sdm630();
        meter.float(1, 0, f32::from_bits(0x4366_3334));
        let answer = meter.hear(&[0x01, 0x04, 0, 0, 0, 2, 0x71, 0xcb]);
        assert_eq!(answer, [0x01, 0x04, 0x04, 0x43, 0x66, 0x33, 0x34, 0x1b, 0x38]);
    }
}
