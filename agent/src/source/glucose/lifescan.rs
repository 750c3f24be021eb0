//! LifeScan's binary protocol: OneTouch UltraMini and UltraEasy, and Verio IQ.
//!
//! Facts: glucometers-tech/glucometer-protocols (lifescan/shared-binary-protocol, onetouch-ultraeasy,
//! onetouch-verio-iq), tidepool-org/uploader. A frame is `02 length link message 03 crc`, its length all of it, the CRC-16
//! (CCITT, from FFFF) little-endian. UltraMini counts frames in the link byte and acknowledges each; Verio IQ does neither.
//! Values are in mg/dL, whatever the display shows; times are seconds of the meter's local clock.

use std::time::Duration;

use proto::{State, Value};

use super::harvest::Harvest;
use super::record::{Measured, Quantity, Record, control};
use super::session::{Protocol, Step};
use super::text::seconds_after;
use crate::source::device::Noise;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// What these meters measure, in mg/dL. Beyond, they show LO and HI and keep another number.
const RANGE: std::ops::RangeInclusive<u32> = 20..=600;
/// Bits of the link byte: the number of this frame and of the next one expected, and what the frame is.
const SENT: u8 = 1;
const EXPECTED: u8 = 2;
const ACK: u8 = 4;
const DISCONNECT: u8 = 8;
/// The number of no record: asked for, UltraMini says how many there are.
const HOW_MANY: u16 = 501;

/// A OneTouch meter of either kind.
pub(super) struct LifeScan {
    verio: bool,
    buffer: Vec<u8>,
    /// The bits of the link byte for what is sent next.
    link: u8,
    wants: Wants,
    /// What is asked once the meter has counted from zero again.
    waiting: Option<Vec<u8>>,
    serial: Vec<u8>,
}

/// What the next answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    Serial,
    Count,
    Record,
}

impl LifeScan {
    pub(super) fn ultra_mini() -> Self {
        let (buffer, serial) = (Vec::new(), Vec::new());
        Self { verio: false, buffer, link: 0, wants: Wants::Serial, waiting: None, serial }
    }

    pub(super) fn verio_iq() -> Self {
        Self { verio: true, ..Self::ultra_mini() }
    }

    /// Asks for what is wanted, `number` being the record's.
    fn ask(&mut self, wants: Wants, number: u16, before: Vec<u8>) -> Step {
        self.wants = wants;
        let [low, high] = number.to_le_bytes();
        let message: &[u8] = match (wants, self.verio) {
            (Wants::Serial, false) => &[0x05, 0x0b, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            (Wants::Count, false) => &[0x05, 0x1f, HOW_MANY.to_le_bytes()[0], HOW_MANY.to_le_bytes()[1]],
            (Wants::Record, false) => &[0x05, 0x1f, low, high],
            (Wants::Serial, true) => &[0x03, 0x0b, 0x01, 0x02],
            (Wants::Count, true) => &[0x03, 0x27, 0x00],
            (Wants::Record, true) => &[0x03, 0x21, low, high],
        };
        let mut bytes = before;
        bytes.extend(frame(self.link, message));
        Step::Ask(bytes, PATIENCE)
    }

    /// Takes one frame.
    fn take(&mut self, link: u8, message: &[u8], harvest: &mut Harvest) -> Step {
        if link & DISCONNECT != 0 {
            self.link = 0;
            return self.waiting.take().map_or(Step::More, |message| Step::Tell(frame(0, &message)));
        }
        if message.is_empty() || self.waiting.is_some() {
            return Step::More; // an acknowledgement, or an answer to what is to be asked again
        }
        let mut reply = Vec::new();
        if !self.verio {
            if (link & SENT != 0) != (self.link & EXPECTED != 0) {
                return Step::Bad("is out of turn", message.to_vec());
            }
            self.link ^= SENT | EXPECTED;
            reply = frame(self.link | ACK, &[]);
        }
        match self.understand(message, harvest) {
            Ok(Some((wants, number))) => self.ask(wants, number, reply),
            Ok(None) => Step::Done(reply),
            Err(problem) => Step::Bad(problem, message.to_vec()),
        }
    }

    /// What an answer says, and what to ask next.
    fn understand(&mut self, message: &[u8], harvest: &mut Harvest) -> Result<Option<(Wants, u16)>, &'static str> {
        // UltraMini answers 0F to the number of no record, by design.
        let (status, said) = message.split_at_checked(2).ok_or("is too short")?;
        let is_count = !self.verio && self.wants == Wants::Count && status[1] == 0x0f;
        if status[1] != 0x06 && !is_count {
            return Err("is a refusal");
        }
        match self.wants {
            Wants::Serial => {
                self.serial = said.to_vec();
                return Ok(Some((Wants::Count, 0)));
            }
            Wants::Count => {
                let count = said.first_chunk().map(|bytes| u16::from_le_bytes(*bytes)).ok_or("is too short")?;
                harvest.of(&self.serial, count.into());
            }
            Wants::Record => {
                harvest.add(Record::new(said, self.measured(said)));
            }
        }
        Ok(harvest.wanted().map(|number| (Wants::Record, number)))
    }

