//! MQTT 3.1.1 as far as one that only listens speaks it (OASIS standard, 29 October 2014): bytes in, packets out.
//!
//! What is too long is not held: its beginning is kept to be told of, the rest is skipped, and it can be acknowledged. A
//! client that hangs up instead is sent the same message again with each connection, for ever.

/// Asks whether the broker is there.
pub(super) const PING: [u8; 2] = [0xc0, 0];
/// Takes leave.
pub(super) const DISCONNECT: [u8; 2] = [0xe0, 0];

/// Bytes kept of a payload that is too long.
const BEGINNING_BYTES: usize = 256;
/// Bytes that an answer may have which is no message.
const ANSWER_BYTES_MAX: usize = 1_024;

/// What a broker says to who listens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// The answer to [`connect`]; code 0 is welcome.
    ConnAck {
        session_present: bool,
        code: u8,
    },
    /// The answer to [`subscribe`]: the QoS granted to each filter, or 0x80.
    SubAck(Vec<u8>),
    Publish(Publish),
    /// The answer to [`PING`].
    Pong,
    /// Something that tells nothing but that the broker is there.
    Other,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Publish {
    /// As it came: a broker that does not check may forward what is no UTF-8.
    pub(super) topic: Vec<u8>,
    /// At QoS 1; none is QoS 0.
    pub(super) id: Option<u16>,
    /// The broker sends it again.
    pub(super) dup: bool,
    /// It was kept by the broker from before.
    pub(super) retain: bool,
    /// The content; of one that is too long, the beginning.
    pub(super) payload: Vec<u8>,
    /// Bytes of the whole content.
    pub(super) length: usize,
}

impl Publish {
    /// Whether `payload` is only its beginning.
    pub(super) fn is_cut(&self) -> bool {
        self.length > self.payload.len()
    }
}

/// Finds packets in bytes that come in pieces. It holds one message of the longest kind, and one piece.
#[derive(Debug)]
pub(super) struct Reader {
    held: Vec<u8>,
    /// Where the first unread byte is.
    start: usize,
    /// Bytes of a message that is too long that are still to come.
    skip: usize,
    /// That message.
    cut: Option<Publish>,
    payload_bytes_max: usize,
}

impl Reader {
    pub(super) fn new(payload_bytes_max: usize) -> Self {
        Self { held: Vec::new(), start: 0, skip: 0, cut: None, payload_bytes_max }
    }

    /// Takes the next piece. What came before is to be read first, with [`Self::next`].
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.held.drain(..self.start);
        self.start = 0;
        self.held.extend_from_slice(bytes);
    }

    /// The next whole packet. Fails where it is none: nothing that follows can be read then.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, String> {
        if let Some(publish) = self.cut.take() {
            let here = self.skip.min(self.held.len() - self.start);
            self.start += here;
            self.skip -= here;
            if self.skip == 0 {
                return Ok(Some(Packet::Publish(publish)));
            }
            self.cut = Some(publish);
            return Ok(None);
        }
        let bytes = &self.held[self.start..];
        let Some((first, length, header)) = header(bytes)? else { return Ok(None) };
        if first >> 4 == 3 {
            return self.publish(first, length, header);
        }
        if length > ANSWER_BYTES_MAX {
            return Err(format!("the broker's packet of kind {} has {length} bytes", first >> 4));
        }
        let Some(body) = bytes.get(header..header + length) else { return Ok(None) };
        let packet = match (first, body) {
            (0x20, [flags, code]) => Packet::ConnAck { session_present: flags & 1 == 1, code: *code },
            (0x90, [_, _, codes @ ..]) => Packet::SubAck(codes.to_vec()),
            (0xd0, _) => Packet::Pong,
            (0x20 | 0x90, _) => return Err("the broker's answer is cut short".into()),
            _ => Packet::Other,
        };
        self.start += header + length;
        Ok(Some(packet))
    }

    fn publish(&mut self, first: u8, length: usize, header: usize) -> Result<Option<Packet>, String> {
        let bytes = &self.held[self.start + header..];
        let bad = |what: &str| Err(format!("the broker's message {what}"));
        let [high, low, ..] = bytes else {
            return if length < 2 { bad("has no topic") } else { Ok(None) };
        };
        let topic = usize::from(u16::from_be_bytes([*high, *low]));
        let has_id = match first >> 1 & 3 {
            0 => false,
            1 => true,
            _ => return bad("is of a QoS that was not asked for"),
        };
        let before = 2 + topic + if has_id { 2 } else { 0 };
        let Some(payload) = length.checked_sub(before) else { return bad("is shorter than its topic") };
        let kept = if payload > self.payload_bytes_max { payload.min(BEGINNING_BYTES) } else { payload };
        let Some(whole) = bytes.get(..before + kept) else { return Ok(None) };
        let id = has_id.then(|| u16::from_be_bytes([whole[before - 2], whole[before - 1]]));
        if id == Some(0) {
            return bad("has the packet id 0");
        }
        let publish = Publish {
            topic: whole[2..2 + topic].to_vec(),
            id,
            dup: first & 8 != 0,
            retain: first & 1 != 0,
            payload: whole[before..].to_vec(),
            length: payload,
        };
        self.start += header + before + kept;
        if !publish.is_cut() {
            return Ok(Some(Packet::Publish(publish)));
        }
        self.skip = payload - kept;
        self.cut = Some(publish);
        self.next()
    }
}

/// The first byte, the length of the rest, and how many bytes say so.
fn header(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, String> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
    let mut length = 0;
    for (place, byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((*first, length, place + 2)));
        }
    }
    if rest.len() < 4 { Ok(None) } else { Err("the broker's packet says no length; is this MQTT?".into()) }
}

/// Who connects.
pub(super) struct Connect<'a> {
    pub(super) client_id: &'a str,
    /// Whether the broker is to forget what it kept for this client.
    pub(super) clean: bool,
    pub(super) keep_alive_s: u16,
    pub(super) user: Option<&'a str>,
    pub(super) password: Option<&'a [u8]>,
}

impl Connect<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let flag = |is: bool, bit: u8| u8::from(is) << bit;
        let flags = flag(self.clean, 1) | flag(self.password.is_some(), 6) | flag(self.user.is_some(), 7);
        let mut body = text(b"MQTT");
        body.extend([4, flags]);
        body.extend(self.keep_alive_s.to_be_bytes());
        body.extend(text(self.client_id.as_bytes()));
        body.extend(self.user.iter().flat_map(|user| text(user.as_bytes())));
        body.extend(self.password.iter().flat_map(|password| text(password)));
        packet(0x10, &body)
    }
}

/// Asks for messages at QoS 1.
pub(super) fn subscribe<'a>(filters: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut body = vec![0, 1];
    for filter in filters {
        body.extend(text(filter.as_bytes()));
        body.push(1);
    }
    packet(0x82, &body)
}

/// Says that a message is safe here.
pub(super) fn acknowledge(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x40, 2, high, low]
}

/// A message at QoS 0.
pub(super) fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    packet(0x30, &[&text(topic.as_bytes()), payload].concat())
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut bytes, mut length) = (vec![first], body.len());
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or(0);
        length >>= 7;
        if length == 0 {
            bytes.push(low);
            break;
        }
        bytes.push(low | 0x80);
    }
    bytes.extend_from_slice(body);
    bytes
}

/// Settings are far shorter than what is cut here.
fn text(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), &bytes[..usize::from(length)]].concat()
}
