//! A broker's side of MQTT 3.1.1, as bytes: written from the standard (OASIS, 29 October 2014).

/// What a client said: the first byte, and what follows the length.
pub type Said = (u8, Vec<u8>);

/// PINGRESP.
pub const PONG: [u8; 2] = [0xd0, 0];

/// A message as a broker delivers it.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Where it was published.
    pub topic: &'a str,
    /// At QoS 1; none is QoS 0.
    pub id: Option<u16>,
    /// Whether it is sent again.
    pub dup: bool,
    /// Whether it was kept from before.
    pub retain: bool,
    /// The content.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// A new one at QoS 1.
    #[must_use]
    pub fn new(id: u16, topic: &'a str, payload: &'a [u8]) -> Self {
        Self { topic, id: Some(id), dup: false, retain: false, payload }
    }

    /// The bytes (figures 3.10 and 3.11).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let first = 0x30 | u8::from(self.dup) << 3 | u8::from(self.id.is_some()) << 1 | u8::from(self.retain);
        let mut body = text(self.topic.as_bytes());
        body.extend(self.id.iter().flat_map(|id| id.to_be_bytes()));
        body.extend(self.payload);
        packet(first, &body)
    }
}

/// CONNACK.
#[must_use]
pub fn welcome(session_present: bool, code: u8) -> Vec<u8> {
    vec![0x20, 2, u8::from(session_present), code]
}

/// SUBACK to the packet with id 1.
#[must_use]
pub fn subscribed(codes: &[u8]) -> Vec<u8> {
    packet(0x90, &[&[0, 1], codes].concat())
}

/// Any packet.
#[must_use]
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut bytes, mut left) = (vec![first], body.len());
    // The algorithm of section 2.2.3.
    loop {
        let digit = u8::try_from(left % 128).expect("less than 128");
        left /= 128;
        bytes.push(if left > 0 { digit | 128 } else { digit });
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// Two bytes of length, and the text.
#[must_use]
pub fn text(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("MQTT's texts are short");
    [&length.to_be_bytes(), text].concat()
}

/// What a client said, packet by packet.
///
/// # Panics
/// When a packet is not whole.
#[must_use]
pub fn said(mut bytes: &[u8]) -> Vec<Said> {
    let mut all = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        let (mut length, mut factor, mut used) = (0, 1, 0);
        loop {
            let digit = rest[used];
            used += 1;
            length += usize::from(digit % 128) * factor;
            factor *= 128;
            if digit < 128 {
                break;
            }
        }
        all.push((*first, rest[used..used + length].to_vec()));
        bytes = &rest[used + length..];
    }
    all
}

/// The packet ids that a client acknowledged.
#[must_use]
pub fn acknowledged(bytes: &[u8]) -> Vec<u16> {
    let ids = said(bytes).into_iter().filter(|(first, _)| *first == 0x40);
    ids.map(|(_, body)| u16::from_be_bytes([body[0], body[1]])).collect()
}