    fn measured(&self, said: &[u8]) -> Result<Measured, String> {
        let (seconds, rest) = said.split_first_chunk::<4>().ok_or("is too short")?;
        let year = if self.verio { 2_000 } else { 1_970 };
        let at = seconds_after(year, u32::from_le_bytes(*seconds)).ok_or("has no date and time")?;
        let (number, is_control, meal) = match *rest {
            [low, high, is_control, meal, ..] if self.verio => {
                (u16::from_le_bytes([low, high]).into(), is_control, meal)
            }
            [a, b, c, d, ..] if !self.verio => (u32::from_le_bytes([a, b, c, d]), 0, 0),
            _ => return Err("is too short".to_owned()),
        };
        let value = match (is_control, number) {
            (1.., number) => control(i32::try_from(number).map_err(|_| "has no value")?),
            (_, number) if number < *RANGE.start() => Value::State(State::Low(20)),
            (_, number) if number > *RANGE.end() => Value::State(State::High(600)),
            (_, number) => Value::Number(number.into()),
        };
        let mut measured = Measured::new(Quantity::GlucoseMgDl, value, at);
        measured.meal = match meal {
            0 => None,
            1 => Some("before"),
            2 => Some("after"),
            _ => return Err("has an unknown mark for meals".to_owned()),
        };
        Ok(measured)
    }
}

impl Protocol for LifeScan {
    fn begin(&mut self) -> Step {
        self.buffer.clear();
        self.link = 0;
        if self.verio {
            return self.ask(Wants::Serial, 0, Vec::new());
        }
        let Step::Ask(bytes, patience) = self.ask(Wants::Serial, 0, Vec::new()) else { return Step::More };
        self.waiting = Some(message_of(&bytes));
        Step::Ask(frame(DISCONNECT, &[]), patience)
    }

    fn again(&mut self, question: &[u8]) -> Vec<u8> {
        self.buffer.clear();
        if self.verio {
            return question.to_vec();
        }
        // Who counts how far is not known now: both begin anew, then the question is repeated.
        if self.waiting.is_none() {
            self.waiting = Some(message_of(question));
        }
        frame(DISCONNECT, &[])
    }

    fn half_read(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    fn heard(&mut self, bytes: &[u8], harvest: &mut Harvest) -> Step {
        self.buffer.extend_from_slice(bytes);
        let mut step = Step::More;
        while let Some(found) = next_frame(&mut self.buffer, &mut harvest.noise) {
            let Ok((link, message)) = found else {
                return Step::Bad("has a wrong checksum", std::mem::take(&mut self.buffer));
            };
            step = match self.take(link, &message, harvest) {
                // What was wanted before stands while more is awaited.
                Step::More => step,
                other => other,
            };
        }
        step
    }
}

/// CRC-16/CCITT-FALSE.
fn crc16(bytes: &[u8]) -> u16 {
    let shift = |crc: u16| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
    bytes.iter().fold(0xffff, |crc, byte| (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| shift(crc)))
}

/// A frame around `message`, which is short.
fn frame(link: u8, message: &[u8]) -> Vec<u8> {
    let length = u8::try_from(message.len() + 6).unwrap_or(u8::MAX);
    let mut bytes = vec![0x02, length, link];
    bytes.extend_from_slice(message);
    bytes.push(0x03);
    bytes.extend(crc16(&bytes).to_le_bytes());
    bytes
}

/// The message of the last of our own frames in `bytes`.
fn message_of(bytes: &[u8]) -> Vec<u8> {
    let mut buffer = bytes.to_vec();
    let mut message = Vec::new();
    while let Some(Ok((_, next))) = next_frame(&mut buffer, &mut Noise::default()) {
        message = next;
    }
    message
}

/// Takes the next frame off the beginning of `buffer`; an error where there is what looks like one and is not. Bytes
/// before it belong to none. At most one frame of 255 bytes is held.
fn next_frame(buffer: &mut Vec<u8>, noise: &mut Noise) -> Option<Result<(u8, Vec<u8>), ()>> {
    noise.skip_until(buffer, |byte| *byte == 0x02);
    let length = usize::from(*buffer.get(1)?);
    if length < 6 {
        return Some(Err(()));
    }
    if buffer.len() < length {
        return None;
    }
    let bytes: Vec<u8> = buffer.drain(..length).collect();
    let (content, crc) = bytes.split_at(length - 2);
    let is_whole = crc == crc16(content).to_le_bytes() && content.ends_with(&[0x03]);
    Some(if is_whole { Ok((content[2], content[3..length - 3].to_vec())) } else { Err(()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tidepool-org/uploader:lib/crc.js, and what LifeScan's meters are sent.
    #[test]
    fn frames_are_those_that_were_published() {
        assert_eq!((crc16(&[0x02, 0x06, 0x06, 0x03]), crc16(&[0x02, 0x06, 0x08, 0x03])), (0x41cd, 0x62c2));
        assert_eq!(crc16(b"123456789"), 0x29b1);
        assert_eq!(frame(DISCONNECT, &[]), [0x02, 0x06, 0x08, 0x03, 0xc2, 0x62]);
        assert_eq!(frame(3, &[0x05, 0x0d, 0x02]), [0x02, 0x09, 0x03, 0x05, 0x0d, 0x02, 0x03, 0x08, 0x9f]);
    }
}
