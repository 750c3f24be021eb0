//! The readings of one row, and what is wrong with it.

use std::sync::Arc;

use proto::{Basis, Kind, Reading, Series, State, Value};

use super::Units;
use crate::source::Sample;
use crate::source::device::series;
use crate::source::times::Stamp;

/// The readings of one row.
pub(super) struct Sheet<'a> {
    pub(super) units: &'a Units,
    pub(super) stamp: Stamp,
    pub(super) samples: Vec<Sample>,
    pub(super) problem: Option<String>,
}

impl Sheet<'_> {
    pub(super) fn put(&mut self, series: Arc<Series>, value: Value) {
        let mut reading = Reading::new(self.stamp.instant, value);
        reading.utc_offset_minutes = self.stamp.utc_offset_minutes;
        reading.local_text.clone_from(&self.stamp.local_text);
        self.samples.push(Sample { series, basis: Basis::Source, reading });
    }

    /// Says what is wrong, without repeating values.
    pub(super) fn wrong(&mut self, name: &str, problem: &str) {
        let all = self.problem.get_or_insert_default();
        let comma = if all.is_empty() { "" } else { "; " };
        all.push_str(&format!("{comma}{name} {problem}"));
    }

    /// A number as written, or nothing for an empty field.
    pub(super) fn number(&mut self, name: &str, unit: &str, kind: Kind, text: &str) {
        if text.is_empty() {
            return;
        }
        match number(text) {
            Some(number) => self.put(series(name, unit, kind), Value::Number(number)),
            None => self.wrong(name, "is no number"),
        }
    }

    /// Glucose, or the word that stands for what the sensor could not measure.
    pub(super) fn glucose(&mut self, name: &str, text: &str) {
        match out_of_range(text) {
            Some(state) => self.put(series(name, self.units.glucose, Kind::Gauge), Value::State(state)),
            None => self.number(name, self.units.glucose, Kind::Gauge, text),
        }
    }

    /// What is told of no amount, as an event with the fields that have something in them.
    pub(super) fn event(&mut self, name: &str, fields: &[(&str, &str)]) {
        let told = fields.iter().filter(|(_, text)| !text.is_empty());
        let object: serde_json::Map<String, serde_json::Value> =
            told.map(|(key, text)| ((*key).to_owned(), (*text).into())).collect();
        let json = serde_json::Value::Object(object).to_string();
        match json.len() > proto::EVENT_BYTES_MAX {
            true => self.wrong(name, "is longer than an event may be"),
            false => self.put(series(name, "1", Kind::Event), Value::Json(json)),
        }
    }
}

/// What both makers' sensors say beyond their range. The codes are what Dexcom sends, in mg/dL, whatever unit is shown.
fn out_of_range(text: &str) -> Option<State> {
    match text.to_ascii_lowercase().as_str() {
        "low" | "lo" => Some(State::Low(39)),
        "high" | "hi" => Some(State::High(401)),
        _ => None,
    }
}

/// A number with a decimal point, or with a decimal comma as some languages write it. No separators of thousands.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.,".contains(&byte));
    let separators = text.bytes().filter(|byte| b".,".contains(byte)).count();
    let number: f64 = text.replacen(',', ".", 1).parse().ok().filter(|_| plain && separators <= 1)?;
    number.is_finite().then_some(number)
}
