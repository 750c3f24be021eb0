//! CONNECT: reading it, and judging whether this device may come in, and on what terms.

use std::time::Duration;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{Property, Qos, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode, MqttError};
use proto::DeviceId;
use proto::enrol::{CLAIM_PREFIX, is_claim};

use super::forbidden;
use super::limits;
use super::packet::{CONNECT, PacketError, Version, whole};
use super::rights;
use super::settings::Settings;

/// Characters behind a claim's prefix, so that two sessions do not meet under one name.
const CLAIM_ID_MIN: usize = 8;

/// What a client asks for. User name and password are not kept: the certificate says who it is.
#[derive(Debug)]
pub(super) struct Connect {
    pub(super) version: Version,
    client_id: String,
    clean: bool,
    keep_alive_s: u16,
    will: Option<Will>,
    packet_bytes_max: usize,
    session_expiry: bool,
    authentication: bool,
}

#[derive(Debug)]
struct Will {
    topic: String,
    qos: Qos,
    payload: Bytes,
}

/// The terms on which a device is let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) version: Version,
    /// The device's status, published for it when it ends without saying so.
    pub(super) will: Option<Bytes>,
    /// The largest packet it takes.
    pub(super) packet_bytes_max: usize,
    /// How long it may be silent: one and a half times the keep alive (MQTT 3.1.1, section 3.1.2.10).
    pub(super) silence_max: Duration,
    /// The keep alive it is told to keep instead of its own, in seconds. MQTT 5 only.
    pub(super) keep_alive_s_told: Option<u16>,
    /// It named no client id and is given its device id. MQTT 5 is told so.
    pub(super) assigned: bool,
    /// It asked for a session that outlives the connection and is told that there is none. MQTT 5 only.
    pub(super) session_expiry: bool,
}

/// Why a device is not let in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("its certificate names no device: {0}")]
    Identity(String),
    #[error("its certificate has been revoked")]
    Revoked,
    #[error(
        "its certificate has expired: it may ask for the next one as `claim-` and 8 or more of a-z, 0-9 and -, no more"
    )]
    Expired,
    #[error("protocol version {0} is not spoken here; use MQTT 3.1.1 or 5")]
    Version(u8),
    #[error("a claim's client id must be `claim-` and 8 or more of a-z, 0-9 and -")]
    ClaimId,
    #[error("there are too many who ask for certificates at once; it should try again")]
    Crowded,
    #[error("its client id must be `{0}`, the device its certificate names (mosquitto_pub: -i {0})")]
    ClientId(DeviceId),
    #[error("its last will is not on trib/1/{0}/status, the only topic it may have")]
    Will(DeviceId),
    #[error("its last will is at qos 2; use qos 0 or 1")]
    WillQos,
    #[error("it asks for authentication beyond its certificate")]
    Authentication,
    #[error("its previous connection has not ended yet; it should try again")]
    Busy,
    #[error("another connection with its certificate took its place a moment ago, and keeps it for a minute")]
    Contested,
}

impl Refusal {
    /// How MQTT 3.1.1 and MQTT 5 tell it.
    pub(super) fn codes(&self) -> (ConnectReturnCode, ConnectReasonCode) {
        use ConnectReasonCode as V5;
        use ConnectReturnCode as V3;
        match self {
            Self::Identity(_) | Self::Revoked | Self::Expired | Self::Will(_) => (V3::NotAuthorized, V5::NotAuthorized),
            Self::Version(_) => (V3::UnacceptableProtocolVersion, V5::UnsupportedProtocolVersion),
            Self::ClientId(_) | Self::ClaimId => (V3::IdentifierRejected, V5::ClientIdentifierNotValid),
            Self::WillQos => (V3::NotAuthorized, V5::QosNotSupported),
            Self::Authentication => (V3::NotAuthorized, V5::BadAuthenticationMethod),
            Self::Busy | Self::Contested | Self::Crowded => (V3::ServerUnavailable, V5::ServerBusy),
        }
    }
}

/// A first packet as read: a CONNECT, or one of a version that nobody here speaks.
#[derive(Debug)]
pub(super) enum First {
    Connect(Box<Connect>),
    OtherVersion(u8),
}

