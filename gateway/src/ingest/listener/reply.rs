//! The packets that go to devices, as bytes for either version of MQTT.

use bytes::{BufMut, BytesMut};
use mqtt_protocol_core::mqtt::result_code::DisconnectReasonCode;
use proto::{DeviceId, Topic};

use super::connect::{Refusal, Terms};
use super::packet::Version;
use super::settings::Settings;
use crate::ingest::{RefusalCode, Verdict};

/// CONNACK for a device that is let in. There is never a session from before.
pub(super) fn accepted(terms: &Terms, device: &DeviceId, settings: &Settings, out: &mut BytesMut) {
    if terms.version == Version::V3 {
        out.put_slice(&[CONNACK, 2, 0, 0]);
        return;
    }
    let mut properties = BytesMut::with_capacity(96);
    properties.put_u8(RECEIVE_MAXIMUM);
    properties.put_u16(settings.receive_max.max(1)); // 0 is a protocol error
    properties.put_slice(&[MAXIMUM_QOS, 1]);
    properties.put_u8(MAXIMUM_PACKET_SIZE);
    properties.put_u32(u32::try_from(settings.packet_bytes_max).unwrap_or(u32::MAX));
    properties.put_slice(&[WILDCARD_SUBSCRIPTIONS, 0, SUBSCRIPTION_IDENTIFIERS, 0, SHARED_SUBSCRIPTIONS, 0]);
    if terms.session_expiry {
        properties.put_u8(SESSION_EXPIRY_INTERVAL);
        properties.put_u32(0);
    }
    if let Some(keep_alive_s) = terms.keep_alive_s_told {
        properties.put_u8(SERVER_KEEP_ALIVE);
        properties.put_u16(keep_alive_s);
    }
    if terms.assigned {
        properties.put_u8(ASSIGNED_CLIENT_IDENTIFIER);
        put_text(device.as_str(), &mut properties);
    }
    let head = [0, 0]; // no session present; success
    out.put_u8(CONNACK);
    put_length(head.len() + length_size(properties.len()) + properties.len(), out);
    out.put_slice(&head);
    put_length(properties.len(), out);
    out.put_slice(&properties);
}

/// CONNACK for a device that is not let in.
pub(super) fn refused(version: Version, refusal: &Refusal, out: &mut BytesMut) {
    let (v3, v5) = refusal.codes();
    match version {
        Version::V3 => out.put_slice(&[CONNACK, 2, 0, v3 as u8]),
        Version::V5 => out.put_slice(&[CONNACK, 3, 0, v5 as u8, 0]),
    }
}

/// PUBACK. Under MQTT 3.1.1 only for what is settled.
pub(super) fn puback(version: Version, packet_id: u16, verdict: Verdict, out: &mut BytesMut) {
    match (version, verdict) {
        (Version::V3, _) | (Version::V5, Verdict::Settled) => {
            out.put_slice(&[PUBACK, 2]);
            out.put_u16(packet_id);
        }
        (Version::V5, Verdict::Refused(code)) => {
            out.put_slice(&[PUBACK, 3]);
            out.put_u16(packet_id);
            out.put_u8(reason(code));
        }
    }
}

/// SUBACK: for each filter in turn, granted at QoS 0 or refused.
pub(super) fn suback(version: Version, packet_id: u16, granted: &[bool], out: &mut BytesMut) {
    let refused = if version == Version::V3 { 0x80 } else { 0x87 }; // failure; not authorized
    put_answers(SUBACK, version, packet_id, granted.iter().map(|granted| if *granted { 0 } else { refused }), out);
}

/// UNSUBACK: for each filter in turn, whether there was such a subscription. MQTT 3.1.1 does not tell.
pub(super) fn unsuback(version: Version, packet_id: u16, existed: &[bool], out: &mut BytesMut) {
    let told = if version == Version::V3 { &[] } else { existed };
    put_answers(UNSUBACK, version, packet_id, told.iter().map(|existed| if *existed { 0 } else { 0x11 }), out);
}

/// PINGRESP.
pub(super) fn pong(out: &mut BytesMut) {
    out.put_slice(&[PINGRESP, 0]);
}

