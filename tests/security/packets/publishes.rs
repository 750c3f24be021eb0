//! PUBLISH.

use super::case::{ALIAS_INVALID, Case, MALFORMED, NO_QOS, PROTOCOL, TOO_LARGE, TOPIC_INVALID, UNREAD, cuts};
use super::properties::{OF_PUBLISH, bad};
use super::texts::BAD;
use crate::wire::{packet, properties, text, variable};

const TOPIC: &[u8] = b"trib/1/meter-7/senml";

/// PUBLISH at QoS 1, of these parts.
fn publish(first: u8, topic: &[u8], id: Option<u16>, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let id: Vec<u8> = id.iter().flat_map(|id| id.to_be_bytes()).collect();
    packet(first, &[&text(topic)[..], &id, properties, payload].concat())
}

pub(super) fn cases(version: u8) -> Vec<Case> {
    let none = properties(version, &[]);
    let mut cases = Vec::new();
    let mut case = |name: String, bytes: Vec<u8>, reason: u8| cases.push(Case::later(version, name, bytes, reason));
    for flags in [0b0110, 0b0111, 0b1110, 0b1111] {
        let bytes = publish(0x30 | flags, TOPIC, Some(1), &none, b"x");
        case(format!("PUBLISH at QoS 3, flags {flags:04b}"), bytes, MALFORMED);
    }
    for flags in [0b1000, 0b1001] {
        let bytes = publish(0x30 | flags, TOPIC, None, &none, b"x");
        case(format!("PUBLISH again at QoS 0, flags {flags:04b}"), bytes, MALFORMED);
    }
    for flags in [0b0100, 0b0101, 0b1100, 0b1101] {
        let bytes = publish(0x30 | flags, TOPIC, Some(1), &none, b"x");
        case(format!("PUBLISH at QoS 2, flags {flags:04b}"), bytes, NO_QOS);
    }
    for flags in [0b0010, 0b1010] {
        case(
            format!("PUBLISH with id 0, flags {flags:04b}"),
            publish(0x30 | flags, TOPIC, Some(0), &none, b"x"),
            PROTOCOL,
        );
    }
    for (flags, id) in [(0x30, None), (0x32, Some(1))] {
        let qos = u8::from(id.is_some());
        for (what, bytes) in BAD {
            let bytes = publish(flags, bytes, id, &none, b"x");
            case(format!("PUBLISH at QoS {qos} with {what} in its topic"), bytes, MALFORMED);
        }
        for topic in ["#", "+", "trib/1/meter-7/#", "trib/1/+/senml", "trib/1/meter-7/senml#", "a+b"] {
            let bytes = publish(flags, topic.as_bytes(), id, &none, b"x");
            case(format!("PUBLISH at QoS {qos} to {topic}"), bytes, TOPIC_INVALID);
        }
        case(format!("PUBLISH at QoS {qos} to nobody"), publish(flags, b"", id, &none, b"x"), PROTOCOL);
        let body = [&text(TOPIC)[..], &id.map_or(vec![], |id: u16| id.to_be_bytes().to_vec()), &none].concat();
        let all = cuts(flags, &body, body.len());
        all.for_each(|(end, bytes)| case(format!("PUBLISH at QoS {qos} cut off after {end} bytes"), bytes, MALFORMED));
    }
    let longer = packet(0x30, &[&[0xFF, 0xFF], TOPIC].concat());
    case("PUBLISH whose topic is longer than it".into(), longer, MALFORMED);
    for (name, head) in [
        ("of 256 MiB", vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("of 256 MiB at QoS 1", vec![0x32, 0xFF, 0xFF, 0xFF, 0x7F]),
        ("of a byte more than is taken", [&[0x32], &variable(130 * 1024 - 3)[..]].concat()),
    ] {
        case(format!("PUBLISH {name}"), [head, text(TOPIC)].concat(), TOO_LARGE);
    }
    case("PUBLISH with a length of five bytes".into(), vec![0x30, 0x80, 0x80, 0x80, 0x80, 1], MALFORMED);
    if version == 5 {
        cases.extend(of_properties());
    }
    cases
}

fn of_properties() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: &str, bytes: &[u8], reason: u8| {
        let whole = publish(0x32, TOPIC, Some(1), bytes, b"x");
        cases.push(Case::later(5, format!("PUBLISH: {name}"), whole, reason));
    };
    for (wrong, name, bytes) in bad(OF_PUBLISH) {
        case(&name, &properties(5, &bytes), wrong.reason());
    }
    case("payload format 2", &properties(5, &[1, 2]), UNREAD);
    case("a response topic with a wildcard", &properties(5, &[&[8], &text(b"a/#")[..]].concat()), PROTOCOL);
    case("a topic alias", &properties(5, &[0x23, 0, 1]), ALIAS_INVALID);
    case("topic alias 0", &properties(5, &[0x23, 0, 0]), UNREAD);
    case("topic alias 65535", &properties(5, &[0x23, 0xFF, 0xFF]), ALIAS_INVALID);
    case("a subscription identifier from a client", &properties(5, &[0x0B, 1]), PROTOCOL);
    case("properties longer than it", &variable(200), MALFORMED);
    case("a length of properties of five bytes", &[0x80, 0x80, 0x80, 0x80, 1], MALFORMED);
    let whole = publish(0x32, b"", Some(1), &properties(5, &[0x23, 0, 1]), b"x");
    cases.push(Case::later(5, "PUBLISH: only a topic alias", whole, ALIAS_INVALID));
    cases
}
