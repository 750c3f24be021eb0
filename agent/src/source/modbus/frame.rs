//! Requests and answers on the wire: Modbus over serial line 1.02, and Modbus messaging on TCP/IP 1.0b.
//!
//! The crates there are build and check a frame that was already cut out of the stream. Cutting it out, among noise,
//! echoes and late answers, is most of the work, and the rest is less than their interface.

use super::register::Space;
use crate::source::crc::crc16;
use crate::source::device::Noise;

/// How a request is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Address, request, CRC.
    Rtu,
    /// Header with a transaction's number and a length, request.
    Tcp,
}

/// What is asked of one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) slave: u8,
    pub(super) space: Space,
    pub(super) start: u16,
    /// Registers, or bits.
    pub(super) count: u16,
}

/// What came of it so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Not enough.
    More,
    /// Registers or bits, as asked for.
    Data(Vec<u8>),
    /// The device refuses, with a code.
    Exception(u8),
    /// An answer that cannot be used, and why.
    Bad(&'static str, Vec<u8>),
    /// What comes is no Modbus in this framing.
    Lost(&'static str),
}

/// What `Bad` says of a frame that was damaged.
pub(super) const WRONG_CRC: &str = "has a wrong checksum";
/// Bytes of the header on TCP.
const HEADER: usize = 7;
/// An exception's function has this bit.
const REFUSED: u8 = 0x80;
/// Bytes that may wait: an answer has 260 at most.
const HELD_MAX: usize = 4_096 + 260;

impl Request {
    /// Bytes of the values in its answer.
    fn data_bytes(&self) -> usize {
        if self.space.is_bits() { usize::from(self.count).div_ceil(8) } else { 2 * usize::from(self.count) }
    }

    /// Bytes of question and answer on a serial line together.
    pub(super) fn line_bytes(&self) -> usize {
        8 + 5 + self.data_bytes()
    }

    fn bytes(&self, framing: Framing, transaction: u16) -> Vec<u8> {
        let [start, count] = [self.start.to_be_bytes(), self.count.to_be_bytes()];
        let question = [self.slave, self.space.function(), start[0], start[1], count[0], count[1]];
        let [high, low] = transaction.to_be_bytes();
        match framing {
            Framing::Tcp => [&[high, low, 0, 0, 0, 6], &question[..]].concat(),
            Framing::Rtu => [&question[..], &crc16(0xffff, &question).to_le_bytes()].concat(),
        }
    }
}

/// The wire, and what is under way on it.
#[derive(Debug)]
pub(super) struct Wire {
    framing: Framing,
    held: Vec<u8>,
    /// The question that is open.
    asked: Option<Request>,
    /// Its bytes, as some adapters give them back, until they did.
    echo: Vec<u8>,
    transaction: u16,
    pub(super) noise: Noise,
}

impl Wire {
    pub(super) fn new(framing: Framing) -> Self {
        Self { framing, held: Vec::new(), asked: None, echo: Vec::new(), transaction: 0, noise: Noise::default() }
    }

    /// The bytes of a new question. What was under way is forgotten.
    pub(super) fn ask(&mut self, request: Request) -> Vec<u8> {
        self.transaction = self.transaction.wrapping_add(1);
        let bytes = request.bytes(self.framing, self.transaction);
        if self.framing == Framing::Rtu {
            self.forget();
            self.echo.clone_from(&bytes);
        }
        self.asked = Some(request);
        bytes
    }

    /// Whether an answer says which question it is to.
    pub(super) fn is_numbered(&self) -> bool {
        self.framing == Framing::Tcp
    }

    /// What is held belongs to no question any more.
    pub(super) fn forget(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.noise.skip(&held);
        (self.asked, self.echo) = (None, Vec::new());
    }

    /// The port was opened anew.
    pub(super) fn reset(&mut self) {
        self.held.clear();
        self.forget();
    }

    /// Takes bytes, and looks for the answer in all that is held.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Heard {
        self.held.extend_from_slice(bytes);
        let Some(request) = self.asked else {
            if self.framing == Framing::Rtu {
                self.forget(); // nobody asked
            }
            return if self.held.len() > HELD_MAX { Heard::Lost("it says more than it is asked") } else { Heard::More };
        };
        let heard = match self.framing {
            Framing::Rtu => self.rtu(request),
            Framing::Tcp => self.tcp(request),
        };
        if heard != Heard::More {
            self.asked = None;
        }
        heard
    }

    fn rtu(&mut self, request: Request) -> Heard {
        if !self.echo.is_empty() && self.held.starts_with(&self.echo) {
            self.held.drain(..self.echo.len());
            self.echo.clear();
        } else if self.echo.starts_with(&self.held) {
            return Heard::More;
        }
        let function = request.space.function();
        let mut at = 0;
        let heard = loop {
            let left = &self.held[at..];
            let whole = match left {
                [] => break Heard::More,
                [slave, ..] if *slave != request.slave => None,
                [_] | [_, _] if left.get(1).is_none_or(|byte| byte & !REFUSED == function) => break Heard::More,
                [_, refused, ..] if *refused == function | REFUSED => Some(5),
                [_, read, count, ..] if *read == function && usize::from(*count) == request.data_bytes() => {
                    Some(5 + request.data_bytes())
                }
                _ => None,
            };
            let Some(length) = whole else {
                at += 1;
                continue;
            };
            let Some(frame) = left.get(..length) else { break Heard::More };
            let (said, crc) = frame.split_at(length - 2);
            at += length;
            break match (crc16(0xffff, said).to_le_bytes() == crc, said[1] & REFUSED) {
                (false, _) => Heard::Bad(WRONG_CRC, frame.to_vec()),
                (true, 0) => Heard::Data(said[3..].to_vec()),
                (true, _) => Heard::Exception(said[2]),
            };
        };
        let taken = match &heard {
            Heard::Data(data) => 5 + data.len(),
            Heard::Exception(_) => 5,
            Heard::Bad(_, frame) => frame.len(),
            _ => 0,
        };
        self.noise.skip(&self.held[..at - taken]);
        self.held.drain(..at);
        heard
    }

    fn tcp(&mut self, request: Request) -> Heard {
        while let Some([high, low, 0, 0, long, short, slave]) = self.held.first_chunk::<HEADER>().copied() {
            let length = usize::from(u16::from_be_bytes([long, short]));
            if !(3..=254).contains(&length) {
                return Heard::Lost(NO_TCP);
            }
            let Some(frame) = self.held.get(..6 + length) else { return Heard::More };
            let (said, bytes) = (frame[HEADER..].to_vec(), frame.to_vec());
            self.held.drain(..6 + length);
            if u16::from_be_bytes([high, low]) != self.transaction {
                continue; // the late answer to a question that was given up
            }
            let function = request.space.function();
            return match said.split_first() {
                _ if slave != request.slave => Heard::Bad("is from another device than was asked", bytes),
                Some((refused, [code])) if *refused == function | REFUSED => Heard::Exception(*code),
                Some((read, [count, data @ ..]))
                    if *read == function && data.len() == request.data_bytes() && usize::from(*count) == data.len() =>
                {
                    Heard::Data(data.to_vec())
                }
                _ => Heard::Bad("is no answer to what was asked", bytes),
            };
        }
        if self.held.len() < HEADER { Heard::More } else { Heard::Lost(NO_TCP) }
    }
}

const NO_TCP: &str =
    "what it says is no Modbus TCP; for a gateway that passes a serial line through set framing = \"rtu\"";
