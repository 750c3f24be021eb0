//! OneTouch UltraMini and Verio IQ, after glucometers-tech/glucometer-protocols and LifeScan's published frames.

use crate::{Device, Test};

/// A meter of either kind.
#[derive(Clone, Debug)]
pub struct LifeScan {
    /// Its serial number.
    pub serial: String,
    /// Its tests, oldest first.
    pub tests: Vec<Test>,
    /// Whether record 0 is the oldest.
    pub ascending: bool,
    /// Whether it is a Verio IQ.
    pub verio: bool,
    /// Of a frame that is not whole.
    pub heard: Vec<u8>,
    /// How many frames were sent, modulo two.
    pub sent: u8,
    /// How many frames were taken, modulo two.
    pub taken: u8,
}

impl LifeScan {
    /// A OneTouch UltraMini.
    #[must_use]
    pub fn ultra_mini(serial: &str, tests: Vec<Test>) -> Self {
        let (serial, heard) = (serial.to_owned(), Vec::new());
        Self { serial, tests, ascending: false, verio: false, heard, sent: 0, taken: 0 }
    }

    /// A OneTouch Verio IQ.
    #[must_use]
    pub fn verio_iq(serial: &str, tests: Vec<Test>) -> Self {
        Self { verio: true, ..Self::ultra_mini(serial, tests) }
    }

    fn test(&self, number: u16) -> Option<&Test> {
        let number = usize::from(number);
        let index = if self.ascending { Some(number) } else { self.tests.len().checked_sub(number + 1) };
        self.tests.get(index?)
    }

    /// The answer to a message of a Verio IQ.
    fn verio_answer(&self, message: &[u8]) -> Vec<u8> {
        match *message {
            [3, 0x0b, 1, 2] => [&[3, 6], self.serial.as_bytes(), &[0]].concat(),
            [3, 0x27, 0] => [&[3, 6][..], &self.count()].concat(),
            [3, 0x21, low, high] => match self.test(u16::from_le_bytes([low, high])) {
                Some(test) => {
                    let (seconds, value) = (test.seconds_since(2000).to_le_bytes(), test.mg_dl.to_le_bytes());
                    [&[3, 6][..], &seconds, &value, &[test.control.into(), test.meal, 0, 0]].concat()
                }
                None => vec![3, 9],
            },
            _ => vec![3, 9],
        }
    }

    /// The answer to a message of an UltraMini.
    fn mini_answer(&self, message: &[u8]) -> Vec<u8> {
        match *message {
            [5, 0x0b, 2, ..] => [&[5, 6], self.serial.as_bytes()].concat(),
            [5, 0x1f, 0xf5, 1] => [&[5, 0x0f][..], &self.count()].concat(),
            [5, 0x1f, low, high] => match self.test(u16::from_le_bytes([low, high])) {
                Some(test) => {
                    let value = u32::from(test.mg_dl).to_le_bytes();
                    [&[5, 6][..], &test.seconds_since(1970).to_le_bytes(), &value].concat()
                }
                None => vec![5, 8],
            },
            _ => vec![5, 7],
        }
    }

    fn count(&self) -> [u8; 2] {
        u16::try_from(self.tests.len()).unwrap_or(u16::MAX).to_le_bytes()
    }

    fn answer(&mut self, link: u8, message: &[u8]) -> Vec<u8> {
        if self.verio {
            return frame(0, &self.verio_answer(message));
        }
        let (is_ack, is_disconnect) = (link & 4 != 0, link & 8 != 0);
        if is_disconnect {
            (self.sent, self.taken) = (0, 0);
            return frame(8 | 4, &[]);
        }
        // A frame out of turn is not answered; an acknowledgement is not either.
        if is_ack || link & 1 != self.taken || (link & 2) >> 1 != self.sent {
            return Vec::new();
        }
        self.taken ^= 1;
        let ack = frame(4 | self.sent | self.taken << 1, &[]);
        let answer = frame(self.sent | self.taken << 1, &self.mini_answer(message));
        self.sent ^= 1;
        [ack, answer].concat()
    }
}

impl Device for LifeScan {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.heard.extend_from_slice(bytes);
        let mut said = Vec::new();
        while let Some(&[2, length]) = self.heard.first_chunk() {
            let length = usize::from(length);
            if self.heard.len() < length {
                return said;
            }
            let frame: Vec<u8> = self.heard.drain(..length).collect();
            if crc(&frame[..length - 2]).to_le_bytes() == frame[length - 2..] {
                said.extend(self.answer(frame[2], &frame[3..length - 3]));
            }
        }
        if self.heard.first().is_some_and(|byte| *byte != 2) {
            self.heard.clear();
        }
        said
    }
}

/// `02 length link message 03 crc`
fn frame(link: u8, message: &[u8]) -> Vec<u8> {
    let length = u8::try_from(message.len()).map_or(u8::MAX, |length| length + 6);
    let mut frame = [&[2, length, link], message, &[3]].concat();
    let crc = crc(&frame);
    frame.extend([crc.to_le_bytes()[0], crc.to_le_bytes()[1]]);
    frame
}

/// CRC-16 with the polynomial 1021, from FFFF, byte by byte with shifts, as the published specification has it.
fn crc(bytes: &[u8]) -> u16 {
    let mut crc: u16 = 0xffff;
    for byte in bytes {
        crc = crc.rotate_right(8) ^ u16::from(*byte);
        crc ^= (crc & 0xff) >> 4;
        crc ^= crc << 12;
        crc ^= (crc & 0xff) << 5;
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_speaks_as_published() {
        let mut mini = LifeScan::ultra_mini("C176SA5C9", vec![Test::number(0)]);
        assert_eq!(mini.hear(&[2, 6, 8, 3, 0xc2, 0x62])[..4], [2, 6, 0x0c, 3], "a disconnect is acknowledged");
        assert_eq!(crc(&[2, 6, 6, 3]), 0x41cd);
        assert_eq!(frame(3, &[5, 0x0d, 2]), [2, 9, 3, 5, 0x0d, 2, 3, 8, 0x9f]);
    }
}
