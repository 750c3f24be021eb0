//! What is drawn of a series.

use serde::Serialize;

use super::Reading;
use crate::store::rollup::Bucket;

/// A span of time of one series, in about as many points as were asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What the points are.
    pub level: ChartLevel,
    /// How many readings there are, or were.
    pub readings_in_range: i64,
    /// In the order of time.
    pub points: ChartPoints,
}

/// What points are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ChartLevel {
    /// All readings.
    #[serde(rename = "raw")]
    Raw,
    /// The lowest and the highest reading of each of equal spans.
    #[serde(rename = "min-max")]
    MinMax,
    /// Sums of whole minutes.
    #[serde(rename = "1m")]
    Minute,
    /// Sums of whole quarters of an hour.
    #[serde(rename = "15m")]
    Quarter,
    /// Sums of whole hours.
    #[serde(rename = "1h")]
    Hour,
}

/// The points of a chart.
#[derive(Clone, Debug, PartialEq)]
pub enum ChartPoints {
    /// Readings.
    Readings(Vec<Reading>),
    /// Spans that hold readings.
    Spans(Vec<Span>),
}

/// Readings of one span, summed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Its first instant.
    pub from_us: i64,
    /// The first instant behind it.
    pub to_us: i64,
    /// What is in it.
    pub bucket: Bucket,
}
