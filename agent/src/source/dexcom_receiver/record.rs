//! What a receiver's record becomes.
//!
//! Each begins with two times, seconds since 2009-01-01: the receiver's own clock, which nobody sets, and what it shows.
//! The first is a reading's time; the difference is its offset.

use std::sync::Arc;

use proto::{Basis, Instant, Kind, Reading, Series, State, Value};

use super::fields::{Fields, When, instant_of};
use super::frame::is_whole;
use super::page::{KINDS, kind};
use crate::source::device::{Out, series};

/// Of a glucose field: the value, and what else its bits say.
const VALUE: u16 = 0x03ff;
const DISPLAY_ONLY: u16 = 0x8000;
const BACKFILLED: u16 = 0x2000;
/// What the sensor measures, in mg/dL: 39 stands for less. What is below is a code for why there is no value.
const LOW: u16 = 39;
const HIGH: u16 = 400;
/// Bytes of a glucose record of a G4, which says less.
const SHORT_BYTES: usize = 13;
/// Where glucose is heading, by its number, as Nightscout calls it.
const DIRECTIONS: [&str; 10] = [
    "NONE",
    "DoubleUp",
    "SingleUp",
    "FortyFiveUp",
    "Flat",
    "FortyFiveDown",
    "SingleDown",
    "DoubleDown",
    "NOT COMPUTABLE",
    "RATE OUT OF RANGE",
];
const NOISES: [&str; 5] = ["none", "clean", "light", "medium", "heavy"];
const SESSIONS: [&str; 10] = [
    "none",
    "removed",
    "expired",
    "residual_deviation",
    "counts_deviation",
    "second_session",
    "off_time_loss",
    "started",
    "bad_transmitter",
    "manufacturing_mode",
];
const HEALTH: [&str; 7] = ["", "illness", "stress", "high symptoms", "low symptoms", "cycle", "alcohol"];
const EXERCISE: [&str; 4] = ["", "light", "medium", "heavy"];

/// The series of receivers.
pub(super) struct Sheet {
    glucose: Arc<Series>,
    direction: Arc<Series>,
    noise: Arc<Series>,
    meter: Arc<Series>,
    calibration: Arc<Series>,
    treatment: Arc<Series>,
    session: Arc<Series>,
    unfiltered: Arc<Series>,
    filtered: Arc<Series>,
    rssi: Arc<Series>,
    display_offset: Arc<Series>,
    clock_error: Arc<Series>,
}

impl Default for Sheet {
    fn default() -> Self {
        Self {
            glucose: series("glucose", "mg/dL", Kind::Gauge),
            direction: series("glucose.direction", "1", Kind::State),
            noise: series("glucose.noise", "1", Kind::State),
            meter: series("glucose.meter", "mg/dL", Kind::Gauge),
            calibration: series("glucose.calibration", "1", Kind::Event),
            treatment: series("treatment", "1", Kind::Event),
            session: series("sensor.session", "1", Kind::State),
            unfiltered: series("sensor.unfiltered", "1", Kind::Gauge),
            filtered: series("sensor.filtered", "1", Kind::Gauge),
            rssi: series("sensor.rssi", "1", Kind::Gauge),
            display_offset: series("receiver.display_offset", "s", Kind::State),
            clock_error: series("receiver.clock_error", "s", Kind::Gauge),
        }
    }
}

impl Sheet {
    /// Hands a record over, or what is wrong with it.
    pub(super) fn write(&self, kind: u8, number: u32, record: &[u8], out: &mut Out) {
        let readings = if is_whole(record) { self.readings(kind, record) } else { Err("has a wrong checksum") };
        match readings {
            Ok(readings) => {
                readings.into_iter().for_each(|(series, reading)| out.sample(&series, Basis::Source, reading));
            }
            Err(problem) => out.reject(format!("record {number} of kind {kind}"), problem, record),
        }
    }

    /// By how much the display differs from the clock, as the clock shows `system`.
    pub(super) fn write_offset(&self, system: u32, offset: i32, out: &mut Out) {
        out.sample(&self.display_offset, Basis::Source, Reading::new(instant_of(system), Value::Number(offset.into())));
    }

    /// By how much the clock differs from this machine's, which was asked at `boot`.
    pub(super) fn write_error(&self, boot: Instant, seconds: i64, out: &mut Out) {
        // Beyond 68 years, how many they are makes no difference.
        let seconds = i32::try_from(seconds).unwrap_or(if seconds < 0 { i32::MIN } else { i32::MAX });
        out.sample(&self.clock_error, Basis::Boot, Reading::new(boot, Value::Number(seconds.into())));
    }

