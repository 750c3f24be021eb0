//! What a meter's record becomes.

use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proto::{Basis, Kind, Reading, Series, State, Value};

use crate::source::device::{Out, series};
use crate::source::hash::fnv;
use crate::source::times::local_at;

/// The unit that a meter sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    /// Glucose in mg/dL.
    GlucoseMgDl,
    /// Glucose in mmol/L.
    GlucoseMmolL,
    /// Blood ketone (β-hydroxybutyrate) in mmol/L.
    KetoneMmolL,
}

/// One record of a meter.
#[derive(Debug)]
pub(super) struct Record {
    /// Tells it apart from its neighbours.
    pub(super) id: u64,
    /// What the meter says, as it said it: for a reject.
    pub(super) bytes: Vec<u8>,
    /// What it means; where it cannot be read, why, without repeating values.
    pub(super) measured: Result<Measured, String>,
}

impl Record {
    /// What the meter said, and what it means.
    pub(super) fn new(bytes: &[u8], measured: Result<Measured, String>) -> Self {
        Self { id: fnv(bytes), bytes: bytes.to_vec(), measured }
    }
}

/// What a record says.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) quantity: Quantity,
    pub(super) value: Value,
    /// What the meter's clock showed.
    pub(super) at: DateTime,
    /// Before or after a meal, where that was marked.
    pub(super) meal: Option<&'static str>,
    /// What else was marked.
    pub(super) note: Option<&'static str>,
}

impl Measured {
    /// A value without marks.
    pub(super) fn new(quantity: Quantity, value: Value, at: DateTime) -> Self {
        Self { quantity, value, at, meal: None, note: None }
    }
}

/// A value that was measured in control solution, not in blood; `shown` in tenths for mmol/L, as states hold whole numbers.
pub(super) fn control(shown: i32) -> Value {
    Value::State(State::Control(shown))
}

/// The series of meters.
pub(super) struct Sheet {
    zone: TimeZone,
    mg_dl: Arc<Series>,
    mmol_l: Arc<Series>,
    ketone: Arc<Series>,
    meal: Arc<Series>,
    note: Arc<Series>,
}

impl Sheet {
    /// For a meter whose clock shows the time of `zone`.
    pub(super) fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            mg_dl: series("glucose", "mg/dL", Kind::Gauge),
            mmol_l: series("glucose", "mmol/L", Kind::Gauge),
            ketone: series("ketone", "mmol/L", Kind::Gauge),
            meal: series("glucose.meal", "1", Kind::State),
            note: series("glucose.note", "1", Kind::State),
        }
    }

    /// Hands a record over, or what is wrong with it.
    pub(super) fn write(&self, record: Record, place: &str, out: &mut Out) {
        let measured = match record.measured {
            Ok(measured) => measured,
            Err(problem) => return out.reject(place, problem, &record.bytes),
        };
        let text = measured.at.to_string();
        let stamp = match local_at(&self.zone, measured.at, &text) {
            Ok(stamp) => stamp,
            Err(problem) => return out.reject(place, format!("its time {problem}"), &record.bytes),
        };
        let main = match measured.quantity {
            Quantity::GlucoseMgDl => &self.mg_dl,
            Quantity::GlucoseMmolL => &self.mmol_l,
            Quantity::KetoneMmolL => &self.ketone,
        };
        let mut put = |series: &Arc<Series>, value: Value| {
            let mut reading = Reading::new(stamp.instant, value);
            reading.utc_offset_minutes = stamp.utc_offset_minutes;
            reading.local_text.clone_from(&stamp.local_text);
            out.sample(series, Basis::Source, reading);
        };
        put(main, measured.value);
        for (series, word) in [(&self.meal, measured.meal), (&self.note, measured.note)] {
            if let Some(word) = word {
                put(series, Value::Text(word.to_owned()));
            }
        }
    }
}
