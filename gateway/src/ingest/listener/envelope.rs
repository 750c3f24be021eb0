//! Where a packet begins and ends. Its size is judged by its fixed header, before its body is waited for.

use bytes::{Buf, BytesMut};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::packet::{PUBLISH, PacketError};
use super::settings::Settings;

/// Takes the next whole packet off `buffer` and lets `parse` read it: its first byte, and its body.
///
/// Answers `None` while the packet is not complete, and fails on its size as soon as that is known.
pub(super) fn next<T>(
    buffer: &mut BytesMut,
    settings: &Settings,
    parse: impl FnOnce(u8, &[u8]) -> Result<T, PacketError>,
) -> Result<Option<T>, PacketError> {
    let Some(Head { first, start, end }) = head(buffer, settings)? else { return Ok(None) };
    let parsed = parse(first, buffer.get(start..end).unwrap_or_default())?;
    buffer.advance(end);
    Ok(Some(parsed))
}

/// Where a whole packet is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    first: u8,
    start: usize,
    /// How many bytes it has.
    pub(super) end: usize,
}

impl Head {
    /// Whether it is a PUBLISH at QoS 1, which MQTT 5 can refuse with a reason and go on.
    pub(super) fn is_refusable(self) -> bool {
        self.first >> 4 == PUBLISH && self.first & 0b0110 == 0b0010
    }
}

/// The next packet in `buffer` once it is whole. Fails on its size as soon as that is known.
pub(super) fn head(buffer: &[u8], settings: &Settings) -> Result<Option<Head>, PacketError> {
    let Some(&first) = buffer.first() else { return Ok(None) };
    let Some((length, length_bytes)) = variable(buffer.get(1..).unwrap_or_default())? else { return Ok(None) };
    let (start, end) = (1 + length_bytes, 1 + length_bytes + length);
    let bytes_max = if first >> 4 == PUBLISH { settings.packet_bytes_max } else { settings.control_bytes_max };
    if end > bytes_max {
        return Err(PacketError::TooLarge { bytes: end, bytes_max });
    }
    Ok((buffer.len() >= end).then_some(Head { first, start, end }))
}

/// A variable byte integer: its value and how many bytes it takes, or `None` while its end is missing.
pub(super) fn variable(bytes: &[u8]) -> Result<Option<(usize, usize)>, PacketError> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((value, place + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(PacketError::Malformed(MqttError::MalformedPacket)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(publish: usize, control: usize) -> Settings {
        Settings { packet_bytes_max: publish, control_bytes_max: control, ..Settings::default() }
    }

    fn first_and_body(first: u8, body: &[u8]) -> Result<(u8, Vec<u8>), PacketError> {
        Ok((first, body.to_vec()))
    }

    #[test]
    fn packets_come_off_one_by_one_however_the_bytes_are_cut() {
        let stream = [&[0xC0, 0][..], &[0x30, 0x83, 0x01], &[7; 131], &[0xE0, 0]].concat();
        let mut buffer = BytesMut::new();
        let mut packets = Vec::new();
        for byte in stream {
            buffer.extend([byte]);
            packets.extend(next(&mut buffer, &Settings::default(), first_and_body).unwrap());
        }
        assert_eq!(packets, [(0xC0, vec![]), (0x30, vec![7; 131]), (0xE0, vec![])]);
    }

    #[test]
    fn a_packet_is_as_large_as_allowed_and_no_larger() {
        let settings = sizes(200, 100);
        // 200 bytes are a head of 3 and 197 (0xC5 0x01) more; 100 are a head of 2 and 98 more.
        for (head, bytes_max) in [(&[0x30, 0xC5, 0x01][..], 200), (&[0x82, 98], 100)] {
            let mut buffer = BytesMut::from(head);
            assert_eq!(next(&mut buffer, &settings, first_and_body), Ok(None));
            buffer[1] += 1;
            let refused = PacketError::TooLarge { bytes: bytes_max + 1, bytes_max };
            assert_eq!(next(&mut buffer, &settings, first_and_body), Err(refused));
        }
    }

    #[test]
    fn a_length_of_five_bytes_is_malformed() {
        let mut buffer = BytesMut::from(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF][..]);
        assert!(matches!(next(&mut buffer, &Settings::default(), first_and_body), Err(PacketError::Malformed(_))));
    }
}
