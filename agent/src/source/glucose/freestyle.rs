//! Abbott's FreeStyle meters with a serial cable: one command, and the whole memory comes as text, newest first.
//!
//! Facts: glucometers-tech/glucometer-protocols (abbott/freestyle-lite, abbott/freestyle-optium), and what
//! tidepool-org/uploader and glucometers-tech/glucometerutils know of the same. The answer to `mem` or `$xmem` is: an
//! empty line, serial number, version, the meter's clock, the number of records (`Log Empty` for none), the records, and
//! `0xHHHH  END`, the sum of all bytes before it. Values are in mg/dL, whatever the display shows.

use std::time::Duration;

use proto::{State, Value};

use super::harvest::Harvest;
use super::record::{Measured, Quantity, Record, control};
use super::session::{Protocol, Step};
use super::text::{date_of, number_of, sum16};

/// How long an answer may take to begin, and its pauses.
const PATIENCE: Duration = Duration::from_secs(3);
/// What FreeStyle meters measure, in mg/dL: beyond, they say LO and HI.
const RANGE: (i32, i32) = (20, 500);
/// What their ketone strips measure at most, in mmol/L.
const KETONE_MAX: i32 = 8;
/// An answer's bytes: 450 records of 33 bytes, and room for a meter that holds more.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the end of an answer, line ends included.
const END_BYTES: usize = 32;
/// Bits of a record's last field.
const CONTROL: u8 = 1;
const TIME_LOST: u8 = 2;

/// A FreeStyle meter.
pub(super) struct Freestyle {
    command: &'static [u8],
    answer: Vec<u8>,
}

impl Freestyle {
    /// FreeStyle Lite and Freedom Lite.
    pub(super) fn lite() -> Self {
        Self { command: b"mem", answer: Vec::new() }
    }

    /// FreeStyle Optium and Precision Xtra.
    pub(super) fn optium() -> Self {
        Self { command: b"$xmem\r\n", answer: Vec::new() }
    }
}

impl Protocol for Freestyle {
    fn begin(&mut self) -> Step {
        self.answer.clear();
        Step::Ask(self.command.to_vec(), PATIENCE)
    }

    fn again(&mut self, question: &[u8]) -> Vec<u8> {
        self.answer.clear();
        question.to_vec()
    }

    fn half_read(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answer)
    }

    fn heard(&mut self, bytes: &[u8], harvest: &mut Harvest) -> Step {
        self.answer.extend_from_slice(bytes);
        if !ends(&self.answer) {
            let too_long = self.answer.len() > ANSWER_BYTES_MAX;
            return if too_long { Step::Bad("never ends", self.give()) } else { Step::More };
        }
        match take(&self.answer, harvest) {
            Ok(()) => {
                self.answer.clear();
                Step::Done(Vec::new())
            }
            Err(problem) => Step::Bad(problem, self.give()),
        }
    }
}

impl Freestyle {
    fn give(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answer)
    }
}

/// Whether an answer is whole.
fn ends(answer: &[u8]) -> bool {
    // It is asked of each piece: the last bytes are enough to know.
    let end = answer[answer.len().saturating_sub(END_BYTES)..].trim_ascii_end();
    end.ends_with(b"END") && (end.ends_with(b"Log Empty END") || sum_at(end).is_some())
}

/// Where the sum of an answer begins, and the sum.
fn sum_at(answer: &[u8]) -> Option<(usize, u16)> {
    let before = answer.strip_suffix(b"END")?.trim_ascii_end();
    let start = before.len().checked_sub(6)?;
    let digits = before[start..].strip_prefix(b"0x")?;
    let sum = u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some((start, sum))
}

/// Reads a whole answer.
fn take(answer: &[u8], harvest: &mut Harvest) -> Result<(), &'static str> {
    let end = answer.trim_ascii_end();
    let body = match sum_at(end) {
        Some((start, sum)) if sum == sum16(&end[..start]) => &end[..start],
        Some(_) => return Err("has a wrong checksum"),
        None => end,
    };
    let text = std::str::from_utf8(body).map_err(|_| "is no text")?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let serial = lines.next().ok_or("is empty")?;
    let lines: Vec<&str> = lines.collect();
    let counts = |line: &&str| line.starts_with("Log Empty") || line.len() == 3 && number_of::<usize>(line).is_some();
    let said = lines.iter().position(counts).ok_or("says no number of records")?;
    let (count, records) = (number_of(lines[said]).unwrap_or(0), &lines[said + 1..]);
    if records.len() != count {
        return Err("does not hold as many records as it says");
    }
    harvest.of(serial.as_bytes(), count);
    for line in records {
        if harvest.add(Record::new(line.as_bytes(), measured(line))) {
            break;
        }
    }
    Ok(())
}

/// What one line says: value, month, day, year, time, kind of strip, and marks.
fn measured(line: &str) -> Result<Measured, String> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let &[value, month, day, year, time, strip, marks] = fields.as_slice() else {
        return Err(format!("has {} fields, not 7", fields.len()));
    };
    let at = date_of(year, month, day, time).ok_or("has no date and time")?;
    let marks = marks.strip_prefix("0x").and_then(|marks| u8::from_str_radix(marks, 16).ok()).ok_or("has no marks")?;
    let ketone = strip == "K";
    let value = match value {
        "LO" => Value::State(State::Low(if ketone { 0 } else { RANGE.0 })),
        "HI" => Value::State(State::High(if ketone { KETONE_MAX } else { RANGE.1 })),
        digits => {
            let number: u16 = number_of(digits).ok_or("has no value")?;
            match (marks & CONTROL != 0, ketone) {
                (true, _) => control(number.into()),
                // Meters hold 18 for 1 mmol/L; to two decimals, as tidepool-org/uploader has it.
                (_, true) => Value::Number((f64::from(number) / 18.0 * 100.0).round() / 100.0),
                (_, false) => Value::Number(number.into()),
            }
        }
    };
    let mut measured = Measured::new(if ketone { Quantity::KetoneMmolL } else { Quantity::GlucoseMgDl }, value, at);
    measured.note = (marks & TIME_LOST != 0).then_some("clock_lost");
    Ok(measured)
}
