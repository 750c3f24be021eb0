//! Pulse oximeters: Contec CMS50, after atbrask/CMS50Dplus, timegrid/CMS50Dplus7 and headrotor/contec_data; Nonin OEM III,
//! after its published frame layouts.

use crate::Device;

/// What an oximeter measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// Percent.
    pub spo2: u8,
    /// Beats a minute.
    pub pulse: u16,
    /// Whether a finger is in it.
    pub finger: bool,
}

/// A Contec CMS50, speaking 60 times a second.
#[derive(Clone, Debug)]
pub struct Contec {
    /// What it measures.
    pub vitals: Vitals,
    /// Whether it has firmware 7, and speaks when it is asked.
    pub v7: bool,
    /// How many reminders it has heard.
    pub reminders: usize,
    started: bool,
    wave: u8,
}

impl Contec {
    /// One that measures `vitals`.
    #[must_use]
    pub fn new(v7: bool, vitals: Vitals) -> Self {
        Self { vitals, v7, reminders: 0, started: !v7, wave: 0 }
    }
}

impl Device for Contec {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let asks = |command: u8| bytes.windows(3).any(|bytes| bytes == [0x7d, 0x81, command]);
        self.started |= asks(0xa1);
        self.reminders += usize::from(asks(0xaf));
        Vec::new()
    }

    fn idle(&mut self) -> Vec<u8> {
        if !self.started {
            return Vec::new();
        }
        self.wave = (self.wave + 7) % 100;
        let Vitals { spo2, pulse, finger } = self.vitals;
        let pulse = u8::try_from(pulse).unwrap_or(u8::MAX);
        if !self.v7 {
            let (finger_out, pulse, spo2) = if finger { (0, pulse, spo2) } else { (0x10, 0, 0) };
            return vec![0x80 | finger_out | 5, self.wave, (pulse & 0x80) >> 1 | 3, pulse & 0x7f, spo2];
        }
        let (pulse, spo2) = if finger { (pulse, spo2) } else { (0xff, 0x7f) };
        let data = [if finger { 5 } else { 0x80 }, self.wave, 3, pulse, spo2, 0xff, 0xff];
        let high = data.iter().enumerate().fold(0x80, |high, (bit, byte)| high | byte >> 7 << bit);
        [&[1, high], data.map(|byte| byte | 0x80).as_slice()].concat()
    }
}

/// A Nonin OEM III, speaking 75 times a second.
#[derive(Clone, Debug)]
pub struct Nonin {
    /// What it measures.
    pub vitals: Vitals,
    /// 2 or 7.
    pub format: u8,
    frame: usize,
}

impl Nonin {
    /// One that measures `vitals`.
    #[must_use]
    pub fn new(format: u8, vitals: Vitals) -> Self {
        Self { vitals, format, frame: 0 }
    }
}

impl Device for Nonin {
    fn hear(&mut self, _bytes: &[u8]) -> Vec<u8> {
        Vec::new()
    }

    fn idle(&mut self) -> Vec<u8> {
        let Vitals { spo2, pulse, finger } = self.vitals;
        let (pulse, spo2) = if finger { (pulse, spo2) } else { (511, 127) };
        let [low, high] = (pulse << 1).to_le_bytes(); // nine bits: two, then seven
        let (low, high) = (low >> 1, high & 0x03);
        self.frame = self.frame % 25 + 1;
        let said = match self.frame {
            1 | 14 | 20 | 22 => high,
            2 | 15 | 21 | 23 => low,
            3 | 9 | 10 | 11 | 16 | 17 => spo2,
            4 => 48,
            _ => 0,
        };
        let status = 0x80 | u8::from(self.frame == 1) | if finger { 0 } else { 0x08 };
        let pleth = u8::try_from(self.frame * 3).unwrap_or(0);
        let mut frame = if self.format == 2 { vec![1, status, pleth, said] } else { vec![status, 60, pleth, said] };
        frame.push(frame.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)));
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// headrotor/contec_data: `01 E0 85 B3 96 C1 E1 FF FF` is a pulse of 65 and 97 %.
    #[test]
    fn it_speaks_as_was_captured() {
        let mut contec = Contec::new(true, Vitals { spo2: 97, pulse: 65, finger: true });
        assert_eq!(contec.idle(), Vec::<u8>::new());
        contec.hear(&[0x7d, 0x81, 0xa1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80]);
        let frame = contec.idle();
        assert_eq!((&frame[..3], &frame[5..]), (&[0x01, 0xe0, 0x85][..], &[0xc1, 0xe1, 0xff, 0xff][..]));
    }
}
