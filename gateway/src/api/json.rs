//! Readings, series and subjects as JSON.

use proto::Value;
use serde::Serialize;

use crate::store::view::{self, GlucoseBand, TimeQuality};

/// An answer with the server's time, from which its freshness can be told.
#[derive(Serialize)]
pub(super) struct Dated<T> {
    pub(super) as_of_us: i64,
    #[serde(flatten)]
    pub(super) answer: T,
}

/// One reading. What is no finite number is said in words.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Point {
    t: i64,
    v: Option<f64>,
    s: Option<String>,
    q: TimeQuality,
    o: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    future: Option<bool>,
}

impl From<view::Reading> for Point {
    fn from(reading: view::Reading) -> Self {
        let (v, s) = match reading.value {
            Value::Number(number) if number.is_finite() => (Some(number), None),
            Value::Number(number) if number.is_nan() => (None, Some("nan".to_owned())),
            Value::Number(number) => (None, Some(if number > 0.0 { "+inf" } else { "-inf" }.to_owned())),
            Value::Bool(on) => (Some(f64::from(u8::from(on))), None),
            Value::Text(text) | Value::Json(text) => (None, Some(text)),
            Value::State(state) => (None, Some(state.to_string())),
            Value::Absent => (None, Some("absent".to_owned())),
        };
        let future = reading.is_future.then_some(true);
        Self { t: reading.time_us, v, s, q: reading.quality, o: reading.utc_offset_minutes, future }
    }
}

/// Readings of one span summed up, so that what knows readings alone takes it for its mean at its first instant.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct SpanPoint {
    t: i64,
    /// The mean of its finite numbers, if there are any.
    v: Option<f64>,
    /// Where there are none: `low`, `high`, or else `state`.
    s: Option<&'static str>,
    sum: Sum,
}

#[derive(Debug, PartialEq, Serialize)]
struct Sum {
    /// The first instant behind it.
    to: i64,
    /// Finite numbers.
    n: i64,
    min: Option<f64>,
    max: Option<f64>,
    first: Option<f64>,
    last: Option<f64>,
    /// Readings that said `low`.
    below: i64,
    /// Readings that said `high`.
    above: i64,
    /// Readings that were neither number nor one of these.
    others: i64,
}

impl From<view::Span> for SpanPoint {
    fn from(view::Span { from_us, to_us, bucket }: view::Span) -> Self {
        let numbers = bucket.numbers;
        let s = match numbers {
            Some(_) => None,
            None if bucket.below > 0 => Some("low"),
            None if bucket.above > 0 => Some("high"),
            None => Some("state"),
        };
        let sum = Sum {
            to: to_us,
            n: numbers.map_or(0, |numbers| numbers.n),
            min: numbers.map(|numbers| numbers.min),
            max: numbers.map(|numbers| numbers.max),
            first: numbers.map(|numbers| numbers.first),
            last: numbers.map(|numbers| numbers.last),
            below: bucket.below,
            above: bucket.above,
            others: bucket.others,
        };
        Self { t: from_us, v: numbers.map(|numbers| numbers.mean()), s, sum }
    }
}

/// What a chart is drawn from.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Points {
    Readings(Vec<Point>),
    Spans(Vec<SpanPoint>),
}

impl From<view::ChartPoints> for Points {
    fn from(points: view::ChartPoints) -> Self {
        match points {
            view::ChartPoints::Readings(readings) => Self::Readings(many(readings)),
            view::ChartPoints::Spans(spans) => Self::Spans(many(spans)),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Series {
    id: i64,
    device: String,
    name: String,
    unit: String,
    kind: String,
    display_name: String,
    readings: i64,
    first_us: Option<i64>,
    pub(super) last_us: Option<i64>,
    latest: Option<Point>,
}

impl From<view::Series> for Series {
    fn from(series: view::Series) -> Self {
        let view::Series { id, device, name, unit, kind, display_name, readings, first_us, latest } = series;
        let last_us = latest.as_ref().map(|latest| latest.time_us);
        let latest = latest.map(Point::from);
        Self { id, device, name, unit, kind, display_name, readings, first_us, last_us, latest }
    }
}

#[derive(Serialize)]
pub(super) struct Subject {
    id: String,
    display_name: String,
    zone: String,
    glucose_band: GlucoseBand,
    series: Vec<Series>,
}

impl From<view::Subject> for Subject {
    fn from(subject: view::Subject) -> Self {
        let view::Subject { id, display_name, zone, glucose_band, series } = subject;
        Self { id, display_name, zone, glucose_band, series: many(series) }
    }
}

/// Each of `items` as JSON.
pub(super) fn many<V, J: From<V>>(items: Vec<V>) -> Vec<J> {
    items.into_iter().map(J::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: Value) -> String {
        let quality = TimeQuality::Source;
        let (utc_offset_minutes, is_future) = (Some(-300), false);
        let reading =
            view::Reading { id: 1, series: 1, time_us: 5, ordinal: 0, value, quality, utc_offset_minutes, is_future };
        serde_json::to_string(&Point::from(reading)).unwrap()
    }

    #[test]
    fn what_is_no_finite_number_is_null_and_said_in_words() {
        assert_eq!(shown(Value::Number(104.5)), r#"{"t":5,"v":104.5,"s":null,"q":"source","o":-300}"#);
        for (value, word) in [
            (Value::Number(f64::NAN), "nan"),
            (Value::Number(f64::INFINITY), "+inf"),
            (Value::Number(f64::NEG_INFINITY), "-inf"),
            (Value::State(proto::State::Low(39)), "low(39)"),
        ] {
            assert_eq!(shown(value), format!(r#"{{"t":5,"v":null,"s":"{word}","q":"source","o":-300}}"#));
        }
    }

    #[test]
    fn a_sum_is_its_mean_for_those_who_know_readings_alone() {
        use crate::store::{Bucket, Numbers};
        let numbers = Numbers {
            n: 3,
            sum: 12.0,
            sum_squares: 50.0,
            min: 3.0,
            max: 5.0,
            first: 4.0,
            first_us: 1,
            last: 5.0,
            last_us: 9,
        };
        let shown =
            |bucket| serde_json::to_string(&SpanPoint::from(view::Span { from_us: 0, to_us: 10, bucket })).unwrap();
        assert_eq!(
            shown(Bucket { numbers: Some(numbers), below: 2, ..Bucket::default() }),
            r#"{"t":0,"v":4.0,"s":null,"sum":{"to":10,"n":3,"min":3.0,"max":5.0,"first":4.0,"last":5.0,"below":2,"above":0,"others":0}}"#
        );
        assert_eq!(
            shown(Bucket { below: 1, others: 4, ..Bucket::default() }),
            r#"{"t":0,"v":null,"s":"low","sum":{"to":10,"n":0,"min":null,"max":null,"first":null,"last":null,"below":1,"above":0,"others":4}}"#
        );
    }
}
