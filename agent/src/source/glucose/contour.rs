//! Ascensia and Bayer Contour meters on a serial cable, by ASTM E1381 frames around E1394 records.
//!
//! Facts: tidepool-org/uploader (bayer), glucometers-tech/glucometerutils (contourusb), the reference of both standards as
//! they have it. The meter sends frames, `02 number text 0D`, 03 or 17, two hexadecimal digits of the sum from the number
//! on, `0D 0A`; each is answered with 06, or with 15 to have it again. A record is `R|number|^^^Glucose|value|unit^method|…
//! |marks|…|time`. The unit is the meter's own, mg/dL or mmol/L, and kept.

use std::time::Duration;

use jiff::civil::DateTime;
use proto::{State, Value};

use super::harvest::Harvest;
use super::record::{Measured, Quantity, Record, control};
use super::session::{Protocol, Step};
use super::text::{datetime, number_of};

/// How long an answer may take: the meter sends 05 every few seconds until it is answered.
const PATIENCE: Duration = Duration::from_secs(10);
const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const EOT: u8 = 0x04;
const ENQ: u8 = 0x05;
const ACK: u8 = 0x06;
const NAK: u8 = 0x15;
const ETB: u8 = 0x17;
/// Bytes of one frame: the standard says 247, and a header is longer.
const FRAME_BYTES_MAX: usize = 1_024;
/// How often frames of one conversation may be asked for again.
const NAKS_MAX: u32 = 20;

/// A Contour meter.
#[derive(Default)]
pub(super) struct Contour {
    buffer: Vec<u8>,
    /// The number of the last frame that was taken: the same again is the same frame.
    last: Option<u8>,
    naks: u32,
    /// Whether the header was taken.
    begun: bool,
    /// Whether the last record was taken, and the header before it: what ends otherwise is cut.
    ended: bool,
}

impl Contour {
    /// Takes one control character or frame off the beginning of the buffer; what to answer, or that it is over.
    fn next(&mut self, harvest: &mut Harvest) -> Option<Step> {
        harvest.noise.skip_until(&mut self.buffer, |byte| [STX, EOT, ENQ].contains(byte));
        let step = match *self.buffer.first()? {
            EOT if self.ended => Step::Done(Vec::new()),
            EOT if self.begun => Step::Bad("ends before its last record", Vec::new()),
            EOT => Step::More,
            // A meter asks once, at the beginning: in between it is noise, and an answer would make it send on.
            ENQ if self.begun => Step::Bad("begins anew in the middle", Vec::new()),
            ENQ => {
                self.last = None;
                Step::Tell(vec![ACK])
            }
            _ => return self.next_frame(harvest),
        };
        self.buffer.remove(0);
        Some(step)
    }

    fn next_frame(&mut self, harvest: &mut Harvest) -> Option<Step> {
        let Some(end) = self.buffer.iter().position(|byte| [ETX, ETB].contains(byte)) else {
            let too_long = self.buffer.len() > FRAME_BYTES_MAX;
            return too_long.then(|| Step::Bad("has a frame that never ends", std::mem::take(&mut self.buffer)));
        };
        let sum = self.buffer.get(end + 1..end + 5)?.trim_ascii_end();
        let sum = std::str::from_utf8(sum).ok().and_then(|sum| u8::from_str_radix(sum, 16).ok());
        let frame: Vec<u8> = self.buffer.drain(..end + 5).collect();
        let content = &frame[1..=end];
        if sum != Some(content.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))) {
            self.naks += 1;
            if self.naks > NAKS_MAX {
                return Some(Step::Bad("has wrong checksums", frame));
            }
            harvest.noise.skip(&frame); // the meter repeats it, and yet it is told
            return Some(Step::Tell(vec![NAK]));
        }
        let [number, text @ .., _] = content else { return Some(Step::Bad("has an empty frame", frame)) };
        let (number, text) = (*number, text.trim_ascii());
        // The frame behind 05 is number 1.
        let is_next = number & 7 == self.last.map_or(1, |last| last.wrapping_add(1) & 7);
        if self.last.replace(number) == Some(number) {
            return Some(Step::Tell(vec![ACK])); // it has not heard that it was taken
        }
        if !is_next {
            return Some(Step::Bad("lacks a frame", frame));
        }
        self.take(&String::from_utf8_lossy(text), harvest);
        Some(Step::Tell(vec![ACK]))
    }

    fn take(&mut self, text: &str, harvest: &mut Harvest) {
        let fields: Vec<&str> = text.split('|').collect();
        match fields[0] {
            "H" => {
                let serial = fields.get(4).and_then(|sender| sender.split('^').nth(2)).unwrap_or_default();
                harvest.of(serial.as_bytes(), 0);
                self.begun = true;
            }
            // All are taken, those that are known too: the meter cannot be told to stop.
            "R" if self.begun => {
                // The record's number, which another record has after the next test, is no part of what it is.
                let said = fields.get(2..).unwrap_or_default().join("|");
                harvest.add(Record::new(said.as_bytes(), measured(&fields)));
            }
            "L" => self.ended = self.begun,
            _ => {}
        }
    }
}

