//! What a ClientHello offers, read by hand (RFC 8446, section 4.1.2): what a device can be talked into.

use std::fmt::Write as _;

/// What is in it; extensions that nobody judges are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClientHello {
    /// Versions of TLS: the list of the extension.
    pub(super) versions: Vec<u16>,
    pub(super) suites: Vec<u16>,
    pub(super) groups: Vec<u16>,
    pub(super) schemes: Vec<u16>,
    /// Groups with a key share.
    pub(super) shares: Vec<u16>,
    pub(super) compression: Vec<u8>,
    pub(super) server_name: String,
    /// Whether it sends data before the server has shown who it is.
    pub(super) has_early_data: bool,
}

/// In TLS 1.2 it says that renegotiation would be safe (RFC 5746); it is no suite.
const RENEGOTIATION: u16 = 0x00FF;
/// Suites that AWS IoT Core takes, which are authenticated and forward secret.
const RECOMMENDED: [u16; 7] = [0x1301, 0x1302, 0x1303, 0xC02B, 0xC02C, 0xC02F, 0xC030];
/// Authenticated and forward secret too, under TLS 1.2; AWS IoT Core takes them under 1.3 only.
const SAFE: [u16; 2] = [0xCCA8, 0xCCA9];

impl ClientHello {
    /// Reads the handshake message in `record`, the first record of a connection; none if that is no whole ClientHello.
    pub(super) fn read(record: &[u8]) -> Option<Self> {
        let mut fields = Fields(record);
        if fields.take(1)? != [22] {
            return None;
        }
        fields.take(2)?;
        let mut message = Fields(fields.vector(2)?);
        if message.take(1)? != [1] {
            return None;
        }
        let mut body = Fields(message.vector(3)?);
        body.take(2 + 32)?; // version and random
        body.vector(1)?;
        let mut hello = Self { suites: numbers(body.vector(2)?), ..Self::default() };
        hello.compression = body.vector(1)?.to_vec();
        let mut extensions = Fields(body.vector(2)?);
        while !extensions.0.is_empty() {
            let id = extensions.number()?;
            hello.take_in(id, extensions.vector(2)?)?;
        }
        Some(hello)
    }

    fn take_in(&mut self, id: u16, content: &[u8]) -> Option<()> {
        let mut fields = Fields(content);
        match id {
            0 => {
                let mut name = Fields(fields.vector(2)?);
                name.take(1)?;
                self.server_name = String::from_utf8(name.vector(2)?.to_vec()).ok()?;
            }
            10 => self.groups = numbers(fields.vector(2)?),
            13 => self.schemes = numbers(fields.vector(2)?),
            42 => self.has_early_data = true,
            43 => self.versions = numbers(fields.vector(1)?),
            51 => {
                let mut shares = Fields(fields.vector(2)?);
                while !shares.0.is_empty() {
                    self.shares.push(shares.number()?);
                    shares.vector(2)?;
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Suites that are none of those that AWS IoT Core takes, safe ones first, and then others.
    pub(super) fn beside_recommended(&self) -> (Vec<u16>, Vec<u16>) {
        let others = self.suites.iter().filter(|suite| !RECOMMENDED.contains(suite) && **suite != RENEGOTIATION);
        others.partition(|suite| SAFE.contains(suite))
    }

    /// Whether it offers one that AWS IoT Core takes.
    pub(super) fn has_recommended(&self) -> bool {
        self.suites.iter().any(|suite| RECOMMENDED.contains(suite))
    }

    /// A line for each list, as the golden file has them.
    pub(super) fn in_lines(&self) -> String {
        let mut text = String::new();
        let lists = [
            ("versions", &self.versions),
            ("suites", &self.suites),
            ("groups", &self.groups),
            ("shares", &self.shares),
            ("signatures", &self.schemes),
        ];
        for (name, list) in lists {
            let numbers: Vec<String> = list.iter().map(|number| format!("{number:04x}")).collect();
            let _ = writeln!(text, "{name} {}", numbers.join(" ")); // a String takes text
        }
        let _ = writeln!(text, "compression {:02x?}", self.compression);
        text
    }
}

fn numbers(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from(pair[0]) << 8 | u16::from(pair[1])).collect()
}

/// What is left to read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        numbers(self.take(2)?).first().copied()
    }

    /// Bytes after their length, which has `digits` bytes.
    fn vector(&mut self, digits: usize) -> Option<&'a [u8]> {
        let length = self.take(digits)?.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::hello::Hello;

    #[test]
    fn a_hello_that_was_written_by_hand_is_read_back() {
        let read = ClientHello::read(&Hello::of_13().bytes()).unwrap();
        assert_eq!(read.versions, [0x0304]);
        assert_eq!(read.suites, [0x1301, 0x1302, 0x1303]);
        assert_eq!(read.groups, [0x1D, 0x17]);
        assert_eq!(read.shares, [0x1D]);
        assert_eq!(read.server_name, "localhost");
        assert_eq!(read.compression, [0]);
        assert!(!read.has_early_data);
        let old = ClientHello::read(&Hello { suites: vec![0xC02B, 0xCCA9, 0x002F], ..Hello::of_12() }.bytes()).unwrap();
        assert!(old.has_recommended() && old.versions.is_empty());
        assert_eq!(old.beside_recommended(), (vec![0xCCA9], vec![0x002F]));
        let bytes = Hello::of_13().bytes();
        assert!((0..bytes.len()).all(|length| ClientHello::read(&bytes[..length]).is_none()), "not whole");
    }
}