    fn readings(&self, kind: u8, record: &[u8]) -> Result<Vec<(Arc<Series>, Reading)>, &'static str> {
        let fields = Fields(record);
        let when = When { system: fields.word(0)?, display: fields.word(4)? };
        let one = |series: &Arc<Series>, value: Value| (Arc::clone(series), when.reading(value));
        let number = |number: u32| Value::Number(number.into());
        Ok(match kind {
            kind::GLUCOSE | kind::BACKFILLED => self.glucose(when, &fields)?,
            kind::METER => vec![one(&self.meter, number(fields.half(8)?.into()))],
            kind::INSERTION => {
                let state = fields.byte(12)?;
                let word = SESSIONS
                    .get(usize::from(state))
                    .map_or(Value::State(State::Other(state.into())), |word| Value::Text((*word).to_owned()));
                vec![one(&self.session, word)]
            }
            kind::SENSOR => vec![
                one(&self.unfiltered, number(fields.word(8)?)),
                one(&self.filtered, number(fields.word(12)?)),
                one(&self.rssi, Value::Number(i16::from_le_bytes(fields.bytes(16)?).into())),
            ],
            kind::CALIBRATION => {
                let (slope, intercept, scale) = (fields.double(8)?, fields.double(16)?, fields.double(24)?);
                let json = format!("{{\"slope\":{slope},\"intercept\":{intercept},\"scale\":{scale}}}");
                vec![one(&self.calibration, Value::Json(json))]
            }
            _ => {
                let json = event(fields.byte(8)?, fields.byte(9)?, fields.word(14)?).ok_or("is an unknown event")?;
                let when = when.shown(fields.word(10)?);
                vec![(Arc::clone(&self.treatment), when.reading(Value::Json(json)))]
            }
        })
    }

    fn glucose(&self, when: When, fields: &Fields<'_>) -> Result<Vec<(Arc<Series>, Reading)>, &'static str> {
        let (bits, is_short) = (fields.half(8)?, fields.0.len() == SHORT_BYTES);
        if bits & DISPLAY_ONLY != 0 {
            return Ok(Vec::new()); // it is in another record too
        }
        // What was filled in later has the time of that; when it was measured stands behind the value.
        let was_late = !is_short && bits & BACKFILLED != 0;
        let when = if was_late { when.moved(fields.word(10)?) } else { when };
        let value = match bits & VALUE {
            code if code < LOW => Value::State(State::SensorError(code.into())),
            LOW => Value::State(State::Low(LOW.into())),
            high if high > HIGH => Value::State(State::High(high.into())),
            number => Value::Number(number.into()),
        };
        let marks = fields.byte(if is_short { 10 } else { 19 })?;
        let (direction, noise) = (usize::from(marks & 0x0f), usize::from(marks >> 4 & 0x07));
        let word = |series: &Arc<Series>, word: &str| (Arc::clone(series), when.reading(Value::Text(word.to_owned())));
        let mut readings = vec![(Arc::clone(&self.glucose), when.reading(value))];
        readings.extend(DIRECTIONS.get(direction).map(|name| word(&self.direction, name)));
        readings.extend(NOISES.get(noise).filter(|_| noise > 0).map(|name| word(&self.noise, name)));
        Ok(readings)
    }
}

/// What a person entered, as Nightscout writes it; none where it is of no known type.
fn event(kind: u8, subtype: u8, value: u32) -> Option<String> {
    Some(match kind {
        1 => format!("{{\"eventType\":\"Carb Correction\",\"carbs\":{value}}}"),
        2 => format!("{{\"eventType\":\"Correction Bolus\",\"insulin\":{}}}", f64::from(value) / 100.0),
        3 => format!("{{\"eventType\":\"Note\",\"notes\":\"{}\"}}", HEALTH.get(usize::from(subtype))?),
        4 => {
            let level = EXERCISE.get(usize::from(subtype))?;
            format!("{{\"eventType\":\"Exercise\",\"duration\":{value},\"notes\":\"{level}\"}}")
        }
        _ => return None,
    })
}

/// Takes `bytes` for a record of each kind, and for a page, whatever their checksums. For fuzzing.
pub(super) fn fuzz(bytes: &[u8]) -> usize {
    let sheet = Sheet::default();
    let kinds = KINDS.iter().filter_map(|kind| sheet.readings(*kind, bytes).ok());
    let page = super::page::Page::read(bytes).ok().and_then(|page| page.records());
    kinds.map(|readings| readings.len()).sum::<usize>() + page.map_or(0, |records| records.len())
}

#[cfg(test)]
mod tests;
