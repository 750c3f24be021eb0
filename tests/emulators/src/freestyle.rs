//! FreeStyle Lite and Optium, after glucometers-tech/glucometer-protocols, `abbott/freestyle-lite` and
//! `abbott/freestyle-optium`.

use std::fmt::Write;

use crate::{Device, Test};

/// A meter of either kind.
#[derive(Clone, Debug)]
pub struct Freestyle {
    /// Its serial number.
    pub serial: String,
    /// Its tests, oldest first.
    pub tests: Vec<Test>,
    /// Whether it is an Optium.
    pub optium: bool,
    /// How many tests it holds; older ones go.
    pub room: usize,
    /// What it heard of a command.
    pub heard: Vec<u8>,
}

impl Freestyle {
    /// A FreeStyle Lite.
    #[must_use]
    pub fn lite(serial: &str, tests: Vec<Test>) -> Self {
        Self { serial: serial.to_owned(), tests, optium: false, room: 400, heard: Vec::new() }
    }

    /// A FreeStyle Optium.
    #[must_use]
    pub fn optium(serial: &str, tests: Vec<Test>) -> Self {
        Self { optium: true, room: 450, ..Self::lite(serial, tests) }
    }

    fn dump(&self) -> Vec<u8> {
        let month = |month: u16| {
            let names =
                ["Jan ", "Feb ", "Mar ", "Apr ", "May ", "June", "July", "Aug ", "Sep ", "Oct ", "Nov ", "Dec "];
            names[usize::from(month) - 1]
        };
        let held = &self.tests[self.tests.len().saturating_sub(self.room)..];
        let mut text = format!("\r\n{}\r\n0.22     -P\r\nJuly 10 2013 14:26:44\r\n", self.serial);
        if held.is_empty() {
            return (text + "Log Empty END\r\n").into_bytes();
        }
        let _ = write!(text, "{:03}\r\n", held.len());
        for test in held.iter().rev() {
            let [year, of_year, day, hour, minute] = test.at;
            let kind = if self.optium { "G" } else { "17" };
            let _ = write!(
                text,
                "{:03}  {} {day:02} {year:04} {hour:02}:{minute:02} {kind} 0x{:02X}\r\n",
                test.mg_dl,
                month(of_year),
                u8::from(test.control)
            );
        }
        let sum = text.bytes().fold(0_u16, |sum, byte| sum.wrapping_add(byte.into()));
        let _ = write!(text, "0x{sum:04X}  END\r\n");
        text.into_bytes()
    }
}

impl Device for Freestyle {
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.heard.extend_from_slice(bytes);
        let command: &[u8] = if self.optium { b"$xmem\r\n" } else { b"mem" };
        if !self.heard.ends_with(command) {
            return Vec::new();
        }
        self.heard.clear();
        self.dump()
    }
}
