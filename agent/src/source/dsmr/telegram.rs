//! Telegrams, cut out of what comes, and the objects in one.
//!
//! A telegram begins with `/` and ends with a line that begins with `!`; from version 4 on a CRC-16/ARC of all from `/`
//! to `!` follows there, in up to four hexadecimal digits. The crate that is there knows version 5 alone, with objects
//! of a fixed width, and neither gas of version 2 nor texts.

use crate::source::crc::crc16;
use crate::source::device::Noise;

/// Bytes one telegram may have: those of version 5 have less than 2 048, and 2 048 more with the longest message.
const BYTES_MAX: usize = 8_192;
/// Characters that may stand between `!` and the end of its line.
const END_MAX: usize = 8;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// From `/` to `!`, and checked as far as it can be.
    Telegram(Vec<u8>),
    /// What cannot be used, and why.
    Bad(&'static str, Vec<u8>),
}

/// Finds telegrams in bytes that come in pieces.
#[derive(Debug, Default)]
pub(super) struct Finder {
    held: Vec<u8>,
    /// Up to where neither an end nor another beginning was found.
    searched: usize,
    pub(super) noise: Noise,
}

impl Finder {
    /// Forgets what is held: the port was opened anew.
    pub(super) fn clear(&mut self) {
        (self.held, self.searched) = (Vec::new(), 0);
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next telegram; `is_checked` where one without a checksum is not to be trusted.
    pub(super) fn next(&mut self, is_checked: bool) -> Option<Found> {
        if self.searched == 0 {
            self.noise.skip_until(&mut self.held, |byte| *byte == b'/');
        }
        let from = self.searched.max(1);
        let found = self.held.iter().enumerate().skip(from).find(|(_, byte)| matches!(byte, b'/' | b'!'));
        match found.map(|(at, byte)| (at, *byte)) {
            None if self.held.len() > BYTES_MAX => Some(self.bad("is longer than any telegram", self.held.len())),
            None => {
                self.searched = self.held.len();
                None
            }
            Some((at, b'/')) => Some(self.bad("was cut off: another telegram begins in it", at)),
            Some((at, _)) => self.end(at, is_checked),
        }
    }

    /// The telegram whose `!` is at `at`, once its line is whole.
    fn end(&mut self, at: usize, is_checked: bool) -> Option<Found> {
        self.searched = at;
        let rest = &self.held[at + 1..];
        let Some(end) = rest.iter().take(END_MAX).position(|byte| *byte == b'\n') else {
            return (rest.len() >= END_MAX).then(|| self.bad("has no end of line behind its `!`", at + 1));
        };
        let sum = String::from_utf8_lossy(&rest[..end]).trim().to_owned();
        let problem = match u16::from_str_radix(&sum, 16) {
            Err(_) if sum.is_empty() && !is_checked => None,
            Err(_) if sum.is_empty() => Some("has no checksum; for a meter of version 2 or 3 set `version`"),
            Ok(sum) if sum == crc16(0, &self.held[..=at]) => None,
            _ => Some("has a wrong checksum"),
        };
        if let Some(problem) = problem {
            return Some(self.bad(problem, at + 2 + end));
        }
        let mut telegram: Vec<u8> = self.held.drain(..at + 2 + end).collect();
        telegram.truncate(at + 1);
        self.searched = 0;
        Some(Found::Telegram(telegram))
    }

    fn bad(&mut self, problem: &'static str, bytes: usize) -> Found {
        self.searched = 0;
        Found::Bad(problem, self.held.drain(..bytes).collect())
    }
}

/// One line of a telegram: `1-0:1.8.1(001581.123*kWh)`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Object<'a> {
    /// What it is about.
    pub(super) id: &'a str,
    /// What stands in its parentheses.
    pub(super) values: Vec<&'a str>,
}

/// The objects of a telegram. What a line without a name holds belongs to the one before, as in version 2 and 3.
pub(super) fn objects(text: &str) -> Vec<Object<'_>> {
    let mut objects: Vec<Object<'_>> = Vec::new();
    for line in text.lines().skip(1) {
        let Some((id, values)) = line.trim().split_once('(') else { continue };
        let values = values.strip_suffix(')').unwrap_or(values).split(")(");
        match (id, objects.last_mut()) {
            ("", Some(last)) => last.values.extend(values),
            ("", None) => {}
            _ => objects.push(Object { id: id.strip_suffix("*255").unwrap_or(id), values: values.collect() }),
        }
    }
    objects
}
