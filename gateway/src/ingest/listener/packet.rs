//! From bytes to the few packets a device may send, for both versions of MQTT alike.
//!
//! The size of a packet is judged by its fixed header, before its body is waited for. The bodies are read by the codecs
//! of `mqtt-protocol-core`. Its connection state is not used: it acknowledges and counts by itself what here depends on
//! verdicts, and it does not look at reserved flags.

use bytes::{Buf, Bytes, BytesMut};
use mqtt_protocol_core::mqtt::ArcPayload;
use mqtt_protocol_core::mqtt::packet::{Property, Qos, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};

use super::forbidden;
use super::settings::Settings;

/// Which MQTT a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V3,
    V5,
}

/// What a connected device may send.
#[derive(Debug)]
pub(super) enum Packet {
    Publish(Publish),
    Subscribe { packet_id: u16, filters: Vec<String> },
    Unsubscribe { packet_id: u16, filters: Vec<String> },
    Ping,
    Disconnect { with_will: bool },
}

/// A PUBLISH at QoS 0 (without packet id) or 1.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) topic: String,
    pub(super) packet_id: Option<u16>,
    pub(super) dup: bool,
    pub(super) retain: bool,
    pub(super) payload: Bytes,
}

/// Bytes that are no packet, or not one for this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PacketError {
    #[error("packet of {bytes} bytes where at most {bytes_max} are taken")]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("malformed packet ({0})")]
    Malformed(MqttError),
    #[error("{0}")]
    Protocol(&'static str),
    #[error("qos 2 is not offered; publish at qos 1, every batch has its own identity")]
    Qos2,
    #[error("a topic with a wildcard, which only filters may have")]
    Wildcard,
    #[error("topic aliases are not offered")]
    TopicAlias,
    #[error("subscription identifiers are not offered")]
    SubscriptionIdentifier,
}

impl PacketError {
    /// How MQTT 5 tells it (OASIS MQTT 5.0, section 3.14.2.1).
    pub(super) fn reason(self) -> DisconnectReasonCode {
        match self {
            Self::TooLarge { .. } => DisconnectReasonCode::PacketTooLarge,
            Self::Malformed(_) => DisconnectReasonCode::MalformedPacket,
            Self::Protocol(_) => DisconnectReasonCode::ProtocolError,
            Self::Qos2 => DisconnectReasonCode::QosNotSupported,
            Self::Wildcard => DisconnectReasonCode::TopicNameInvalid,
            Self::TopicAlias => DisconnectReasonCode::TopicAliasInvalid,
            Self::SubscriptionIdentifier => DisconnectReasonCode::SubscriptionIdentifiersNotSupported,
        }
    }
}

impl From<MqttError> for PacketError {
    fn from(error: MqttError) -> Self {
        Self::Malformed(error)
    }
}

/// Takes the next whole packet off `buffer` and lets `parse` read it: its first byte, and its body.
///
/// Answers `None` while the packet is not complete, and fails on its size as soon as that is known.
pub(super) fn next<T>(
    buffer: &mut BytesMut,
    settings: &Settings,
    parse: impl FnOnce(u8, &[u8]) -> Result<T, PacketError>,
) -> Result<Option<T>, PacketError> {
    let Some(&first) = buffer.first() else { return Ok(None) };
    let Some((length, length_bytes)) = remaining_length(buffer.get(1..).unwrap_or_default())? else { return Ok(None) };
    let (start, end) = (1 + length_bytes, 1 + length_bytes + length);
    let bytes_max = if first >> 4 == PUBLISH { settings.packet_bytes_max } else { settings.control_bytes_max };
    if end > bytes_max {
        return Err(PacketError::TooLarge { bytes: end, bytes_max });
    }
    let Some(body) = buffer.get(start..end) else { return Ok(None) };
    let parsed = parse(first, body)?;
    buffer.advance(end);
    Ok(Some(parsed))
}

/// Reads any packet but a CONNECT.
pub(super) fn parse(version: Version, first: u8, body: &[u8]) -> Result<Packet, PacketError> {
    let kind = first >> 4;
    if kind == PUBLISH {
        return publish(version, first & 0x0F, body).map(Packet::Publish);
    }
    let flags = if [PUBREL, SUBSCRIBE, UNSUBSCRIBE].contains(&kind) { 0b0010 } else { 0 };
    if first & 0x0F != flags {
        return Err(PacketError::Malformed(MqttError::MalformedPacket)); // MQTT-2.2.2-2
    }
    match kind {
        SUBSCRIBE => subscribe(version, body),
        UNSUBSCRIBE => unsubscribe(version, body),
        PINGREQ if body.is_empty() => Ok(Packet::Ping),
        DISCONNECT if version == Version::V3 && body.is_empty() => Ok(Packet::Disconnect { with_will: false }),
        DISCONNECT if version == Version::V5 => {
            let packet = whole(body, v5_0::Disconnect::parse)?;
            let with_will = packet.reason_code() == Some(DisconnectReasonCode::DisconnectWithWillMessage);
            Ok(Packet::Disconnect { with_will })
        }
        PINGREQ | DISCONNECT => Err(PacketError::Malformed(MqttError::MalformedPacket)),
        CONNECT => Err(PacketError::Protocol("a second CONNECT")),
        _ => Err(PacketError::Protocol("a packet that no client sends here")),
    }
}

/// All of `body` must be the packet's: bytes left over are malformed.
pub(super) fn whole<T>(
    body: &[u8],
    parse: impl FnOnce(&[u8]) -> Result<(T, usize), MqttError>,
) -> Result<T, PacketError> {
    match parse(body)? {
        (packet, used) if used == body.len() => Ok(packet),
        _ => Err(PacketError::Malformed(MqttError::MalformedPacket)),
    }
}

