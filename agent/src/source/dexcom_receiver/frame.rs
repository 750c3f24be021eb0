//! Questions and answers: `01`, the length of the whole in two bytes, a command or status, what it says, a checksum.

use crate::source::device::Noise;

/// What each begins with.
const START: u8 = 0x01;
/// Bytes around what a frame says.
const AROUND: usize = 6;
/// Bytes of the longest frame there is.
const FRAME_BYTES_MAX: usize = 1_590;
/// Commands.
pub(super) const PAGE_RANGE: u8 = 16;
pub(super) const PAGES: u8 = 17;
pub(super) const DISPLAY_TIME_OFFSET: u8 = 29;
pub(super) const SYSTEM_TIME: u8 = 34;
/// The status of an answer that says what was asked for.
pub(super) const ACK: u8 = 1;
/// The statuses of one that was understood, and cannot be: others may follow from a question that was damaged.
pub(super) const REFUSED: [u8; 4] = [3, 4, 6, 7];
/// Bytes that say a range of pages.
pub(super) const RANGE_BYTES: usize = 8;

/// A question.
pub(super) fn frame(command: u8, said: &[u8]) -> Vec<u8> {
    let [low, high] = u16::try_from(said.len() + AROUND).unwrap_or(u16::MAX).to_le_bytes();
    let mut bytes = vec![START, low, high, command];
    bytes.extend_from_slice(said);
    bytes.extend(crc16(&bytes).to_le_bytes());
    bytes
}

/// An answer's status and what it says, or the bytes of one whose checksum is wrong.
type Answer = Result<(u8, Vec<u8>), Vec<u8>>;

/// Takes the next answer off `buffer`.
pub(super) fn next(buffer: &mut Vec<u8>, noise: &mut Noise) -> Option<Answer> {
    loop {
        noise.skip_until(buffer, |byte| *byte == START);
        let &[_, low, high, status] = buffer.first_chunk()?;
        let length = usize::from(u16::from_le_bytes([low, high]));
        if !(AROUND..=FRAME_BYTES_MAX).contains(&length) {
            noise.skip(&buffer[..1]);
            buffer.drain(..1);
            continue;
        }
        if buffer.len() < length {
            return None;
        }
        let whole: Vec<u8> = buffer.drain(..length).collect();
        let said = whole[4..length - 2].to_vec();
        return Some(if is_whole(&whole) { Ok((status, said)) } else { Err(whole) });
    }
}

/// First and last page; none where there is none.
pub(super) fn range_of(said: &[u8]) -> Option<(u32, u32)> {
    let (first, rest) = said.split_first_chunk()?;
    let range = (u32::from_le_bytes(*first), u32::from_le_bytes(*rest.first_chunk()?));
    (range != (u32::MAX, u32::MAX)).then_some(range)
}

/// The serial number in what the maker wrote, as XML.
pub(super) fn serial_of(page: &[u8]) -> Option<&[u8]> {
    const BEFORE: &[u8] = b"SerialNumber=";
    let at = page.windows(BEFORE.len()).position(|bytes| bytes == BEFORE)?;
    let (quote, rest) = page[at + BEFORE.len()..].split_first()?;
    let end = rest.iter().take(64).position(|byte| byte == quote)?;
    Some(&rest[..end])
}

/// Whether the last two bytes are the checksum of those before.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    bytes.split_last_chunk().is_some_and(|(said, crc)| crc16(said) == u16::from_le_bytes(*crc))
}

/// CRC-16/XMODEM.
pub(super) fn crc16(bytes: &[u8]) -> u16 {
    let shift = |crc: u16| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
    bytes.iter().fold(0, |crc, byte| (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| shift(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tidepool-org/uploader, `lib/crc.js`, and the check value of the algorithm.
    #[test]
    fn checksums_and_frames_are_those_that_were_published() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(&[0x02, 0x06, 0x06, 0x03]), 0xc50d);
        assert_eq!(frame(10, &[]), [0x01, 0x06, 0x00, 0x0a, 0x5e, 0x65]);
        assert_eq!(frame(PAGE_RANGE, &[4]), [0x01, 0x07, 0x00, 0x10, 0x04, 0x8b, 0xb8]);
    }

    #[test]
    fn an_answer_is_found_behind_noise_and_one_that_is_damaged_is_given_back() {
        let mut noise = Noise::default();
        let mut buffer = [&[0x55, 0x01, 0xff, 0xff][..], &frame(ACK, b"said")].concat();
        assert_eq!(next(&mut buffer, &mut noise), Some(Ok((ACK, b"said".to_vec()))));
        assert!(buffer.is_empty());
        let mut damaged = frame(ACK, b"said");
        damaged[5] ^= 1;
        assert_eq!(next(&mut damaged.clone(), &mut noise), Some(Err(damaged)));
        let whole = frame(ACK, b"said");
        assert_eq!(next(&mut whole[..8].to_vec(), &mut noise), None);
    }
}
