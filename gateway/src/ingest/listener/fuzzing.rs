//! The listener's reading of packets and its rights, for who feeds it hostile bytes and topics. No part of the gateway calls this.

use bytes::BytesMut;
use proto::DeviceId;

use super::connect::{self, First};
use super::envelope;
use super::packet::{self, Packet, Version};
use super::rights;
use super::settings::Settings;

/// Reads `bytes` as a device's, in `pieces`, from its CONNECT on; and once more for each version as what follows one.
///
/// # Panics
/// When a packet is longer than what came, or nothing was taken of it.
pub fn packets(bytes: &[u8], pieces: usize) {
    let settings = Settings::default();
    let device: DeviceId = "meter-7".parse().expect("a device id");
    let mut buffer = BytesMut::new();
    for piece in bytes.chunks(pieces.max(1)) {
        buffer.extend_from_slice(piece);
        match envelope::next(&mut buffer, &settings, connect::parse) {
            Ok(None) => {} // not complete yet
            Ok(Some(First::Connect(connect))) => {
                let version = connect.version;
                let _ = connect.judge(&device, &settings);
                follow(version, &buffer, &settings);
                break;
            }
            Ok(Some(First::OtherVersion(_))) | Err(_) => break,
        }
    }
    for version in [Version::V3, Version::V5] {
        follow(version, bytes, &settings);
    }
}

/// Whether `device` may publish to `topic`.
#[must_use]
pub fn may_publish(device: &DeviceId, topic: &str, retain: bool) -> bool {
    rights::publish(device, topic, retain).is_some()
}

/// Whether `device` may subscribe to `filter`.
#[must_use]
pub fn may_subscribe(device: &DeviceId, filter: &str) -> bool {
    rights::subscribe(device, filter).is_some()
}

/// Whether `device` may have `topic` as its last will.
#[must_use]
pub fn may_will(device: &DeviceId, topic: &str) -> bool {
    rights::will(device, topic)
}

/// What comes behind a CONNECT.
fn follow(version: Version, bytes: &[u8], settings: &Settings) {
    let mut buffer = BytesMut::from(bytes);
    loop {
        let before = buffer.len();
        let parse = |first: u8, body: &[u8]| packet::parse(version, first, body);
        let Ok(Some(packet)) = envelope::next(&mut buffer, settings, parse) else { return };
        let taken = before - buffer.len();
        assert!(taken >= 2 && taken <= settings.packet_bytes_max, "a packet has a size");
        match packet {
            Packet::Publish(publish) => assert!(publish.topic.len() + publish.payload.len() < taken),
            Packet::Subscribe { filters, .. } | Packet::Unsubscribe { filters, .. } => {
                assert!(filters.iter().map(String::len).sum::<usize>() < taken);
            }
            Packet::Ping | Packet::Disconnect { .. } => {}
        }
    }
}