impl Protocol for Contour {
    fn begin(&mut self) -> Step {
        *self = Self::default();
        // It ends what may be going on; the meter then says 05.
        Step::Ask(vec![EOT], PATIENCE)
    }

    fn again(&mut self, question: &[u8]) -> Vec<u8> {
        *self = Self::default();
        question.to_vec()
    }

    fn half_read(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    fn heard(&mut self, bytes: &[u8], harvest: &mut Harvest) -> Step {
        self.buffer.extend_from_slice(bytes);
        let mut told = Vec::new();
        while let Some(step) = self.next(harvest) {
            match step {
                Step::Tell(bytes) => told.extend(bytes),
                Step::More => {}
                over => return over,
            }
        }
        if told.is_empty() { Step::More } else { Step::Tell(told) }
    }
}

/// What one record says.
fn measured(fields: &[&str]) -> Result<Measured, String> {
    let &[_, _, test, value, unit, ref rest @ ..] = fields else {
        return Err(format!("has {} fields, not 9 or more", fields.len()));
    };
    if !test.ends_with("^Glucose") {
        return Err("is no glucose, and not read".to_owned());
    }
    let (time, marks) = rest.split_last().ok_or("has no time")?;
    let at = time_of(time).ok_or("has no date and time")?;
    let quantity = match unit.split('^').next() {
        Some("mg/dL") => Quantity::GlucoseMgDl,
        Some("mmol/L") => Quantity::GlucoseMmolL,
        _ => return Err("has an unknown unit".to_owned()),
    };
    let number = decimal(value).ok_or("has no value")?;
    let marks: Vec<&str> = marks.iter().flat_map(|marks| marks.split(['/', '\\'])).collect();
    let has = |mark: &str| marks.contains(&mark);
    // States hold whole numbers: of mmol/L, tenths.
    let shown = number * if quantity == Quantity::GlucoseMmolL { 10.0 } else { 1.0 };
    #[expect(clippy::cast_possible_truncation, reason = "decimal() is at most four digits and one decimal")]
    let shown = shown.round() as i32;
    let value = if has("C") || has("E") {
        control(shown)
    } else if has("<") {
        Value::State(State::Low(shown))
    } else if has(">") {
        Value::State(State::High(shown))
    } else {
        Value::Number(number)
    };
    let mut measured = Measured::new(quantity, value, at);
    let word = |words: &[(&str, &'static str)]| words.iter().find(|(mark, _)| has(mark)).map(|(_, word)| *word);
    measured.meal = word(&[("B", "before"), ("A", "after")]);
    measured.note = word(&[("D", "logbook"), ("I", "illness"), ("S", "stress"), ("X", "activity"), ("Z", "other")]);
    Ok(measured)
}

/// `93` or `5.2`: what a meter shows.
fn decimal(text: &str) -> Option<f64> {
    let (whole, tenths) = text.split_once('.').unwrap_or((text, "0"));
    let plain = (1..=4).contains(&whole.len()) && tenths.len() == 1;
    let digits = number_of::<u32>(whole).zip(number_of::<u32>(tenths)).filter(|_| plain);
    digits.and_then(|_| text.parse().ok())
}

/// `201505261150`, and perhaps seconds.
fn time_of(text: &str) -> Option<DateTime> {
    let part = |from: usize, to: usize| text.get(from..to).and_then(number_of::<i16>);
    let seconds = if text.len() == 12 { 0 } else { part(12, 14)? };
    datetime([part(0, 4)?, part(4, 6)?, part(6, 8)?, part(8, 10)?, part(10, 12)?, seconds])
}
