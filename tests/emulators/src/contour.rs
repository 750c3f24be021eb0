//! Bayer Contour on a serial cable, after tidepool-org/uploader and the frames that glucometerutils published.

use std::collections::VecDeque;

use crate::{Device, Test};

/// A Contour meter.
#[derive(Clone, Debug)]
pub struct Contour {
    /// Its serial number.
    pub serial: String,
    /// Its tests, oldest first.
    pub tests: Vec<Test>,
    /// Whether it shows mmol/L: tests then hold tenths of it.
    pub mmol: bool,
    /// Texts of frames that are still to be sent.
    pub left: VecDeque<String>,
    /// The next frame's number.
    pub number: u8,
    /// The last frame, to be repeated.
    pub sent: Vec<u8>,
}

impl Contour {
    /// One with `tests`.
    #[must_use]
    pub fn new(serial: &str, tests: Vec<Test>) -> Self {
        Self { serial: serial.to_owned(), tests, mmol: false, left: VecDeque::new(), number: 1, sent: Vec::new() }
    }

    fn texts(&self) -> VecDeque<String> {
        let header = format!(
            "H|\\^&||7w3LBL|Bayer7390^01.24\\01.04\\09.02.20^{}^7403-|A=1^C=63^U=0^V=10600|{}||||||1|201909221304",
            self.serial,
            self.tests.len()
        );
        let record = |(index, test): (usize, &Test)| {
            let [year, month, day, hour, minute] = test.at;
            let (value, unit) = match self.mmol {
                true => (format!("{}.{}", test.mg_dl / 10, test.mg_dl % 10), "mmol/L"),
                false => (test.mg_dl.to_string(), "mg/dL"),
            };
            let marks = if test.control { "C" } else { ["", "B/T1", "A/M0/T1"][usize::from(test.meal)] };
            format!(
                "R|{}|^^^Glucose|{value}|{unit}^P||{marks}||{year}{month:02}{day:02}{hour:02}{minute:02}",
                index + 1
            )
        };
        let records = self.tests.iter().enumerate().map(record);
        let ends = ["L|1||N".to_owned()];
        [header, "P|1".to_owned()].into_iter().chain(records).chain(ends).collect()
    }

    fn next(&mut self) -> Vec<u8> {
        let Some(text) = self.left.pop_front() else { return vec![4] };
        let end = if self.left.is_empty() { 3 } else { 0x17 };
        let content = [&[b'0' + self.number], text.as_bytes(), &[0x0d, end]].concat();
        self.number = (self.number + 1) % 8;
        let sum: u32 = content.iter().map(|byte| u32::from(*byte)).sum();
        [&[2], content.as_slice(), format!("{:02X}", sum & 0xff).as_bytes(), b"\r\n"].concat()
    }
}

impl Device for Contour {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut said = Vec::new();
        for byte in bytes {
            match byte {
                4 => {
                    (self.left, self.number, self.sent) = (self.texts(), 1, Vec::new());
                    said.push(5);
                }
                6 => {
                    self.sent = self.next();
                    said.extend(&self.sent);
                }
                0x15 => said.extend(&self.sent),
                _ => {}
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tidepool-org/uploader: frame 5 with this record sums up to 74.
    #[test]
    fn its_frames_are_those_that_were_published() {
        let mut meter = Contour::new("7390-2336773", Vec::new());
        meter.left = ["R|3|^^^Glucose|93|mg/dL^P||A/M0/T1||201505261150".to_owned(), String::new()].into();
        meter.number = 5;
        assert!(meter.next().ends_with(b"201505261150\r\x1774\r\n"));
    }
}
