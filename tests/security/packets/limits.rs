//! More than anybody needs: what MQTT allows and a gateway bounds all the same, because each costs it memory or time.

use super::case::Case;
use crate::wire::{packet, properties, text};

/// Reason of MQTT 5: quota exceeded.
const QUOTA: u8 = 0x97;

pub(super) fn cases(version: u8) -> Vec<Case> {
    let none = properties(version, &[]);
    let mut cases = Vec::new();
    let mut case = |name: String, bytes: Vec<u8>| cases.push(Case::later(version, name, bytes, QUOTA));
    for levels in [17, 200, 60_000] {
        let topic = text(&vec![b'/'; levels - 1]);
        for (qos, first, id) in [(0, 0x30, &[][..]), (1, 0x32, &[0, 9])] {
            let body = [&topic[..], id, &none, b"x"].concat();
            case(format!("PUBLISH at QoS {qos} to a topic of {levels} levels"), packet(first, &body));
        }
    }
    for (kind, first, options) in [("SUBSCRIBE", 0x82, &[0][..]), ("UNSUBSCRIBE", 0xA2, &[])] {
        let of = |filters: &[Vec<u8>]| {
            let each = filters.iter().flat_map(|filter| [&text(filter), options].concat());
            packet(first, &[&[0, 9][..], &none, &each.collect::<Vec<u8>>()].concat())
        };
        for levels in [17, 200] {
            case(format!("{kind}: a filter of {levels} levels"), of(&[vec![b'/'; levels - 1]]));
        }
        for count in [33, 800] {
            case(format!("{kind} of {count} filters"), of(&vec![b"trib/1".to_vec(); count]));
        }
    }
    if version == 5 {
        cases.extend(of_properties());
    }
    cases
}

/// User properties may be there as often as one likes.
fn of_properties() -> Vec<Case> {
    let many = |count: usize| properties(5, &[&[0x26][..], &text(b"k"), &text(b"v")].concat().repeat(count));
    let topic = text(b"trib/1/meter-7/senml");
    let publish = |properties: Vec<u8>| packet(0x32, &[&topic[..], &[0, 9], &properties, b"x"].concat());
    let large = properties(5, &[&[0x09][..], &text(&vec![7; 4_096])].concat());
    let filter = text(b"trib/1/meter-7/receipt");
    let all = [
        ("PUBLISH with 65 properties", publish(many(65))),
        ("PUBLISH with 18 000 properties", publish(many(18_000))),
        ("PUBLISH with properties of more than 4 KiB", publish(large)),
        ("SUBSCRIBE with 65 properties", packet(0x82, &[&[0, 9], &many(65)[..], &filter, &[0]].concat())),
        ("UNSUBSCRIBE with 65 properties", packet(0xA2, &[&[0, 9], &many(65)[..], &filter].concat())),
        ("DISCONNECT with 65 properties", packet(0xE0, &[&[0], &many(65)[..]].concat())),
    ];
    let mut cases: Vec<Case> = all.into_iter().map(|(name, bytes)| Case::later(5, name, bytes, QUOTA)).collect();
    let connect = |of_it: &[u8], of_will: Option<&[u8]>| {
        let flags = if of_will.is_some() { 0b0000_0110 } else { 0b10 };
        let will = of_will.map(|properties| [properties, &text(b"trib/1/meter-7/status"), &text(b"x")].concat());
        let head = [&text(b"MQTT")[..], &[5, flags, 0, 60]].concat();
        packet(0x10, &[&head[..], of_it, &text(b"meter-7"), &will.unwrap_or_default()].concat())
    };
    cases.push(Case::first(5, "CONNECT with 65 properties", connect(&many(65), None)));
    cases.push(Case::first(5, "CONNECT with 65 properties of its will", connect(&[0], Some(&many(65)))));
    cases
}
