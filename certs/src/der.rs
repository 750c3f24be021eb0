//! As much of DER (X.690) as a small device needs to read of a certificate.

pub(crate) const VERSION: u8 = 0xa0;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const SEQUENCE: u8 = 0x30;

/// What is still to be read of a run of DER elements.
pub(crate) struct Der<'a>(pub(crate) &'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element, if that has this tag. Lengths are of at most two bytes: 64 KiB.
    pub(crate) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&[found, first], rest) = self.0.split_first_chunk()?;
        let digits = match first {
            0x81 => 1,
            0x82 => 2,
            _ => 0,
        };
        let (long, rest) = rest.split_at_checked(digits)?;
        let length = match first {
            0..=0x7f => usize::from(first),
            0x81 | 0x82 => long.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)),
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        if found != tag {
            return None;
        }
        self.0 = rest;
        Some(content)
    }
}
