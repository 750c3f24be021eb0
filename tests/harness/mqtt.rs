//! MQTT 3.1.1 as far as both ends of our line speak it, written for tests from the standard (OASIS, 29 October 2014):
//! it shares no code with agent or gateway, and can say what neither of them ever would.

use std::io;

pub mod stream;

pub use stream::Stream;

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A client wants in; user name and password are not told.
    Connect {
        /// Its name.
        client: String,
        /// Whether what was before is forgotten.
        clean: bool,
        /// Seconds.
        keep_alive_s: u16,
    },
    /// The answer.
    ConnAck {
        /// Whether the server says that it kept the session.
        session_present: bool,
        /// 0 is accepted.
        code: u8,
    },
    /// A message.
    Publish {
        /// Where to.
        topic: String,
        /// At QoS 1; none is QoS 0.
        id: Option<u16>,
        /// Whether the sender says that it sends this again.
        dup: bool,
        /// Whether it is to be kept.
        retain: bool,
        /// The content.
        payload: Vec<u8>,
    },
    /// It came.
    PubAck(u16),
    /// A client wants to hear.
    Subscribe {
        /// To be named by the answer.
        id: u16,
        /// What, and at which QoS.
        filters: Vec<(String, u8)>,
    },
    /// The answer; a code for each filter.
    SubAck {
        /// As asked.
        id: u16,
        /// The QoS that was granted; 0x80 is refused.
        codes: Vec<u8>,
    },
    /// Are you there?
    PingReq,
    /// Yes.
    PingResp,
    /// The client goes, in order.
    Disconnect,
}

/// Packets larger than this are none that we wait for.
const PACKET_BYTES_MAX: usize = 1024 * 1024;

impl Packet {
    /// The bytes.
    ///
    /// # Panics
    /// When a text or the whole is longer than MQTT allows.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (first, body) = match self {
            Self::Connect { client, clean, keep_alive_s } => {
                let mut body = text("MQTT");
                body.extend([4, u8::from(*clean) << 1]);
                body.extend(keep_alive_s.to_be_bytes());
                body.extend(text(client));
                (0x10, body)
            }
            Self::ConnAck { session_present, code } => (0x20, vec![u8::from(*session_present), *code]),
            Self::Publish { topic, id, dup, retain, payload } => {
                let mut body = text(topic);
                body.extend(id.iter().flat_map(|id| id.to_be_bytes()));
                body.extend(payload);
                (0x30 | u8::from(*dup) << 3 | u8::from(id.is_some()) << 1 | u8::from(*retain), body)
            }
            Self::PubAck(id) => (0x40, id.to_be_bytes().to_vec()),
            Self::Subscribe { id, filters } => {
                let mut body = id.to_be_bytes().to_vec();
                filters.iter().for_each(|(filter, qos)| body.extend(text(filter).into_iter().chain([*qos])));
                (0x82, body)
            }
            Self::SubAck { id, codes } => (0x90, [&id.to_be_bytes(), codes.as_slice()].concat()),
            Self::PingReq => (0xc0, vec![]),
            Self::PingResp => (0xd0, vec![]),
            Self::Disconnect => (0xe0, vec![]),
        };
        let mut bytes = vec![first];
        let mut length = body.len();
        loop {
            let low = u8::try_from(length & 0x7f).expect("seven bits");
            length >>= 7;
            bytes.push(if length > 0 { low | 0x80 } else { low });
            if length == 0 {
                break;
            }
        }
        bytes.extend(body);
        bytes
    }

    /// The packet at the start of `bytes` and its length; none if it is not whole yet.
    ///
    /// # Errors
    /// When it is nothing that we know.
    pub fn decode(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        let (mut length, mut head) = (0, 1);
        for (place, byte) in rest.iter().take(4).enumerate() {
            length |= usize::from(byte & 0x7f) << (7 * place);
            head += 1;
            if byte & 0x80 == 0 {
                if length > PACKET_BYTES_MAX {
                    return Err(strange("a packet of that size"));
                }
                let Some(body) = bytes.get(head..head + length) else { return Ok(None) };
                return Self::of(first, Fields(body)).map(|packet| Some((packet, head + length)));
            }
        }
        if rest.len() >= 4 { Err(strange("a length of more than four bytes")) } else { Ok(None) }
    }

    fn of(first: u8, mut body: Fields<'_>) -> io::Result<Self> {
        Ok(match first >> 4 {
            1 => {
                let (name, level, flags) = (body.text()?, body.byte()?, body.byte()?);
                if name != "MQTT" || level != 4 {
                    return Err(strange("another version"));
                }
                let keep_alive_s = body.number()?;
                Self::Connect { client: body.text()?, clean: flags & 2 != 0, keep_alive_s }
            }
            2 => Self::ConnAck { session_present: body.byte()? & 1 != 0, code: body.byte()? },
            3 => Self::Publish {
                topic: body.text()?,
                id: if first & 6 == 0 { None } else { Some(body.number()?) },
                dup: first & 8 != 0,
                retain: first & 1 != 0,
                payload: body.0.to_vec(),
            },
            4 => Self::PubAck(body.number()?),
            8 => {
                let (id, mut filters) = (body.number()?, Vec::new());
                while !body.0.is_empty() {
                    filters.push((body.text()?, body.byte()?));
                }
                Self::Subscribe { id, filters }
            }
            9 => Self::SubAck { id: body.number()?, codes: body.0.to_vec() },
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            _ => return Err(strange("a packet that has no place here")),
        })
    }
}

/// Two bytes of length, and the text.
fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("MQTT's texts are short");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// What is left of a packet.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take(&mut self, count: usize) -> io::Result<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| strange("a packet that ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> io::Result<u16> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    fn text(&mut self) -> io::Result<String> {
        let length = usize::from(self.number()?);
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| strange("a text that is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_what_the_standard_shows_and_are_read_back() {
        // MQTT 3.1.1, figures 2.2, 3.9, 3.11, 3.22 and 3.28, with these values in them.
        let publish =
            Packet::Publish { topic: "a/b".into(), id: Some(10), dup: true, retain: false, payload: vec![0x55; 130] };
        assert_eq!(publish.encode()[..10], [0x3a, 0x89, 0x01, 0, 3, b'a', b'/', b'b', 0, 10]);
        let subscribe = Packet::Subscribe { id: 7, filters: vec![("c".into(), 1)] };
        assert_eq!(subscribe.encode(), [0x82, 6, 0, 7, 0, 1, b'c', 1]);
        assert_eq!(Packet::PubAck(258).encode(), [0x40, 2, 1, 2]);
        let connect = Packet::Connect { client: "d".into(), clean: true, keep_alive_s: 30 };
        assert_eq!(connect.encode(), [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 30, 0, 1, b'd']);
        let others = [
            Packet::ConnAck { session_present: true, code: 0 },
            Packet::SubAck { id: 7, codes: vec![0] },
            Packet::PingReq,
            Packet::PingResp,
            Packet::Disconnect,
        ];
        for packet in others.into_iter().chain([publish, subscribe, connect]) {
            let bytes = packet.encode();
            assert_eq!(Packet::decode(&bytes).unwrap(), Some((packet, bytes.len())));
            assert!(Packet::decode(&bytes[..bytes.len() - 1]).unwrap().is_none(), "not whole yet");
        }
    }
}
