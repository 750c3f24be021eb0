//! What the codec reads and the two standards forbid.
//!
//! Section numbers and statements are those of OASIS MQTT 5.0, where nothing else is said.

use mqtt_protocol_core::mqtt::packet::Property;
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::packet::PacketError;

/// Whether the packet in front says its length in more bytes than that needs, which MQTT 5 forbids (MQTT-1.5.5-1).
pub(super) fn is_padded(buffer: &[u8]) -> bool {
    let length = buffer.get(1..).unwrap_or_default();
    let end = length.iter().take(4).position(|byte| byte & 0x80 == 0);
    end.is_some_and(|end| end > 0 && length.get(end) == Some(&0))
}

/// What is no topic to publish to; whether it is one's own is another question.
pub(super) fn topic(topic: &str) -> Result<(), PacketError> {
    text(topic)?;
    if topic.is_empty() {
        return Err(PacketError::Protocol("an empty topic")); // MQTT-4.7.3-1
    }
    if topic.contains(['+', '#']) {
        return Err(PacketError::Wildcard); // MQTT-3.3.2-2
    }
    Ok(())
}

/// What a client may not say of its publish, though the codec reads it.
pub(super) fn of_publish(properties: &[Property]) -> Result<(), PacketError> {
    for property in properties {
        match property {
            Property::TopicAlias(_) => return Err(PacketError::TopicAlias), // none is announced in CONNACK
            Property::SubscriptionIdentifier(_) => {
                return Err(PacketError::Protocol("a subscription identifier from a client")); // MQTT-3.3.4-6
            }
            Property::ResponseTopic(topic) if topic.val().contains(['+', '#']) => {
                return Err(PacketError::Protocol("a response topic with a wildcard")); // MQTT-3.3.2-14
            }
            _ => {}
        }
    }
    Ok(())
}

/// No text has a zero character in it (MQTT-1.5.4-2; in MQTT 3.1.1 MQTT-1.5.3-2). The codec sees to the rest of UTF-8.
pub(super) fn text(text: &str) -> Result<(), PacketError> {
    if text.contains('\0') { Err(PacketError::Malformed(MqttError::MalformedPacket)) } else { Ok(()) }
}

/// What is no filter at all; whether it is granted is another question.
pub(super) fn filters(all: &[String]) -> Result<(), PacketError> {
    all.iter().try_for_each(|filter| text(filter))?;
    if all.iter().any(String::is_empty) {
        return Err(PacketError::Protocol("an empty filter")); // MQTT-4.7.3-1
    }
    Ok(())
}

/// Whether an MQTT 3.1.1 SUBSCRIBE that the codec has read asks for what is reserved (MQTT-3.8.3-4): beside each filter
/// there is nothing but a QoS.
pub(super) fn has_reserved_options(body: &[u8]) -> bool {
    let mut rest = body.get(2..).unwrap_or_default();
    while let [high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if tail.get(length).is_some_and(|options| *options > 2) {
            return true;
        }
        rest = tail.get(length + 1..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::packet::{Version, parse};
    use super::*;

    #[test]
    fn a_length_in_more_bytes_than_it_needs_is_padded() {
        for whole in [&[0xC0, 0][..], &[0x30, 0x80, 1], &[0x30, 0xFF, 0xFF, 0x7F], &[0x30, 0x80], &[0x30], &[]] {
            assert!(!is_padded(whole), "{whole:02x?}");
        }
        for padded in [&[0xC0, 0x80, 0][..], &[0x30, 0x81, 0x80, 0], &[0x30, 0x80, 0x80, 0x80, 0, 7]] {
            assert!(is_padded(padded), "{padded:02x?}");
        }
    }

    #[test]
    fn a_topic_that_is_empty_or_a_filter_is_refused() {
        for version in [Version::V3, Version::V5] {
            let publish = |topic: &[u8]| {
                let length = [0, u8::try_from(topic.len()).unwrap()];
                parse(version, 0x30, &[&length[..], topic, &[0]].concat()).map(drop)
            };
            assert_eq!(publish(b"a/b"), Ok(()));
            assert_eq!(publish(b""), Err(PacketError::Protocol("an empty topic")));
            for filter in ["#", "a/+", "a+", "a/#"] {
                assert_eq!(publish(filter.as_bytes()), Err(PacketError::Wildcard), "{filter}");
            }
        }
    }

    #[test]
    fn what_the_codec_reads_and_the_standard_forbids_is_refused() {
        let subscribe = |version, body: &[u8]| parse(version, 0x82, body).map(drop);
        let malformed = Err(PacketError::Malformed(MqttError::MalformedPacket));
        assert_eq!(subscribe(Version::V3, b"\0\x09\0\x01a\x01\0\x01b\x02"), Ok(()));
        assert_eq!(subscribe(Version::V3, b"\0\x09\0\x01a\x01\0\x01b\x04"), malformed);
        assert_eq!(subscribe(Version::V3, b"\0\x09\0\x03a\0b\0"), malformed);
        assert_eq!(subscribe(Version::V3, b"\0\x09\0\0\0"), Err(PacketError::Protocol("an empty filter")));
        let shared = b"\0\x09\0\0\x0a$share/g/a\x04";
        assert!(matches!(subscribe(Version::V5, shared), Err(PacketError::Protocol(_))));
        assert_eq!(parse(Version::V5, 0x30, b"\0\x01a").map(drop), malformed, "without properties");
        for properties in [&b"\x02\x0b\x01"[..], b"\x06\x08\0\x03a/#"] {
            let body = [&b"\0\x01a"[..], properties].concat();
            assert!(matches!(parse(Version::V5, 0x30, &body), Err(PacketError::Protocol(_))), "{body:02x?}");
        }
    }
}
