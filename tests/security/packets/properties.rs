//! Properties of MQTT 5 (section 2.2.2.2): where each may stand, and values to fill it with.

use super::case::{MALFORMED, UNREAD};
use crate::wire::text;

/// An identifier, its name, a good value, and whether it may be there more than once.
pub(crate) struct Property(pub(crate) u8, pub(crate) &'static str, pub(crate) Value);

/// What a value looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    Byte(u8),
    Two(u16),
    Four(u32),
    Variable(u8),
    Text(&'static str),
    Pair,
}

pub(crate) const ALL: [Property; 27] = [
    Property(0x01, "payload format", Value::Byte(1)),
    Property(0x02, "message expiry", Value::Four(60)),
    Property(0x03, "content type", Value::Text("x")),
    Property(0x08, "response topic", Value::Text("x")),
    Property(0x09, "correlation data", Value::Text("x")),
    Property(0x0B, "subscription identifier", Value::Variable(1)),
    Property(0x11, "session expiry", Value::Four(0)),
    Property(0x12, "assigned client id", Value::Text("x")),
    Property(0x13, "server keep alive", Value::Two(9)),
    Property(0x15, "authentication method", Value::Text("x")),
    Property(0x16, "authentication data", Value::Text("x")),
    Property(0x17, "request problem information", Value::Byte(1)),
    Property(0x18, "will delay", Value::Four(1)),
    Property(0x19, "request response information", Value::Byte(1)),
    Property(0x1A, "response information", Value::Text("x")),
    Property(0x1C, "server reference", Value::Text("x")),
    Property(0x1F, "reason string", Value::Text("x")),
    Property(0x21, "receive maximum", Value::Two(9)),
    Property(0x22, "topic alias maximum", Value::Two(9)),
    Property(0x23, "topic alias", Value::Two(1)),
    Property(0x24, "maximum qos", Value::Byte(1)),
    Property(0x25, "retain available", Value::Byte(1)),
    Property(0x26, "user property", Value::Pair),
    Property(0x27, "maximum packet size", Value::Four(1_000)),
    Property(0x28, "wildcards available", Value::Byte(1)),
    Property(0x29, "identifiers available", Value::Byte(1)),
    Property(0x2A, "sharing available", Value::Byte(1)),
];

/// Where each may stand.
pub(crate) const OF_CONNECT: &[u8] = &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27];
pub(crate) const OF_WILL: &[u8] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26];
pub(crate) const OF_PUBLISH: &[u8] = &[0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26];
pub(crate) const OF_SUBSCRIBE: &[u8] = &[0x0B, 0x26];
pub(crate) const OF_UNSUBSCRIBE: &[u8] = &[0x26];
pub(crate) const OF_DISCONNECT: &[u8] = &[0x11, 0x1C, 0x1F, 0x26];
/// Identifiers that are none.
const UNKNOWN: [u8; 6] = [0x00, 0x04, 0x0A, 0x14, 0x2B, 0x7F];

impl Property {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let value = match self.2 {
            Value::Byte(value) | Value::Variable(value) => vec![value],
            Value::Two(value) => value.to_be_bytes().to_vec(),
            Value::Four(value) => value.to_be_bytes().to_vec(),
            Value::Text(value) => text(value.as_bytes()),
            Value::Pair => [text(b"k"), text(b"v")].concat(),
        };
        [&[self.0], &value[..]].concat()
    }
}

impl Wrong {
    /// The reason that is due. An identifier that is not valid for its packet is malformed (section 2.2.2.2), one that is
    /// there twice is a protocol error.
    pub(crate) fn reason(self) -> u8 {
        match self {
            Self::Misplaced | Self::Broken => MALFORMED,
            Self::Twice => UNREAD,
        }
    }
}

/// What is wrong with some properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It must not be in this packet.
    Misplaced,
    /// It is there twice.
    Twice,
    /// It ends early, or nobody knows it.
    Broken,
}

/// Bad properties for a packet where those of `allowed` may stand: what is wrong, in words, and their bytes without the
/// length in front.
pub(crate) fn bad(allowed: &[u8]) -> Vec<(Wrong, String, Vec<u8>)> {
    let mut all = Vec::new();
    for property in &ALL {
        let Property(id, name, _) = property;
        let bytes = property.bytes();
        if !allowed.contains(id) {
            all.push((Wrong::Misplaced, format!("{name}, which has no place there"), bytes));
            continue;
        }
        if *id != 0x26 {
            all.push((Wrong::Twice, format!("{name} twice"), [bytes.clone(), bytes.clone()].concat()));
        }
        all.push((Wrong::Broken, format!("{name} that ends early"), bytes[..bytes.len() - 1].to_vec()));
    }
    all.extend(UNKNOWN.map(|id| (Wrong::Broken, format!("property 0x{id:02x}, which is none"), vec![id, 0, 0])));
    all.push((Wrong::Broken, "a property of two bytes of identifier".into(), vec![0x80, 0x01, 0]));
    all.push((
        Wrong::Broken,
        "a user property whose value is no text".into(),
        [&[0x26], &text(b"k")[..], &text(b"\xFF")].concat(),
    ));
    all.push((
        Wrong::Broken,
        "a user property whose name is no text".into(),
        [&[0x26], &text(b"\xED\xA0\x80")[..], &text(b"v")].concat(),
    ));
    all
}
