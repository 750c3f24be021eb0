//! One packet, and what must come of it.

use crate::wire::{Heard, packet};

/// What must come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The end, without a word: all that MQTT 3.1.1 has, and MQTT 5 before its CONNECT is understood.
    End,
    /// DISCONNECT with this reason, of MQTT 5.
    Disconnect(u8),
    /// DISCONNECT as malformed or as a protocol error: the specification has it the second, and the codec, which finds it
    /// while it reads, makes no difference.
    DisconnectUnread,
    /// CONNACK with this code.
    Connack(u8),
    /// CONNACK of welcome: the good ones beside the bad.
    LetIn,
}

impl Wanted {
    pub(crate) fn is(self, heard: &Heard) -> bool {
        match (self, heard) {
            (Self::End, Heard::End) => true,
            (Self::Disconnect(reason), Heard::Packet(0xE0, body)) => body.first() == Some(&reason),
            (Self::DisconnectUnread, Heard::Packet(0xE0, body)) => {
                matches!(body.first(), Some(&(MALFORMED | PROTOCOL)))
            }
            (Self::Connack(code), Heard::Packet(0x20, body)) => code != 0 && body.get(1) == Some(&code),
            (Self::LetIn, Heard::Packet(0x20, body)) => body.get(1) == Some(&0),
            _ => false,
        }
    }
}

// Reason codes of MQTT 5 (section 2.4).
pub(crate) const MALFORMED: u8 = 0x81;
pub(crate) const PROTOCOL: u8 = 0x82;
pub(crate) const TOPIC_INVALID: u8 = 0x90;
pub(crate) const ALIAS_INVALID: u8 = 0x94;
pub(crate) const TOO_LARGE: u8 = 0x95;
pub(crate) const NO_QOS: u8 = 0x9B;
pub(crate) const NO_IDENTIFIERS: u8 = 0xA1;

/// One packet.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) version: u8,
    pub(crate) name: String,
    /// Whether a good CONNECT goes before it.
    pub(crate) is_connected: bool,
    pub(crate) bytes: Vec<u8>,
    pub(crate) wanted: Wanted,
    /// Why the answer is known not to be the one that is due.
    pub(crate) open: Option<&'static str>,
}

/// The reason of a protocol error that the codec finds; see [`Wanted::DisconnectUnread`].
pub(crate) const UNREAD: u8 = 0;

impl Case {
    /// Bytes instead of a CONNECT: nothing is answered.
    pub(crate) fn first(version: u8, name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { version, name: name.into(), is_connected: false, bytes, wanted: Wanted::End, open: None }
    }

    /// Bytes behind a good CONNECT, with the reason that MQTT 5 is told.
    pub(crate) fn later(version: u8, name: impl Into<String>, bytes: Vec<u8>, reason: u8) -> Self {
        let wanted = match (version, reason) {
            (5, UNREAD) => Wanted::DisconnectUnread,
            (5, _) => Wanted::Disconnect(reason),
            _ => Wanted::End,
        };
        Self { version, name: name.into(), is_connected: true, bytes, wanted, open: None }
    }

    /// The same with another answer due.
    pub(crate) fn answered(self, wanted: Wanted) -> Self {
        Self { wanted, ..self }
    }
}

/// `first` with every part of `body` that is a beginning of it, shorter than `until`.
pub(crate) fn cuts(first: u8, body: &[u8], until: usize) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..until.min(body.len())).map(move |end| (end, packet(first, &body[..end])))
}
