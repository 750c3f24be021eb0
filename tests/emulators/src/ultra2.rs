//! OneTouch Ultra2, after LifeScan's specification as glucometers-tech/glucometerutils has it.

use std::fmt::Write;

use crate::{Device, Test};

/// A OneTouch Ultra2.
#[derive(Clone, Debug)]
pub struct Ultra2 {
    /// Its serial number.
    pub serial: String,
    /// Its tests, oldest first.
    pub tests: Vec<Test>,
    heard: Vec<u8>,
}

impl Ultra2 {
    /// One with `tests`.
    #[must_use]
    pub fn new(serial: &str, tests: Vec<Test>) -> Self {
        Self { serial: serial.to_owned(), tests, heard: Vec::new() }
    }

    fn dump(&self) -> Vec<u8> {
        let mut text = String::new();
        line(&mut text, &format!("P {:03},\"{}\",\"MG/DL \"", self.tests.len(), self.serial));
        for test in self.tests.iter().rev() {
            let [year, month, day, hour, minute] = test.at;
            let control = if test.control { 'C' } else { ' ' };
            let meal = ["N", "B", "A"][usize::from(test.meal)];
            line(
                &mut text,
                &format!(
                    "P \"THU\",\"{month:02}/{day:02}/{:02}\",\"{hour:02}:{minute:02}:00   \",\"{control} {:03} \",\"{meal}\",\"00\", 00",
                    year % 100,
                    test.mg_dl
                ),
            );
        }
        text.into_bytes()
    }
}

/// A line and the sum of its bytes.
fn line(text: &mut String, content: &str) {
    let sum: u32 = content.bytes().map(u32::from).sum();
    let _ = write!(text, "{content} {:04X}\r\n", sum & 0xffff);
}

impl Device for Ultra2 {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.heard.extend_from_slice(bytes);
        if !self.heard.ends_with(b"\x11\rDMP\r") {
            return Vec::new();
        }
        self.heard.clear();
        self.dump()
    }
}
