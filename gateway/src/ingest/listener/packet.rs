//! From bytes to the few packets a device may send, for both versions of MQTT alike.
//!
//! Where a packet ends and how large it may be is the envelope's part. The bodies are read by the codecs
//! of `mqtt-protocol-core`. Its connection state is not used: it acknowledges and counts by itself what here depends on
//! verdicts, and it does not look at reserved flags.

use bytes::Bytes;
use mqtt_protocol_core::mqtt::ArcPayload;
use mqtt_protocol_core::mqtt::packet::{Property, Qos, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};

use super::forbidden;
use super::limits;

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
    Subscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    Unsubscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    Ping,
    /// `prolongs`: it wants the session to outlive the connection.
    Disconnect {
        with_will: bool,
        prolongs: bool,
    },
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
    #[error("{0}, which is more than anybody needs here")]
    Limit(&'static str),
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
            Self::Limit(_) => DisconnectReasonCode::QuotaExceeded,
        }
    }
}

impl From<MqttError> for PacketError {
    fn from(error: MqttError) -> Self {
        Self::Malformed(error)
    }
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
        DISCONNECT if version == Version::V3 && body.is_empty() => {
            Ok(Packet::Disconnect { with_will: false, prolongs: false })
        }
        DISCONNECT if version == Version::V5 => {
            let packet = whole(body, v5_0::Disconnect::parse)?;
            let with_will = packet.reason_code() == Some(DisconnectReasonCode::DisconnectWithWillMessage);
            let properties = packet.props.as_deref().unwrap_or_default();
            limits::properties(properties)?;
            let prolongs =
                properties.iter().any(|it| matches!(it, Property::SessionExpiryInterval(it) if it.val() != 0));
            Ok(Packet::Disconnect { with_will, prolongs })
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
            limits::properties_of_publish(flags, body)?;
            let (packet, _) = v5_0::Publish::parse(flags, body.into())?;
            limits::properties(&packet.props)?;
            forbidden::of_publish(&packet.props)?;
            (packet.topic_name().to_owned(), packet.qos(), packet.packet_id(), packet.payload().clone())
        }
    };
    let dup = flags & 0b1000 != 0;
    forbidden::topic(&topic)?;
    limits::levels(&topic)?;
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
            limits::properties(&packet.props)?;
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
    limits::filters(&filters)?;
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
            limits::properties(&packet.props)?;
            (packet.packet_id(), filters(packet.entries()))
        }
    };
    nonzero(packet_id)?;
    limits::filters(&filters)?;
    forbidden::filters(&filters)?;
    Ok(Packet::Unsubscribe { packet_id, filters })
}

fn nonzero(packet_id: u16) -> Result<(), PacketError> {
    if packet_id == 0 { Err(PacketError::Protocol("packet id 0")) } else { Ok(()) }
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
pub(super) const PUBLISH: u8 = 3;
const PUBREL: u8 = 6;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
