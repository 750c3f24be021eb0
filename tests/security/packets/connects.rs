//! CONNECT, and what comes in its place.

use super::DEVICE;
use super::case::{Case, MALFORMED, PROTOCOL, Wanted, cuts};
use super::properties::{OF_CONNECT, OF_WILL, bad};
use super::texts::BAD;
use crate::wire::{connect, packet, properties, publish, subscribe, text, variable};

/// CONNECT's parts, good until one is changed.
#[derive(Clone, Debug)]
struct Connect {
    name: Vec<u8>,
    level: u8,
    flags: u8,
    properties: Vec<u8>,
    client: Vec<u8>,
    /// Properties, topic and payload.
    will: Option<[Vec<u8>; 3]>,
    /// User name and password.
    user: Vec<Vec<u8>>,
}

const STATUS: &str = "trib/1/meter-7/status";

impl Connect {
    fn good(version: u8) -> Self {
        let client = DEVICE.as_bytes().to_vec();
        let (name, properties) = (b"MQTT".to_vec(), properties(version, &[]));
        Self { name, level: version, flags: 2, properties, client, will: None, user: Vec::new() }
    }

    fn with_will(version: u8) -> Self {
        let will = Some([properties(version, &[]), STATUS.as_bytes().to_vec(), b"gone".to_vec()]);
        Self { flags: 0b0010_0110, will, ..Self::good(version) }
    }

    fn body(&self) -> Vec<u8> {
        let mut body = [text(&self.name), vec![self.level, self.flags, 0, 60], self.properties.clone()].concat();
        body.extend(text(&self.client));
        if let Some([properties, topic, payload]) = &self.will {
            body.extend([properties.clone(), text(topic), text(payload)].concat());
        }
        self.user.iter().for_each(|field| body.extend(text(field)));
        body
    }

    fn bytes(&self) -> Vec<u8> {
        packet(0x10, &self.body())
    }
}

pub(super) fn cases(version: u8) -> Vec<Case> {
    let mut cases =
        vec![Case::first(version, "a good CONNECT", Connect::good(version).bytes()).answered(Wanted::LetIn)];
    // It takes its leave, or its last will would be a publish.
    let with_will = [Connect::with_will(version).bytes(), vec![0xE0, 0]].concat();
    cases.push(Case::first(version, "a good CONNECT with a will", with_will).answered(Wanted::LetIn));
    cases.extend(heads(version));
    cases.extend(flags(version));
    cases.extend(fields(version));
    if version == 5 {
        cases.extend(of_properties());
    } else {
        cases.extend(in_its_place());
    }
    let second = Case::later(version, "a second CONNECT", connect(version, DEVICE, None), PROTOCOL);
    cases.extend([second]);
    cases
}

/// Its first bytes, and every length but the right one.
fn heads(version: u8) -> Vec<Case> {
    let good = Connect::good(version);
    let mut cases = Vec::new();
    for flags in 1..16 {
        let bytes = packet(0x10 | flags, &good.body());
        cases.push(Case::first(version, format!("CONNECT with flags {flags:04b}"), bytes));
    }
    let full = Connect { flags: 0b1110_0110, user: vec![b"u".to_vec(), b"p".to_vec()], ..Connect::with_will(version) };
    let body = full.body();
    cases.extend(
        cuts(0x10, &body, body.len())
            .map(|(end, bytes)| Case::first(version, format!("CONNECT cut off after {end} bytes"), bytes)),
    );
    let longer = packet(0x10, &[&body[..], &[0]].concat());
    cases.push(Case::first(version, "CONNECT with a byte more", longer));
    cases.push(Case::first(version, "CONNECT with a length of five bytes", vec![0x10, 0x80, 0x80, 0x80, 0x80, 1]));
    cases.push(Case::first(version, "CONNECT of 256 MiB", [&[0x10, 0xFF, 0xFF, 0xFF, 0x7F], &body[..]].concat()));
    for name in ["MQTX", "mqtt", "MQT", "MQTTT", "", "MQIsd", "HTTP"] {
        let bytes = Connect { name: name.as_bytes().to_vec(), ..good.clone() }.bytes();
        cases.push(Case::first(version, format!("CONNECT to {name:?}"), bytes));
    }
    let levels: &[u8] = if version == 4 { &[0, 1, 2, 3, 6, 7, 127, 132, 255] } else { &[133] };
    for level in levels {
        let bytes = Connect { level: *level, ..good.clone() }.bytes();
        let case = Case::first(version, format!("CONNECT of protocol level {level}"), bytes);
        cases.push(case.answered(Wanted::Connack(1)));
    }
    cases
}

