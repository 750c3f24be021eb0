//! A file's text as UTF-8, whatever it is written in: UTF-8 with or without a mark, or UTF-16 with one, as spreadsheets do.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// The first bytes of UTF-16, in either order (RFC 2781, section 3.2).
const MARKS: [[u8; 2]; 2] = [[0xff, 0xfe], [0xfe, 0xff]];

/// An open file. Places in it count bytes of UTF-8.
pub(super) enum Input {
    /// As it stands.
    Plain(File),
    /// Decoded.
    Utf16(Utf16<File>),
}

impl Input {
    /// `file`, which begins with `head`, at its beginning.
    pub(super) fn new(mut file: File, head: &[u8]) -> io::Result<Self> {
        file.rewind()?;
        let Some(mark) = MARKS.iter().find(|mark| head.starts_with(*mark)) else { return Ok(Self::Plain(file)) };
        file.seek(SeekFrom::Start(2))?;
        Ok(Self::Utf16(Utf16::new(file, mark[0] == 0xfe)))
    }

    /// The file itself.
    pub(super) fn file(&self) -> &File {
        match self {
            Self::Plain(file) => file,
            Self::Utf16(text) => &text.from,
        }
    }

    /// Goes to that place.
    pub(super) fn seek(&mut self, place: u64) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.seek(SeekFrom::Start(place)).map(|_| ()),
            Self::Utf16(text) => {
                text.from.seek(SeekFrom::Start(2))?;
                text.forget();
                let skipped = io::copy(&mut text.take(place), &mut io::sink())?;
                if skipped == place { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
            }
        }
    }
}

impl Read for Input {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(to),
            Self::Utf16(text) => text.read(to),
        }
    }
}

/// UTF-16 as UTF-8; what is no UTF-16 becomes U+FFFD, and so a reject where it matters.
pub(super) struct Utf16<R> {
    from: R,
    big_endian: bool,
    /// Units that were read and not yet given out: at most a high surrogate.
    high: Option<u16>,
    /// Half a unit.
    half: Option<u8>,
    ready: Vec<u8>,
    given: usize,
}

impl<R: Read> Utf16<R> {
    pub(super) fn new(from: R, big_endian: bool) -> Self {
        Self { from, big_endian, high: None, half: None, ready: Vec::new(), given: 0 }
    }

    fn forget(&mut self) {
        (self.high, self.half, self.given) = (None, None, 0);
        self.ready.clear();
    }

    /// Decodes a piece more; whether there was one.
    fn refill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 4_096];
        let count = self.from.read(&mut piece)?;
        self.ready.clear();
        self.given = 0;
        let mut units: Vec<u16> = self.high.take().into_iter().collect();
        for byte in &piece[..count] {
            match self.half.take() {
                None => self.half = Some(*byte),
                Some(first) if self.big_endian => units.push(u16::from_be_bytes([first, *byte])),
                Some(first) => units.push(u16::from_le_bytes([first, *byte])),
            }
        }
        if count > 0 && units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
            self.high = units.pop();
        }
        if count == 0 && self.half.take().is_some() {
            units.push(0xfffd); // a file that ends within a character
        }
        for decoded in char::decode_utf16(units) {
            let decoded = decoded.unwrap_or(char::REPLACEMENT_CHARACTER);
            self.ready.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Ok(count > 0 || !self.ready.is_empty())
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.given == self.ready.len() {
            if !self.refill()? {
                return Ok(0);
            }
        }
        let count = to.len().min(self.ready.len() - self.given);
        to[..count].copy_from_slice(&self.ready[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes one at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let count = to.len().min(1).min(self.0.len());
            to[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn utf_16_in_either_order_is_the_same_text_in_whatever_pieces() {
        let text = "Gerät;5,4 mmol/L\r\n𝄞 €";
        for big_endian in [false, true] {
            let bytes = |unit: u16| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() };
            let bytes: Vec<u8> = text.encode_utf16().flat_map(bytes).collect();
            let mut found = String::new();
            Utf16::new(Drip(&bytes), big_endian).read_to_string(&mut found).unwrap();
            assert_eq!(found, text);
            let mut cut = String::new();
            Utf16::new(Drip(&bytes[..bytes.len() - 1]), big_endian).read_to_string(&mut cut).unwrap();
            assert_eq!(cut, text.replace('€', "\u{fffd}"));
        }
    }
}
