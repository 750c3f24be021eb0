//! How much a packet may have of what MQTT itself hardly bounds: levels of a topic, filters, properties.
//!
//! Each is far beyond what a device needs, and ends the connection with MQTT 5's "quota exceeded" (0x97).

use mqtt_protocol_core::mqtt::packet::Property;
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::envelope::variable;
use super::packet::PacketError;

/// Levels of a topic or filter. Ours have five at most.
const LEVELS_MAX: usize = 16;
/// Filters of one SUBSCRIBE or UNSUBSCRIBE. A device has four channels to hear.
const FILTERS_MAX: usize = 32;
/// Properties of one packet. There are 27 kinds, of which one may be there more than once.
const PROPERTIES_MAX: usize = 64;
/// Bytes of the properties of a PUBLISH. Other packets are bounded as a whole.
const PROPERTIES_BYTES_MAX: usize = 4 * 1024;

/// Fails where a topic or filter has too many levels.
pub(super) fn levels(topic: &str) -> Result<(), PacketError> {
    let levels = 1 + topic.bytes().filter(|byte| *byte == b'/').take(LEVELS_MAX).count();
    if levels > LEVELS_MAX { Err(PacketError::Limit("a topic of more than 16 levels")) } else { Ok(()) }
}

/// Fails where there are too many filters, or one has too many levels.
pub(super) fn filters(all: &[String]) -> Result<(), PacketError> {
    if all.len() > FILTERS_MAX {
        return Err(PacketError::Limit("more than 32 filters at once"));
    }
    all.iter().try_for_each(|filter| levels(filter))
}

/// Fails where there are too many properties.
pub(super) fn properties(all: &[Property]) -> Result<(), PacketError> {
    if all.len() > PROPERTIES_MAX { Err(PacketError::Limit("more than 64 properties")) } else { Ok(()) }
}

/// Fails where an MQTT 5 PUBLISH says that its properties are too large, before they are read: read, each takes many
/// times what it took on the wire. `flags` are those of its first byte. Answers how many bytes the properties take.
pub(super) fn properties_of_publish(flags: u8, body: &[u8]) -> Result<usize, PacketError> {
    let malformed = PacketError::Malformed(MqttError::MalformedPacket);
    let [high, low, ..] = body else { return Err(malformed) };
    let packet_id_bytes = if flags & 0b0110 == 0 { 0 } else { 2 };
    let start = 2 + usize::from(u16::from_be_bytes([*high, *low])) + packet_id_bytes;
    let (bytes, _) = variable(body.get(start..).unwrap_or_default())?.ok_or(malformed)?;
    if bytes > PROPERTIES_BYTES_MAX { Err(PacketError::Limit("properties of more than 4 KiB")) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::super::packet::{Version, parse};
    use super::*;

    fn publish(topic: &str, properties: &[u8]) -> Result<(), PacketError> {
        let length = u16::try_from(topic.len()).unwrap().to_be_bytes();
        let mut body = [&length[..], topic.as_bytes(), &[0, 9]].concat();
        let size = properties.len();
        if size < 128 {
            body.push(u8::try_from(size).unwrap());
        } else {
            body.extend([u8::try_from(size % 128).unwrap() | 0x80, u8::try_from(size / 128).unwrap()]);
        }
        body.extend(properties);
        parse(Version::V5, 0x32, &body).map(drop)
    }

    fn is_limit(result: Result<(), PacketError>) -> bool {
        matches!(result, Err(PacketError::Limit(_)))
    }

    #[test]
    fn a_topic_has_so_many_levels_and_no_more() {
        let deep = |levels: usize| vec!["a"; levels].join("/");
        assert_eq!(publish(&deep(LEVELS_MAX), &[]), Ok(()));
        assert!(is_limit(publish(&deep(LEVELS_MAX + 1), &[])));
        assert!(is_limit(publish(&"/".repeat(65_535), &[])));
    }

    #[test]
    fn a_packet_has_so_many_properties_and_no_more() {
        let user = |count: usize| b"\x26\0\x01k\0\x01v".repeat(count);
        assert_eq!(publish("a", &user(PROPERTIES_MAX)), Ok(()));
        assert!(is_limit(publish("a", &user(PROPERTIES_MAX + 1))));
        let large = |bytes: u16| [&b"\x26\0\x01k"[..], &bytes.to_be_bytes(), &vec![b'v'; bytes.into()]].concat();
        let most = u16::try_from(PROPERTIES_BYTES_MAX).unwrap() - 6;
        assert_eq!(publish("a", &large(most)), Ok(()));
        assert!(is_limit(publish("a", &large(most + 1))));
    }

    #[test]
    fn a_subscription_has_so_many_filters_and_no_more() {
        for (first, options) in [(0x82, &[0][..]), (0xA2, &[])] {
            for (version, none) in [(Version::V3, &[][..]), (Version::V5, &[0])] {
                let of = |count| {
                    parse(version, first, &[&[0, 9], none, &[&b"\0\x01a"[..], options].concat().repeat(count)].concat())
                };
                assert!(of(FILTERS_MAX).is_ok());
                assert!(is_limit(of(FILTERS_MAX + 1).map(drop)));
            }
        }
    }
}