fn publish(version: Version, flags: u8, body: &[u8]) -> Result<Publish, PacketError> {
    let (topic, qos, packet_id, payload) = match version {
        Version::V3 => {
            let (packet, _) = v3_1_1::Publish::parse(flags, body.into())?;
            (packet.topic_name().to_owned(), packet.qos(), packet.packet_id(), packet.payload().clone())
        }
        Version::V5 => {
            let (packet, _) = v5_0::Publish::parse(flags, body.into())?;
            forbidden::of_publish(&packet.props)?;
            let packet_id_bytes = if packet.qos() == Qos::AtMostOnce { 0 } else { 2 };
            if body.len() <= 2 + packet.topic_name().len() + packet_id_bytes {
                return Err(PacketError::Malformed(MqttError::MalformedPacket)); // not even their length
            }
            (packet.topic_name().to_owned(), packet.qos(), packet.packet_id(), packet.payload().clone())
        }
    };
    let dup = flags & 0b1000 != 0;
    forbidden::topic(&topic)?;
    match qos {
        Qos::ExactlyOnce => return Err(PacketError::Qos2),
        Qos::AtMostOnce if dup => return Err(PacketError::Malformed(MqttError::MalformedPacket)), // MQTT-3.3.1-2
        Qos::AtLeastOnce if packet_id == Some(0) => return Err(PacketError::Protocol("packet id 0")), // MQTT-2.3.1-1
        _ => {}
    }
    Ok(Publish { topic, packet_id, dup, retain: flags & 1 != 0, payload: content(payload) })
}

fn subscribe(version: Version, body: &[u8]) -> Result<Packet, PacketError> {
    let filters = |entries: &[mqtt_protocol_core::mqtt::packet::SubEntry]| -> Vec<String> {
        entries.iter().map(|it| it.topic_filter().to_owned()).collect()
    };
    let (packet_id, filters) = match version {
        Version::V3 => {
            let packet = whole(body, v3_1_1::Subscribe::parse)?;
            if forbidden::has_reserved_options(body) {
                return Err(PacketError::Malformed(MqttError::MalformedPacket));
            }
            (packet.packet_id(), filters(packet.entries()))
        }
        Version::V5 => {
            let packet = whole(body, v5_0::Subscribe::parse)?;
            if packet.props.iter().any(|it| matches!(it, Property::SubscriptionIdentifier(_))) {
                return Err(PacketError::SubscriptionIdentifier);
            }
            if packet.entries().iter().any(|it| it.sub_opts().nl() && it.topic_filter().starts_with("$share/")) {
                return Err(PacketError::Protocol("a shared subscription that is not to hear its own")); // MQTT-3.8.3-4
            }
            (packet.packet_id(), filters(packet.entries()))
        }
    };
    nonzero(packet_id)?;
    forbidden::filters(&filters)?;
    Ok(Packet::Subscribe { packet_id, filters })
}

fn unsubscribe(version: Version, body: &[u8]) -> Result<Packet, PacketError> {
    let filters = |entries: &[mqtt_protocol_core::mqtt::packet::MqttString]| -> Vec<String> {
        entries.iter().map(|it| it.as_str().to_owned()).collect()
    };
    let (packet_id, filters) = match version {
        Version::V3 => {
            let packet = whole(body, v3_1_1::Unsubscribe::parse)?;
            (packet.packet_id(), filters(packet.entries()))
        }
        Version::V5 => {
            let packet = whole(body, v5_0::Unsubscribe::parse)?;
            (packet.packet_id(), filters(packet.entries()))
        }
    };
    nonzero(packet_id)?;
    forbidden::filters(&filters)?;
    Ok(Packet::Unsubscribe { packet_id, filters })
}

fn nonzero(packet_id: u16) -> Result<(), PacketError> {
    if packet_id == 0 { Err(PacketError::Protocol("packet id 0")) } else { Ok(()) }
}

/// A variable byte integer: its value and how many bytes it takes, or `None` while its end is missing.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, PacketError> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((value, place + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(PacketError::Malformed(MqttError::MalformedPacket)) }
}

/// The payload without another copy, unless a copy is smaller than what it would keep alive.
fn content(payload: ArcPayload) -> Bytes {
    struct Owner(ArcPayload);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0.as_slice()
        }
    }
    if payload.len() < COPY_BYTES_MAX {
        Bytes::copy_from_slice(payload.as_slice())
    } else {
        Bytes::from_owner(Owner(payload))
    }
}

/// Below this, properties could outweigh the payload that keeps them alive, and a copy costs less than an owner.
const COPY_BYTES_MAX: usize = 4 * 1024;

pub(super) const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBREL: u8 = 6;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[test]
    fn large_payloads_and_small_ones_are_whole() {
        for size in [0, 1, COPY_BYTES_MAX - 1, COPY_BYTES_MAX, 128 * 1024] {
            let payload: Vec<u8> = (0..=250).cycle().take(size).collect();
            let body = [&[0, 1, b'a', 0, 9, 0][..], &payload].concat();
            let packet = parse(Version::V5, 0x3B, &body).unwrap();
            let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
            assert_eq!((publish.packet_id, publish.dup, publish.retain), (Some(9), true, true));
            assert_eq!(publish.payload, payload);
        }
    }

    proptest! {
        #[test]
        fn any_body_is_a_packet_or_an_error(first: u8, body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(Version::V3, first, &body);
            let _ = parse(Version::V5, first, &body);
        }
    }
}