fn flags(version: u8) -> Vec<Case> {
    let (good, will) = (Connect::good(version), Connect::with_will(version));
    let user = |flags: u8, user: &[&[u8]]| {
        Connect { flags, user: user.iter().map(|it| it.to_vec()).collect(), ..good.clone() }.bytes()
    };
    let mut all = vec![
        ("the reserved flag", Connect { flags: 3, ..good.clone() }.bytes()),
        ("a will at QoS 3", Connect { flags: 0b0001_1110, ..will.clone() }.bytes()),
        ("a retained will that is none", Connect { flags: 0b0010_0010, ..good.clone() }.bytes()),
        ("a will at QoS 1 that is none", Connect { flags: 0b0000_1010, ..good.clone() }.bytes()),
        ("a will at QoS 2 that is none", Connect { flags: 0b0001_0010, ..good.clone() }.bytes()),
        ("a will that is not there", Connect { flags: 0b0000_0110, ..good.clone() }.bytes()),
        ("a user who is not there", user(0b1000_0010, &[])),
        ("a password that is not there", user(0b1100_0010, &[b"u"])),
        ("a user whom no flag tells", user(0b0000_0010, &[b"u"])),
    ];
    if version == 4 {
        all.push(("a password without a user", user(0b0100_0010, &[b"p"])));
    }
    all.into_iter().map(|(name, bytes)| Case::first(version, format!("CONNECT with {name}"), bytes)).collect()
}

/// Texts in each field.
fn fields(version: u8) -> Vec<Case> {
    let (good, will) = (Connect::good(version), Connect::with_will(version));
    let mut cases = Vec::new();
    for (what, bytes) in BAD {
        let bad = bytes.to_vec();
        let [will_properties, _, payload] = will.will.clone().expect("it has a will");
        let forms = [
            ("client id", Connect { client: bad.clone(), ..good.clone() }),
            ("will topic", Connect { will: Some([will_properties, bad.clone(), payload]), ..will.clone() }),
            ("user name", Connect { flags: 0b1000_0010, user: vec![bad], ..good.clone() }),
        ];
        for (field, connect) in forms {
            cases.push(Case::first(version, format!("CONNECT with {what} in its {field}"), connect.bytes()));
        }
    }
    cases
}

fn of_properties() -> Vec<Case> {
    let (good, will) = (Connect::good(5), Connect::with_will(5));
    let mut cases = Vec::new();
    let mut case =
        |name: String, connect: Connect| cases.push(Case::first(5, format!("CONNECT: {name}"), connect.bytes()));
    for (_, name, bytes) in bad(OF_CONNECT) {
        case(name, Connect { properties: properties(5, &bytes), ..good.clone() });
    }
    for (_, name, bytes) in bad(OF_WILL) {
        let [_, topic, payload] = will.will.clone().expect("it has a will");
        case(format!("will: {name}"), Connect { will: Some([properties(5, &bytes), topic, payload]), ..will.clone() });
    }
    for (name, bytes) in [
        ("a receive maximum of 0", &[0x21, 0, 0][..]),
        ("a maximum packet size of 0", &[0x27, 0, 0, 0, 0]),
        ("request problem information of 2", &[0x17, 2]),
        ("request response information of 2", &[0x19, 2]),
        ("authentication data without a method", &[0x16, 0, 1, 7]),
    ] {
        case(name.into(), Connect { properties: properties(5, bytes), ..good.clone() });
    }
    for (name, length) in [
        ("longer than the packet", variable(200)),
        ("one more than there are", variable(1)),
        ("of five bytes", vec![0x80, 0x80, 0x80, 0x80, 1]),
    ] {
        case(format!("properties with a length {name}"), Connect { properties: length, ..good.clone() });
    }
    let [_, topic, payload] = will.will.clone().expect("it has a will");
    let format = Connect { will: Some([properties(5, &[1, 2]), topic, payload]), ..will.clone() };
    case("will: payload format 2".into(), format);
    cases
}

/// Everything that may not come first.
fn in_its_place() -> Vec<Case> {
    let mut cases = Vec::new();
    let good = [
        ("CONNACK", vec![0x20, 2, 0, 0]),
        ("PUBLISH at QoS 0", publish(4, STATUS, None, false, b"x")),
        ("PUBLISH at QoS 1", publish(4, STATUS, Some(1), false, b"x")),
        ("PUBACK", vec![0x40, 2, 0, 1]),
        ("PUBREC", vec![0x50, 2, 0, 1]),
        ("PUBREL", vec![0x62, 2, 0, 1]),
        ("PUBCOMP", vec![0x70, 2, 0, 1]),
        ("SUBSCRIBE", subscribe(4, 1, &["x".to_owned()])),
        ("SUBACK", vec![0x90, 3, 0, 1, 0]),
        ("UNSUBSCRIBE", vec![0xA2, 5, 0, 1, 0, 1, b'x']),
        ("UNSUBACK", vec![0xB0, 2, 0, 1]),
        ("PINGREQ", vec![0xC0, 0]),
        ("PINGRESP", vec![0xD0, 0]),
        ("DISCONNECT", vec![0xE0, 0]),
        ("AUTH", vec![0xF0, 2, 0x18, 0]),
        ("a packet of type 0", vec![0x00, 0]),
    ];
    for (name, bytes) in good {
        cases.push(Case::first(4, format!("{name} before CONNECT"), bytes.clone()));
        let then = [bytes, connect(4, DEVICE, None)].concat();
        cases.push(Case::first(4, format!("{name} before CONNECT, which follows"), then));
    }
    cases.push(
        Case::first(4, "half a SUBSCRIBE before CONNECT", vec![0x82, 60, 0, 1, 0, 50, b'x']).answered(Wanted::End),
    );
    cases.push(Case::later(4, "a CONNECT of another version", connect(5, DEVICE, None), MALFORMED));
    cases
}
