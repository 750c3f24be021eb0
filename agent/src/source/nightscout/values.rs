//! The series that records become, and how a value is written in them.

use std::sync::{Arc, LazyLock};

use proto::{EVENT_BYTES_MAX, Kind, Series, State, Value};

/// An event that is longer than one reading takes goes in so many at most.
pub(super) const PARTS_MAX: usize = 32;
/// Bytes of one part: each of them may have to be written as two.
pub(super) const PART_BYTES_MAX: usize = (EVENT_BYTES_MAX - 64) / 2;
/// Below it, Nightscout and its uploaders mean a state of the sensor (lib/plugins/errorcodes.js).
const GLUCOSE_MIN: f64 = 39.0;
/// Above it no sensor measures: a G7 that warms up is uploaded as 4000.
const GLUCOSE_MAX: f64 = 600.0;

/// The series that a site's records become.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) glucose: Arc<Series>,
    pub(super) direction: Arc<Series>,
    pub(super) meter: Arc<Series>,
    pub(super) calibration: Arc<Series>,
    pub(super) entry: Arc<Series>,
    pub(super) treatment: Arc<Series>,
    pub(super) device_status: Arc<Series>,
    pub(super) profile: Arc<Series>,
}

pub(super) static SHEET: LazyLock<Sheet> = LazyLock::new(|| {
    let series = |name: &str, unit: &str, kind| {
        let (name, unit) = (name.parse().expect("a name"), unit.parse().expect("a unit"));
        Arc::new(Series { name, unit, kind })
    };
    let event = |name| series(name, "1", Kind::Event);
    Sheet {
        glucose: series("glucose", "mg/dL", Kind::Gauge),
        direction: series("glucose.direction", "1", Kind::State),
        meter: series("glucose.meter", "mg/dL", Kind::Gauge),
        calibration: event("glucose.calibration"),
        entry: event("glucose.entry"),
        treatment: event("treatment"),
        device_status: event("device.status"),
        profile: event("profile"),
    }
});

/// Glucose as it was sent, or the state of a sensor that has none.
pub(super) fn glucose(sgv: f64) -> Result<Value, String> {
    if (GLUCOSE_MIN..=GLUCOSE_MAX).contains(&sgv) {
        return Ok(Value::Number(sgv));
    }
    if sgv.fract() != 0.0 || !(0.0..1e9).contains(&sgv) {
        return Err("`sgv` is no glucose in mg/dL, and no code of a sensor".into());
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and bounded above")]
    let code = sgv as i32;
    Ok(Value::State(if sgv < GLUCOSE_MIN { State::SensorError(code) } else { State::Other(code) }))
}

/// An event as it was sent; in parts where it is longer than a reading takes.
pub(super) fn parts(raw: &str) -> Result<Vec<Value>, String> {
    if raw.len() <= EVENT_BYTES_MAX {
        return Ok(vec![Value::Json(raw.to_owned())]);
    }
    let (mut pieces, mut rest) = (Vec::new(), raw);
    while !rest.is_empty() {
        let end = (0..=PART_BYTES_MAX.min(rest.len())).rev().find(|end| rest.is_char_boundary(*end));
        let (piece, after) = rest.split_at(end.unwrap_or(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    if pieces.len() > PARTS_MAX {
        return Err(format!("is longer than the {} bytes that {PARTS_MAX} readings take", PARTS_MAX * PART_BYTES_MAX));
    }
    let (count, mut values) = (pieces.len(), Vec::new());
    for (index, piece) in pieces.into_iter().enumerate() {
        let piece = serde_json::to_string(piece).map_err(|_| "is no text")?;
        let json = format!("{{\"part\":{},\"parts\":{count},\"json\":{piece}}}", index + 1);
        if json.len() > EVENT_BYTES_MAX {
            return Err("has characters in it that make it too long".into());
        }
        values.push(Value::Json(json));
    }
    Ok(values)
}