/// DISCONNECT, which only MQTT 5 lets a server send.
pub(super) fn disconnect(version: Version, reason: DisconnectReasonCode, out: &mut BytesMut) {
    if version == Version::V5 {
        out.put_slice(&[DISCONNECT, 1, reason as u8]);
    }
}

/// PUBLISH at QoS 0. Answers whether it fits the `packet_bytes_max` of the device; nothing is written if not.
pub(super) fn publish(
    version: Version,
    topic: &Topic,
    payload: &[u8],
    packet_bytes_max: usize,
    out: &mut BytesMut,
) -> bool {
    let topic = topic.to_string();
    let properties = usize::from(version == Version::V5); // their length, 0
    let length = 2 + topic.len() + properties + payload.len();
    if length > LENGTH_MAX || 1 + length_size(length) + length > packet_bytes_max {
        return false;
    }
    out.put_u8(PUBLISH);
    put_length(length, out);
    put_text(&topic, out);
    out.put_bytes(0, properties);
    out.put_slice(payload);
    true
}

fn put_answers(
    first: u8,
    version: Version,
    packet_id: u16,
    answers: impl ExactSizeIterator<Item = u8>,
    out: &mut BytesMut,
) {
    let properties = usize::from(version == Version::V5); // their length, 0
    out.put_u8(first);
    put_length(2 + properties + answers.len(), out);
    out.put_u16(packet_id);
    out.put_bytes(0, properties);
    out.extend(answers);
}

fn put_text(text: &str, out: &mut BytesMut) {
    out.put_u16(u16::try_from(text.len()).expect("topics and device ids are shorter than 200 bytes"));
    out.put_slice(text.as_bytes());
}

fn put_length(mut length: usize, out: &mut BytesMut) {
    loop {
        let digit = u8::try_from(length % 128).expect("a remainder of 128 fits a byte");
        length /= 128;
        out.put_u8(if length > 0 { digit | 0x80 } else { digit });
        if length == 0 {
            return;
        }
    }
}

