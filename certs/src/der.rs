//! As much of DER (X.690) as a small device needs to read of a certificate.

pub(crate) const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const INTEGER: u8 = 0x02;

/// What is still to be read of a run of DER elements.
pub(crate) struct Der<'a>(pub(crate) &'a [u8]);

impl<'a> Der<'a> {
    /// What follows the serial number of a certificate (RFC 5280, section 4.1), behind which nothing may be: how it is
    /// signed, by whom, when it is valid, its subject, its key, and more.
    pub(crate) fn of_certificate(certificate_der: &'a [u8]) -> Option<Self> {
        let mut whole = Der(certificate_der);
        let mut body = Der(Der(whole.take(SEQUENCE)?).take(SEQUENCE)?);
        let _ = body.take(VERSION); // one of version 1 has none
        body.take(INTEGER)?; // the serial number
        whole.0.is_empty().then_some(body)
    }

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
