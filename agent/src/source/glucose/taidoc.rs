//! TaiDoc TD-42xx and the meters that are sold under other names (GlucoRx Nexus and others).
//!
//! Facts: glucometers-tech/glucometer-protocols (taidoc/td42xx), tidepool-org/uploader (glucorx). A frame has 8 bytes: `51
//! command d0 d1 d2 d3 A3` and the sum of all before it; answers have A5 for A3. Records are numbered from 0. Values are in
//! mg/dL, whatever the display shows; ketone is in units of 1/300 mmol/L, of which the display shows whole tenths.

use std::time::Duration;

use jiff::civil::DateTime;
use proto::{State, Value};

use super::harvest::Harvest;
use super::record::{Measured, Quantity, Record, control};
use super::session::{Protocol, Step};
use super::text::datetime;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// What these meters measure, in mg/dL: beyond, they show Lo and Hi.
const RANGE: std::ops::RangeInclusive<u16> = 20..=600;
/// Ketone is counted in parts of a mmol/L, up to so many mmol/L.
const KETONE_PARTS: u16 = 300;
const KETONE_MAX: u16 = 8;
const START: u8 = 0x51;
const TO_METER: u8 = 0xa3;
const FROM_METER: u8 = 0xa5;
/// Commands.
const CONNECT: u8 = 0x22;
const TIME: u8 = 0x25;
const VALUE: u8 = 0x26;
const SERIAL_LOW: u8 = 0x27;
const SERIAL_HIGH: u8 = 0x28;
const COUNT: u8 = 0x2b;
/// What a meter says when it begins to listen, or in place of the answer to `CONNECT`.
const LISTENING: [u8; 2] = [0x54, 0x24];

/// A TaiDoc meter.
#[derive(Default)]
pub(super) struct TaiDoc {
    buffer: Vec<u8>,
    asked: u8,
    serial: Vec<u8>,
    /// The present record's number, and its time as it came.
    record: (u16, [u8; 4]),
}

impl TaiDoc {
    fn ask(&mut self, command: u8, number: u16) -> Step {
        self.asked = command;
        let [low, high] = number.to_le_bytes();
        let mut frame = vec![START, command, low, high, 0, 0, TO_METER];
        frame.push(sum8(&frame));
        Step::Ask(frame, PATIENCE)
    }

    fn ask_record(&mut self, harvest: &mut Harvest) -> Step {
        match harvest.wanted() {
            Some(number) => {
                self.record.0 = number;
                self.ask(TIME, number)
            }
            None => Step::Done(Vec::new()),
        }
    }

    fn take(&mut self, command: u8, data: [u8; 4], harvest: &mut Harvest) -> Step {
        if command != self.asked {
            let is_start = self.asked == CONNECT && LISTENING.contains(&command);
            return if is_start { self.ask(SERIAL_LOW, 0) } else { Step::More };
        }
        match command {
            CONNECT => self.ask(SERIAL_LOW, 0),
            SERIAL_LOW => {
                self.serial = data.to_vec();
                self.ask(SERIAL_HIGH, 0)
            }
            SERIAL_HIGH => {
                self.serial.extend(data);
                self.ask(COUNT, 0)
            }
            COUNT => {
                harvest.of(&self.serial, u16::from_le_bytes([data[0], data[1]]).into());
                self.ask_record(harvest)
            }
            TIME => {
                self.record.1 = data;
                self.ask(VALUE, self.record.0)
            }
            _ => {
                let whole = [self.record.1, data].concat();
                harvest.add(Record::new(&whole, measured(self.record.1, data)));
                self.ask_record(harvest)
            }
        }
    }
}

impl Protocol for TaiDoc {
    fn begin(&mut self) -> Step {
        self.buffer.clear();
        self.ask(CONNECT, 0)
    }

    fn again(&mut self, question: &[u8]) -> Vec<u8> {
        self.buffer.clear();
        question.to_vec()
    }

