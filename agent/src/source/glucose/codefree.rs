//! SD Biosensor CodeFree: the meter begins when it is switched on, and gives one record for each word of thanks.
//!
//! Facts: glucometers-tech/glucometer-protocols (sd-biosensor/codefree). A frame is `53 direction length message xor AA`,
//! direction 20 from the meter and 10 to it, its length that of message, xor and AA. It says no serial number. Values are
//! in mg/dL.

use std::time::Duration;

use proto::Value;

use super::harvest::Harvest;
use super::record::{Measured, Quantity, Record};
use super::session::{Protocol, Step};
use super::text::datetime;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
const START: u8 = 0x53;
const FROM_METER: u8 = 0x20;
const TO_METER: u8 = 0x10;
const END: u8 = 0xaa;
/// What the meter begins with, and what it takes leave with.
const CHALLENGE: &[u8] = &[0x10, 0x30];
const LEAVE: &[u8] = &[0x10, 0x70];
/// What it is answered, and what it is asked for each record; once more than there are records, it takes its leave.
const ANSWER: &[u8] = &[0x10, 0x40];
const FETCH: &[u8] = &[0x10, 0x60];

/// A CodeFree meter.
#[derive(Default)]
pub(super) struct CodeFree {
    buffer: Vec<u8>,
    /// Records that are still to come; none before the meter said how many.
    left: Option<u16>,
}

impl CodeFree {
    fn take(&mut self, message: &[u8], harvest: &mut Harvest) -> Step {
        match (message, self.left) {
            (CHALLENGE, _) => {
                self.left = None;
                Step::Ask(frame(ANSWER), PATIENCE)
            }
            (LEAVE, Some(0)) => Step::Done(Vec::new()),
            (LEAVE, _) => Step::Bad("ends before its last record", message.to_vec()),
            (&[0x30, high, low, ..], None) => {
                let count = u16::from_be_bytes([high, low]);
                harvest.of(b"", count.into());
                self.left = Some(count);
                Step::Ask(frame(FETCH), PATIENCE)
            }
            // All are fetched, those that are known too: the meter is left only behind the last.
            (record, Some(left @ 1..)) => {
                self.left = Some(left - 1);
                harvest.add(Record::new(record, measured(record)));
                Step::Ask(frame(FETCH), PATIENCE)
            }
            _ => Step::Bad("is out of turn", message.to_vec()),
        }
    }
}

impl Protocol for CodeFree {
    fn begin(&mut self) -> Step {
        self.buffer.clear();
        self.left = None;
        Step::Listen
    }

    fn again(&mut self, question: &[u8]) -> Vec<u8> {
        self.buffer.clear();
        question.to_vec()
    }

    fn listens(&self) -> bool {
        true
    }

    fn half_read(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    fn heard(&mut self, bytes: &[u8], harvest: &mut Harvest) -> Step {
        self.buffer.extend_from_slice(bytes);
        let mut step = Step::More;
        loop {
            harvest.noise.skip_until(&mut self.buffer, |byte| *byte == START);
            let Some(&[_, direction, length]) = self.buffer.first_chunk() else { return step };
            let length = usize::from(length);
            if direction != FROM_METER || length < 3 {
                return Step::Bad("is no frame", std::mem::take(&mut self.buffer));
            }
            if self.buffer.len() < 3 + length {
                return step;
            }
            let frame: Vec<u8> = self.buffer.drain(..3 + length).collect();
            let (message, end) = frame[3..].split_at(length - 2);
            if end != [xor(message), END] {
                return Step::Bad("has a wrong checksum", frame);
            }
            step = match self.take(message, harvest) {
                Step::More => step,
                other => other,
            };
        }
    }
}

fn xor(message: &[u8]) -> u8 {
    message.iter().fold(0, |sum, byte| sum ^ byte)
}

fn frame(message: &[u8]) -> Vec<u8> {
    let length = u8::try_from(message.len() + 2).unwrap_or(u8::MAX);
    [&[START, TO_METER, length], message, &[xor(message), END]].concat()
}

/// Two bytes that say nothing, year, month, day, hour, minute, value (big-endian), mark for meals.
fn measured(record: &[u8]) -> Result<Measured, String> {
    let &[_, _, year, month, day, hour, minute, high, low, meal, ..] = record else {
        return Err("is too short".to_owned());
    };
    let [year, month, day, hour, minute] = [year, month, day, hour, minute].map(i16::from);
    let at = datetime([2_000 + year, month, day, hour, minute, 0]).ok_or("has no date and time")?;
    let value = Value::Number(u16::from_be_bytes([high, low]).into());
    let mut measured = Measured::new(Quantity::GlucoseMgDl, value, at);
    measured.meal = match meal {
        0x00 => None,
        0x10 => Some("before"),
        0x20 => Some("after"),
        _ => return Err("has an unknown mark for meals".to_owned()),
    };
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_form_that_was_published() {
        assert_eq!(frame(FETCH), [0x53, 0x10, 0x04, 0x10, 0x60, 0x70, 0xaa]);
        assert_eq!(xor(CHALLENGE), 0x20, "as in 53 20 04 10 30 20 AA");
    }
}
