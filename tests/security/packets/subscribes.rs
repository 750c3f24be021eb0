//! SUBSCRIBE and UNSUBSCRIBE.

use super::case::{Case, MALFORMED, NO_IDENTIFIERS, PROTOCOL, TOO_LARGE, UNREAD, cuts};
use super::properties::{OF_SUBSCRIBE, OF_UNSUBSCRIBE, Wrong, bad};
use super::texts::BAD;
use crate::wire::{packet, properties, text, variable};

const FILTER: &[u8] = b"trib/1/meter-7/receipt";

pub(super) fn cases(version: u8) -> Vec<Case> {
    let mut cases = of(version, "SUBSCRIBE", 0x82, &[0]);
    cases.extend(of(version, "UNSUBSCRIBE", 0xA2, &[]));
    cases.extend(options(version));
    if version == 5 {
        let mut case = |name: &str, first: u8, bytes: &[u8], reason: u8| {
            let options: &[u8] = if first == 0x82 { &[0] } else { &[] };
            let body = [&[0, 9], bytes, &text(FILTER), options].concat();
            let kind = if first == 0x82 { "SUBSCRIBE" } else { "UNSUBSCRIBE" };
            cases.push(Case::later(5, format!("{kind}: {name}"), packet(first, &body), reason));
        };
        // Not offered at all, so it does not matter how often.
        let due = |wrong: Wrong, name: &str| {
            if name == "subscription identifier twice" { NO_IDENTIFIERS } else { wrong.reason() }
        };
        for (first, allowed) in [(0x82, OF_SUBSCRIBE), (0xA2, OF_UNSUBSCRIBE)] {
            bad(allowed)
                .iter()
                .for_each(|(wrong, name, bytes)| case(name, first, &properties(5, bytes), due(*wrong, name)));
            case("properties longer than it", first, &variable(200), MALFORMED);
            case("a length of properties of five bytes", first, &[0x80, 0x80, 0x80, 0x80, 1], MALFORMED);
            let many: Vec<u8> = (0..2_000).flat_map(|_| [0x26, 0, 1, b'k', 0, 1, b'v']).collect();
            case("two thousand user properties", first, &properties(5, &many), TOO_LARGE);
        }
        case("subscription identifier 0", 0x82, &properties(5, &[0x0B, 0]), UNREAD);
        case("a subscription identifier", 0x82, &properties(5, &[0x0B, 1]), NO_IDENTIFIERS);
    }
    cases
}

/// What both have in common; `options` follow each filter.
fn of(version: u8, kind: &str, first: u8, options: &[u8]) -> Vec<Case> {
    let none = properties(version, &[]);
    let one = |id: u16, filter: &[u8]| [&id.to_be_bytes()[..], &none, &text(filter), options].concat();
    let mut cases = Vec::new();
    let mut case = |name: &str, bytes: Vec<u8>, reason: u8| {
        cases.push(Case::later(version, format!("{kind} {name}"), bytes, reason));
    };
    let good = one(9, FILTER);
    for flags in (0..16).filter(|flags| *flags != 2) {
        case(&format!("with flags {flags:04b}"), packet(first & 0xF0 | flags, &good), MALFORMED);
    }
    case("with id 0", packet(first, &one(0, FILTER)), PROTOCOL);
    let nothing = packet(first, &[&[0, 9], &none[..]].concat());
    case("of nothing", nothing, UNREAD);
    for (what, bytes) in BAD {
        case(&format!("with {what} in its filter"), packet(first, &one(9, bytes)), MALFORMED);
    }
    case("of an empty filter", packet(first, &one(9, b"")), PROTOCOL);
    // Cut off just behind the properties it is of nothing, which is a case of its own.
    let start = 2 + none.len();
    let all = cuts(first, &good, good.len()).filter(|(end, _)| *end != start);
    all.for_each(|(end, bytes)| case(&format!("cut off after {end} bytes"), bytes, MALFORMED));
    let second = [good.clone(), vec![0, 30, b'x']].concat();
    case("whose second filter is cut off", packet(first, &second), MALFORMED);
    case("of 256 MiB", [&[first, 0xFF, 0xFF, 0xFF, 0x7F], &good[..]].concat(), TOO_LARGE);
    case("of 9 KiB", packet(first, &one(9, &vec![b'/'; 9_000])), TOO_LARGE);
    case("of 65 535 levels", packet(first, &one(9, &vec![b'/'; 65_534])), TOO_LARGE);
    cases
}

/// What follows a filter (MQTT 5.0, section 3.8.3.1).
fn options(version: u8) -> Vec<Case> {
    let none = properties(version, &[]);
    let bad: &[(u8, u8)] = if version == 4 {
        &[(0b11, 0x81), (0b100, 0x81), (0b1000, 0x81), (0b1_0000, 0x81), (0b10_0000, 0x81), (0x40, 0x81), (0x80, 0x81)]
    } else {
        &[(0b11, UNREAD), (0b11_0000, UNREAD), (0x40, MALFORMED), (0x80, MALFORMED), (0xC0, MALFORMED)]
    };
    let one = |filter: &[u8], options: u8| packet(0x82, &[&[0, 9], &none[..], &text(filter), &[options]].concat());
    let mut cases: Vec<Case> = bad
        .iter()
        .map(|(options, reason)| {
            Case::later(version, format!("SUBSCRIBE with options {options:08b}"), one(FILTER, *options), *reason)
        })
        .collect();
    if version == 5 {
        let shared = one(b"$share/g/trib/1/meter-7/receipt", 0b100);
        cases.push(Case::later(5, "SUBSCRIBE, shared and not to oneself", shared, PROTOCOL));
    }
    cases
}