fn length_size(length: usize) -> usize {
    match length {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

fn reason(code: RefusalCode) -> u8 {
    match code {
        RefusalCode::ImplementationSpecific => 0x83,
        RefusalCode::NotAuthorized => 0x87,
        RefusalCode::QuotaExceeded => 0x97,
        RefusalCode::PayloadFormatInvalid => 0x99,
    }
}

/// What four bytes of length can say (OASIS MQTT 5.0, section 1.5.5).
const LENGTH_MAX: usize = 268_435_455;

// First bytes (table 2-1) and property identifiers (table 2-4) of OASIS MQTT 5.0.
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const SUBACK: u8 = 0x90;
const UNSUBACK: u8 = 0xB0;
const PINGRESP: u8 = 0xD0;
const DISCONNECT: u8 = 0xE0;
const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
const SERVER_KEEP_ALIVE: u8 = 0x13;
const RECEIVE_MAXIMUM: u8 = 0x21;
const MAXIMUM_QOS: u8 = 0x24;
const MAXIMUM_PACKET_SIZE: u8 = 0x27;
const WILDCARD_SUBSCRIPTIONS: u8 = 0x28;
const SUBSCRIPTION_IDENTIFIERS: u8 = 0x29;
const SHARED_SUBSCRIPTIONS: u8 = 0x2A;

#[cfg(test)]
mod tests {
    use mqtt_protocol_core::mqtt::packet::{Property, v3_1_1, v5_0};
    use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode, PubackReasonCode};
    use proto::Channel;

    use super::*;

    /// The body of the one packet that `write` writes, after its length has been checked.
    fn body(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut out);
        let settings = Settings { control_bytes_max: usize::MAX, packet_bytes_max: usize::MAX, ..Settings::default() };
        let body = super::super::envelope::next(&mut out, &settings, |_, body| Ok(body.to_vec()));
        assert!(out.is_empty(), "nothing left over");
        body.unwrap().expect("a whole packet")
    }

    fn terms(version: Version) -> Terms {
        Terms {
            version,
            will: None,
            packet_bytes_max: 100,
            silence_max: std::time::Duration::ZERO,
            keep_alive_s_told: Some(9),
            assigned: true,
            session_expiry: true,
        }
    }

    #[test]
    fn another_codec_reads_our_connacks() {
        let device: DeviceId = "x".repeat(63).parse().unwrap();
        let settings = Settings::default();
        let five = body(|out| accepted(&terms(Version::V5), &device, &settings, out));
        let (five, _) = v5_0::Connack::parse(&five).unwrap();
        assert_eq!((five.reason_code(), five.session_present()), (ConnectReasonCode::Success, false));
        let has = |wanted: fn(&Property) -> bool| five.props.iter().any(wanted);
        assert!(has(|it| matches!(it, Property::ReceiveMaximum(it) if it.val() == 64)));
        assert!(has(|it| matches!(it, Property::MaximumPacketSize(it) if it.val() == 130 * 1024)));
        assert!(has(|it| matches!(it, Property::MaximumQos(it) if it.val() == 1)));
        assert!(has(|it| matches!(it, Property::ServerKeepAlive(it) if it.val() == 9)));
        assert!(has(|it| matches!(it, Property::SessionExpiryInterval(it) if it.val() == 0)));
        assert!(has(|it| matches!(it, Property::AssignedClientIdentifier(it) if it.val().len() == 63)));
        let three = body(|out| accepted(&terms(Version::V3), &device, &settings, out));
        assert_eq!(v3_1_1::Connack::parse(&three).unwrap().0.return_code(), ConnectReturnCode::Accepted);
        let busy = body(|out| refused(Version::V5, &Refusal::Busy, out));
        assert_eq!(v5_0::Connack::parse(&busy).unwrap().0.reason_code(), ConnectReasonCode::ServerBusy);
        let busy = body(|out| refused(Version::V3, &Refusal::Busy, out));
        assert_eq!(v3_1_1::Connack::parse(&busy).unwrap().0.return_code(), ConnectReturnCode::ServerUnavailable);
    }

    #[test]
    fn another_codec_reads_our_pubacks() {
        let quota = Verdict::Refused(RefusalCode::QuotaExceeded);
        let refused = body(|out| puback(Version::V5, 0x1234, quota, out));
        let (refused, _) = v5_0::Puback::parse(&refused).unwrap();
        assert_eq!((refused.packet_id(), refused.reason_code()), (0x1234, Some(PubackReasonCode::QuotaExceeded)));
        let settled = body(|out| puback(Version::V3, 0x1234, Verdict::Settled, out));
        assert_eq!(v3_1_1::Puback::parse(&settled).unwrap().0.packet_id(), 0x1234);
    }

    #[test]
    fn another_codec_reads_our_publishes_of_every_size() {
        let topic = Topic::new("meter-7".parse().unwrap(), Channel::Receipt);
        for size in [0, 1, 90, 16_300, 2_097_200] {
            let payload = vec![7; size];
            let five = body(|out| assert!(publish(Version::V5, &topic, &payload, usize::MAX, out)));
            let (five, _) = v5_0::Publish::parse(0, five.into()).unwrap();
            assert_eq!((five.topic_name(), five.payload().as_slice()), ("trib/1/meter-7/receipt", &payload[..]));
            let three = body(|out| assert!(publish(Version::V3, &topic, &payload, usize::MAX, out)));
            assert_eq!(v3_1_1::Publish::parse(0, three.into()).unwrap().0.payload().as_slice(), payload);
        }
    }

    #[test]
    fn a_publish_that_a_device_does_not_take_is_not_written() {
        let topic = Topic::new("meter-7".parse().unwrap(), Channel::Receipt);
        for size in [10, 200, 20_000, 2_100_000] {
            let payload = vec![7; size];
            let mut out = BytesMut::new();
            assert!(publish(Version::V5, &topic, &payload, usize::MAX, &mut out));
            let whole = out.split().len();
            assert!(!publish(Version::V5, &topic, &payload, whole - 1, &mut out) && out.is_empty());
            assert!(publish(Version::V5, &topic, &payload, whole, &mut out) && out.len() == whole);
        }
    }
}