/// Reads a first packet, which must be a CONNECT.
pub(super) fn parse(first: u8, body: &[u8]) -> Result<First, PacketError> {
    if first >> 4 != CONNECT {
        return Err(PacketError::Protocol("the first packet is not CONNECT")); // MQTT-3.1.0-1
    }
    // MQTT 3.1 calls itself MQIsdp.
    let (name, version, flags) = match body {
        [0, 4, b'M', b'Q', b'T', b'T', version, flags, ..] => (true, *version, *flags),
        [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', version, flags, ..] => (false, *version, *flags),
        _ => return Err(PacketError::Protocol("the first packet is not MQTT")),
    };
    let (will_flags, will_qos) = (flags & 0b11_1000, flags >> 3 & 0b11);
    let is_will_odd = will_qos == 3 || (flags & 0b100 == 0 && will_flags != 0);
    if first & 0x0F != 0 || flags & 1 != 0 || is_will_odd {
        // MQTT-2.2.2-2, MQTT-3.1.2-3, and of the will MQTT-3.1.2-11 to 3.1.2-15 (MQTT 3.1.1)
        return Err(PacketError::Malformed(MqttError::MalformedPacket));
    }
    let connect = match (name, version) {
        (true, 4) => {
            let packet = whole(body, v3_1_1::Connect::parse)?;
            forbidden::text(packet.user_name().unwrap_or_default())?;
            from_v3(&packet)
        }
        (true, 5) => {
            let packet = whole(body, v5_0::Connect::parse)?;
            forbidden::text(packet.user_name().unwrap_or_default())?;
            let has = |wanted: fn(&Property) -> bool| packet.props.iter().any(wanted);
            limits::properties(&packet.props)?;
            limits::properties(&packet.will_props)?;
            let has_method = has(|it| matches!(it, Property::AuthenticationMethod(_)));
            if !has_method && has(|it| matches!(it, Property::AuthenticationData(_))) {
                return Err(PacketError::Protocol("authentication data without a method")); // section 3.1.2.11.10
            }
            from_v5(&packet)
        }
        _ => return Ok(First::OtherVersion(version)),
    };
    forbidden::text(&connect.client_id)?;
    connect.will.iter().try_for_each(|will| forbidden::text(&will.topic))?;
    Ok(First::Connect(Box::new(connect)))
}

fn from_v3(packet: &v3_1_1::Connect) -> Connect {
    Connect {
        version: Version::V3,
        client_id: packet.client_id().to_owned(),
        clean: packet.clean_session(),
        keep_alive_s: packet.keep_alive(),
        will: will(packet.will_topic(), packet.will_qos(), packet.will_payload()),
        packet_bytes_max: usize::MAX,
        session_expiry: false,
        authentication: false,
    }
}

fn from_v5(packet: &v5_0::Connect) -> Connect {
    let mut connect = Connect {
        version: Version::V5,
        client_id: packet.client_id().to_owned(),
        clean: true, // an empty client id is always allowed in MQTT 5
        keep_alive_s: packet.keep_alive(),
        will: will(packet.will_topic(), packet.will_qos(), packet.will_payload()),
        packet_bytes_max: usize::MAX,
        session_expiry: false,
        authentication: false,
    };
    for property in &packet.props {
        match property {
            Property::MaximumPacketSize(it) => connect.packet_bytes_max = it.val().try_into().unwrap_or(usize::MAX),
            Property::SessionExpiryInterval(it) => connect.session_expiry = it.val() != 0,
            Property::AuthenticationMethod(_) => connect.authentication = true,
            _ => {}
        }
    }
    connect
}

fn will(topic: Option<&str>, qos: Qos, payload: Option<&[u8]>) -> Option<Will> {
    let topic = topic?.to_owned();
    Some(Will { topic, qos, payload: Bytes::copy_from_slice(payload.unwrap_or_default()) })
}

impl Connect {
    /// The name of a claim's session, which is what it calls itself: many may share a claim.
    pub(super) fn claim_session(&self) -> Result<DeviceId, Refusal> {
        let id: DeviceId = self.client_id.parse().map_err(|_| Refusal::ClaimId)?;
        let is_long = id.as_str().len() >= CLAIM_PREFIX.len() + CLAIM_ID_MIN;
        if is_claim(&id) && is_long { Ok(id) } else { Err(Refusal::ClaimId) }
    }

    /// Whether `device` may come in with this, and on what terms.
    pub(super) fn judge(self, device: &DeviceId, settings: &Settings) -> Result<Terms, Refusal> {
        let assigned = self.client_id.is_empty() && self.clean;
        if !assigned && self.client_id != device.as_str() {
            return Err(Refusal::ClientId(device.clone()));
        }
        if self.authentication {
            return Err(Refusal::Authentication);
        }
        if let Some(will) = &self.will {
            if !rights::will(device, &will.topic) {
                return Err(Refusal::Will(device.clone()));
            }
            if will.qos == Qos::ExactlyOnce {
                return Err(Refusal::WillQos);
            }
        }
        let (keep_alive_s, keep_alive_s_told) = keep_alive(self.version, self.keep_alive_s, settings.keep_alive_s_max);
        Ok(Terms {
            version: self.version,
            will: self.will.map(|will| will.payload),
            packet_bytes_max: self.packet_bytes_max,
            silence_max: Duration::from_millis(u64::from(keep_alive_s) * 1_500),
            keep_alive_s_told,
            assigned,
            session_expiry: self.session_expiry,
        })
    }
}

/// The keep alive that holds, and what an MQTT 5 client is told if it is not its own.
///
/// An MQTT 3.1.1 client cannot be told, so what it names holds, however long: a device has one connection at most.
fn keep_alive(version: Version, asked_s: u16, s_max: u16) -> (u16, Option<u16>) {
    match (version, asked_s) {
        (Version::V3, 0) => (s_max, None),
        (Version::V3, asked_s) => (asked_s, None),
        (Version::V5, asked_s) if asked_s == 0 || asked_s > s_max => (s_max, Some(s_max)),
        (Version::V5, asked_s) => (asked_s, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keep_alive_is_the_clients_within_ours_where_it_can_be_told() {
        assert_eq!(keep_alive(Version::V5, 60, 1_200), (60, None));
        assert_eq!(keep_alive(Version::V5, 0, 1_200), (1_200, Some(1_200)));
        assert_eq!(keep_alive(Version::V5, 1_201, 1_200), (1_200, Some(1_200)));
        assert_eq!(keep_alive(Version::V3, 60, 1_200), (60, None));
        assert_eq!(keep_alive(Version::V3, 0, 1_200), (1_200, None));
        assert_eq!(keep_alive(Version::V3, 65_535, 1_200), (65_535, None));
    }

    #[test]
    fn no_body_of_a_connect_cut_anywhere_is_a_connect() {
        let good = b"\0\x04MQTT\x05\xc6\0\x3c\x05\x11\0\0\0\x09\0\x01m\0\0\x01t\0\x01p\0\x01u\0\x01w";
        assert!(matches!(parse(0x10, good), Ok(First::Connect(_))));
        for end in 0..good.len() {
            assert!(parse(0x10, good.get(..end).unwrap()).is_err(), "cut at {end}");
        }
        assert!(parse(0x10, &[&good[..], &[0]].concat()).is_err(), "something left over");
        assert!(parse(0x11, good).is_err(), "reserved flags");
        for flags in [0b0001_1110, 0b0010_0010, 0b0000_1010, 0b0000_0011] {
            let odd = [&b"\0\x04MQTT\x04"[..], &[flags], b"\0\x3c\0\x01m\0\x01t\0\x01p"].concat();
            assert!(parse(0x10, &odd).is_err(), "flags {flags:08b}");
        }
        for text in [&b"\0\x04MQTT\x04\x02\0\x3c\0\x02m\0"[..], b"\0\x04MQTT\x04\x82\0\x3c\0\x01m\0\x01\0"] {
            assert!(parse(0x10, text).is_err(), "a zero character: {text:02x?}");
        }
        let no_method = b"\0\x04MQTT\x05\x02\0\x3c\x04\x16\0\x01\x07\0\x01m";
        assert!(matches!(parse(0x10, no_method), Err(PacketError::Protocol(_))));
    }
}