    fn half_read(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    fn heard(&mut self, bytes: &[u8], harvest: &mut Harvest) -> Step {
        self.buffer.extend_from_slice(bytes);
        let mut step = Step::More;
        loop {
            harvest.noise.skip_until(&mut self.buffer, |byte| *byte == START);
            let Some(&[_, command, a, b, c, d, end, sum]) = self.buffer.first_chunk() else { return step };
            if end != FROM_METER || sum != sum8(&self.buffer[..7]) {
                return Step::Bad("has a wrong checksum", std::mem::take(&mut self.buffer));
            }
            self.buffer.drain(..8);
            step = match self.take(command, [a, b, c, d], harvest) {
                Step::More => step,
                other => other,
            };
        }
    }
}

fn sum8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

/// Day, month and year since 2000 in 16 bits, from the lowest: 5, 4, 7; then minute and hour.
fn time_of([low, high, minute, hour]: [u8; 4]) -> Option<DateTime> {
    let day = i16::from(low & 0x1f);
    let month = i16::from(low >> 5 | (high & 1) << 3);
    let year = 2_000 + i16::from(high >> 1);
    datetime([year, month, day, (hour & 0x1f).into(), (minute & 0x3f).into(), 0])
}

fn measured(time: [u8; 4], [low, high, _, marks]: [u8; 4]) -> Result<Measured, String> {
    let at = time_of(time).ok_or("has no date and time")?;
    let number = u16::from_le_bytes([low, high]);
    let (meal, strip) = (marks >> 6, marks >> 2 & 0x0f);
    let quantity = match strip {
        0 | 6 => Quantity::GlucoseMgDl, // 6: with the hematocrit that corrected it
        7 => Quantity::KetoneMmolL,
        _ => return Err("is a kind of test that is not read here".to_owned()),
    };
    let value = match (meal, quantity) {
        (3, Quantity::KetoneMmolL) => control((number / (KETONE_PARTS / 10)).into()),
        (3, _) => control(number.into()),
        (_, Quantity::KetoneMmolL) if number > KETONE_MAX * KETONE_PARTS => {
            Value::State(State::High(KETONE_MAX.into()))
        }
        // Not cut to what the display shows: the nearest number is kept, from which what was sent can be had again.
        (_, Quantity::KetoneMmolL) => Value::Number(f64::from(number) / f64::from(KETONE_PARTS)),
        _ if number < *RANGE.start() => Value::State(State::Low(20)),
        _ if number > *RANGE.end() => Value::State(State::High(600)),
        _ => Value::Number(number.into()),
    };
    let mut measured = Measured::new(quantity, value, at);
    measured.meal = [None, Some("before"), Some("after"), None][usize::from(meal)];
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    /// glucometers-tech/glucometerutils, its tests of td42xx.
    #[test]
    fn published_times_and_frames_are_read() {
        assert_eq!(time_of([0x21, 0x24, 0x0e, 0x15]), Some(date(2018, 1, 1).at(21, 14, 0, 0)));
        assert_eq!(time_of([0x21, 0x26, 0x0e, 0x15]), Some(date(2019, 1, 1).at(21, 14, 0, 0)));
        assert_eq!(time_of([0x04, 0x27, 0x25, 0x0d]), Some(date(2019, 8, 4).at(13, 37, 0, 0)));
        assert_eq!(time_of([0x00, 0x27, 0x25, 0x0d]), None, "no day 0");
        let Step::Ask(connect, _) = TaiDoc::default().ask(CONNECT, 0) else { panic!("a question") };
        assert_eq!(connect, [0x51, 0x22, 0, 0, 0, 0, 0xa3, 0x16]);
    }

    fn ketone(number: u16, meal: u8) -> Value {
        let [low, high] = number.to_le_bytes();
        let measured = measured([0x21, 0x24, 0x0e, 0x15], [low, high, 0, meal << 6 | 7 << 2]).unwrap();
        assert_eq!(measured.quantity, Quantity::KetoneMmolL);
        measured.value
    }

    #[test]
    fn ketone_is_kept_as_sent_and_not_as_the_display_cuts_it() {
        for number in 0..=2_400_u16 {
            let Value::Number(mmol_l) = ketone(number, 0) else { panic!("{number} is a number") };
            assert_eq!((mmol_l * 300.0).round().to_bits(), f64::from(number).to_bits(), "{number} can be had again");
        }
        for (number, mmol_l) in [(30, 0.1), (150, 0.5), (165, 0.55), (179, 179.0 / 300.0), (2_400, 8.0)] {
            assert_eq!(ketone(number, 2), Value::Number(mmol_l));
        }
        assert_eq!(ketone(2_401, 0), Value::State(State::High(8)));
        assert_eq!(ketone(179, 3), Value::State(State::Control(5)), "control solution, in tenths");
    }
}
