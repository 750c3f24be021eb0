//! LifeScan OneTouch Ultra2: one command, and the memory comes as lines with a sum each, newest first.
//!
//! Facts: LifeScan's published specification as glucometers-tech/glucometerutils and tidepool-org/uploader know it. The
//! answer to `DMP` is `P nnn,"serial","unit"` and so many lines; each ends in a space and the 16-bit sum of what is before
//! the space. Values are in mg/dL, whatever the display shows.

use std::time::Duration;

use proto::{State, Value};

use super::harvest::Harvest;
use super::record::{Measured, Quantity, Record, control};
use super::session::{Protocol, Step};
use super::text::{civil, number_of, sum16};

/// The question: `11` wakes the meter.
const DUMP: &[u8] = b"\x11\rDMP\r";
/// How long an answer may take to begin, and its pauses.
const PATIENCE: Duration = Duration::from_secs(3);
/// An answer's bytes: 500 lines of 64 bytes, and as many again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// What it measures, in mg/dL.
const RANGE: (i32, i32) = (20, 600);
/// What a person may mark a test with, by its number.
const NOTES: [&str; 11] = [
    "not_enough_food",
    "too_much_food",
    "mild_exercise",
    "hard_exercise",
    "medication",
    "stress",
    "illness",
    "feel_hypo",
    "menses",
    "vacation",
    "other",
];

/// A OneTouch Ultra2.
#[derive(Default)]
pub(super) struct Ultra2 {
    answer: Vec<u8>,
    /// So many bytes the answer has at least: it is not looked at before, again and again.
    least: usize,
}

/// Bytes of a record's line, at least.
const LINE_BYTES_MIN: usize = 24;

impl Protocol for Ultra2 {
    fn begin(&mut self) -> Step {
        self.clear();
        Step::Ask(DUMP.to_vec(), PATIENCE)
    }

    fn again(&mut self, question: &[u8]) -> Vec<u8> {
        self.clear();
        question.to_vec()
    }

    fn half_read(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answer)
    }

    fn heard(&mut self, bytes: &[u8], harvest: &mut Harvest) -> Step {
        self.answer.extend_from_slice(bytes);
        // Its end says whether it may be whole: a newline.
        let may_be_whole = self.answer.len() >= self.least && self.answer.ends_with(b"\n");
        let missing = if may_be_whole { take(&self.answer, harvest) } else { Ok(1) };
        match missing {
            Ok(0) => Step::Done(Vec::new()),
            Ok(_) if self.answer.len() > ANSWER_BYTES_MAX => Step::Bad("never ends", self.clear()),
            Ok(missing) => {
                if may_be_whole {
                    self.least = self.answer.len() + missing * LINE_BYTES_MIN;
                }
                Step::More
            }
            Err(problem) => Step::Bad(problem, self.clear()),
        }
    }
}

impl Ultra2 {
    fn clear(&mut self) -> Vec<u8> {
        self.least = 0;
        std::mem::take(&mut self.answer)
    }
}

/// Reads an answer if it is whole; how many lines are missing.
fn take(answer: &[u8], harvest: &mut Harvest) -> Result<usize, &'static str> {
    let lines: Vec<&[u8]> =
        answer.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect();
    let (header, records) = lines.split_first().ok_or("is empty")?;
    let header = summed(header)?.strip_prefix("P ").ok_or("is not what was asked for")?;
    let mut fields = header.split(',');
    let count: usize =
        fields.next().and_then(number_of).filter(|count| *count < 1_000).ok_or("says no number of records")?;
    let serial = fields.next().ok_or("says no serial number")?;
    if let Some(missing @ 1..) = count.checked_sub(records.len()) {
        return Ok(missing);
    }
    let records = records[..count].iter().map(|line| summed(line)).collect::<Result<Vec<&str>, _>>()?;
    harvest.of(serial.as_bytes(), count);
    for line in records {
        if harvest.add(Record::new(line.as_bytes(), measured(line))) {
            break;
        }
    }
    Ok(0)
}

/// A line without its sum.
fn summed(line: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "is no text")?;
    let (content, sum) = text.rsplit_once(' ').ok_or("has no checksum")?;
    let is_right = sum.len() == 4 && u16::from_str_radix(sum, 16) == Ok(sum16(content.as_bytes()));
    if is_right { Ok(content) } else { Err("has a wrong checksum") }
}

/// What one line says: `P "DOW","MM/DD/YY","HH:MM:SS   ","C nnn?","N","cc", 00`.
fn measured(line: &str) -> Result<Measured, String> {
    let fields: Vec<&str> =
        line.strip_prefix("P ").ok_or("is no record")?.split(',').map(|field| field.trim_matches('"')).collect();
    let &[_, day, clock, value, meal, note, ..] = fields.as_slice() else {
        return Err(format!("has {} fields, not 7", fields.len()));
    };
    let mut date = day.split('/');
    let mut next = || date.next().and_then(number_of::<i8>).ok_or("has no date");
    let (month, day, year) = (next()?, next()?, next()?);
    let at = civil(2_000 + i16::from(year), month, day, clock.trim()).ok_or("has no date and time")?;
    let (is_control, value) = value.strip_prefix('C').map_or((false, value), |value| (true, value));
    let value = match value.trim() {
        "HIGH" | "HI" => Value::State(State::High(RANGE.1)),
        "LOW" | "LO" => Value::State(State::Low(RANGE.0)),
        damaged if damaged.ends_with('?') => return Err("is marked as damaged by the meter".to_owned()),
        digits => {
            let number: u16 = number_of(digits).ok_or("has no value")?;
            if is_control { control(number.into()) } else { Value::Number(number.into()) }
        }
    };
    let mut measured = Measured::new(Quantity::GlucoseMgDl, value, at);
    measured.meal = match meal {
        "N" => None,
        "B" => Some("before"),
        "A" => Some("after"),
        _ => return Err("has an unknown mark for meals".to_owned()),
    };
    let note: usize = number_of(note).ok_or("has an unknown mark")?;
    measured.note = note.checked_sub(1).map(|index| NOTES.get(index).copied().unwrap_or("unknown"));
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// glucometers-tech/glucometerutils:test/test_otultra2.py, as the reference has it.
    #[test]
    fn a_published_line_has_its_sum() {
        let line = b"T \"SAT\",\"08/03/13\",\"22:12:00   \" 0608";
        assert_eq!(summed(line), Ok("T \"SAT\",\"08/03/13\",\"22:12:00   \""));
        assert!(summed(b"T \"SAT\",\"08/03/13\",\"22:12:01   \" 0608").is_err());
    }
}
