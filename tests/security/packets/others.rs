//! Everything else that a connected client may not say.

use super::case::{Case, MALFORMED, PROTOCOL, TOO_LARGE, cuts};
use super::properties::{OF_DISCONNECT, bad};
use crate::wire::{packet, properties, text, variable};

pub(super) fn cases(version: u8) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: String, bytes: Vec<u8>, reason: u8| cases.push(Case::later(version, name, bytes, reason));
    for (name, kind) in [("PINGREQ", 0xC0), ("DISCONNECT", 0xE0)] {
        for flags in 1..16 {
            case(format!("{name} with flags {flags:04b}"), vec![kind | flags, 0], MALFORMED);
        }
        case(format!("{name} of 256 MiB"), vec![kind, 0xFF, 0xFF, 0xFF, 0x7F], TOO_LARGE);
        case(format!("{name} with a length of five bytes"), vec![kind, 0x80, 0x80, 0x80, 0x80, 0], MALFORMED);
    }
    case("PINGREQ with a byte".into(), vec![0xC0, 1, 0], MALFORMED);
    let ids: &[(&str, u8)] = &[
        ("PUBACK of what was not sent", 0x40),
        ("PUBREC of what was not sent", 0x50),
        ("PUBREL of what was not sent", 0x62),
        ("PUBCOMP of what was not sent", 0x70),
    ];
    for (name, first) in ids {
        case((*name).to_owned(), vec![*first, 2, 0, 1], PROTOCOL);
        case(format!("{name}, id 0"), vec![*first, 2, 0, 0], PROTOCOL);
    }
    case("CONNACK from a client".into(), vec![0x20, 2, 0, 0], PROTOCOL);
    case(
        "SUBACK from a client".into(),
        packet(0x90, &[&[0, 1], &properties(version, &[])[..], &[0]].concat()),
        PROTOCOL,
    );
    case(
        "UNSUBACK from a client".into(),
        packet(0xB0, &[&[0, 1], &properties(version, &[])[..], &[0]].concat()),
        PROTOCOL,
    );
    case("PINGRESP from a client".into(), vec![0xD0, 0], PROTOCOL);
    case("AUTH that nobody asked for".into(), vec![0xF0, 2, 0x18, 0], PROTOCOL);
    case("AUTH of nothing".into(), vec![0xF0, 0], PROTOCOL);
    case("a packet of type 0".into(), vec![0x00, 0], PROTOCOL);
    case("a packet of type 0 with a body".into(), vec![0x00, 2, 7, 7], PROTOCOL);
    if version == 4 {
        case("DISCONNECT with a byte".into(), vec![0xE0, 1, 0], MALFORMED);
    } else {
        cases.extend(disconnects());
        cases.extend(padded());
    }
    cases
}

/// DISCONNECT of MQTT 5, which has a reason and properties.
fn disconnects() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: String, body: Vec<u8>, reason: u8| {
        cases.push(Case::later(5, format!("DISCONNECT {name}"), packet(0xE0, &body), reason));
    };
    for reason in [0x01, 0x05, 0x7F, 0x84, 0xFF] {
        case(format!("for reason 0x{reason:02x}, which is none"), vec![reason], MALFORMED);
    }
    for (wrong, name, bytes) in bad(OF_DISCONNECT) {
        case(format!("with {name}"), [vec![0], properties(5, &bytes)].concat(), wrong.reason());
    }
    let whole = [vec![0], properties(5, &[&[0x1F], &text(b"why")[..]].concat())].concat();
    for (end, bytes) in cuts(0xE0, &whole, whole.len()).filter(|(end, _)| *end > 1) {
        cases.push(Case::later(5, format!("DISCONNECT cut off after {end} bytes"), bytes, MALFORMED));
    }
    let mut case = |name: &str, body: Vec<u8>, reason: u8| {
        cases.push(Case::later(5, format!("DISCONNECT {name}"), packet(0xE0, &body), reason));
    };
    case("with properties longer than it", [vec![0], variable(200)].concat(), MALFORMED);
    // The session was to end with the connection, so it cannot be prolonged (section 3.14.2.2.2).
    let prolongs = packet(0xE0, &[vec![0], properties(5, &[0x11, 0, 0, 0, 9])].concat());
    cases.push(Case::later(5, "DISCONNECT that prolongs a session", prolongs, PROTOCOL));
    cases
}

/// Lengths in more bytes than they need (section 1.5.5). MQTT 3.1.1 does not forbid them.
fn padded() -> Vec<Case> {
    let ping = |length: &[u8]| [&[0xC0], length].concat();
    [("two", &[0x80, 0][..]), ("three", &[0x80, 0x80, 0]), ("four", &[0x80, 0x80, 0x80, 0])]
        .into_iter()
        .map(|(name, length)| {
            Case::later(5, format!("PINGREQ with a length 0 of {name} bytes"), ping(length), MALFORMED)
        })
        .collect()
}
