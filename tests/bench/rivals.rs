//! The same readings in other clothes, each as lean as it is commonly written.

use anyhow::Context;
use ciborium::Value as Cbor;
use proto::Series;
use serde::{Deserialize, Serialize};

use crate::data::Row;

/// One object a reading.
#[derive(Serialize, Deserialize)]
pub(crate) struct JsonReading<'a> {
    name: &'a str,
    unit: &'a str,
    time_us: i64,
    value: f64,
}

/// Plain structs one after the other, the series said once.
#[derive(Serialize, Deserialize)]
pub(crate) struct PlainRows<'a> {
    name: &'a str,
    unit: &'a str,
    rows: Vec<PlainRow>,
}

/// One of them.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct PlainRow {
    time_us: i64,
    value: f64,
}

/// `rows` as JSON objects.
#[must_use]
pub(crate) fn json_readings<'a>(series: &'a Series, rows: &[Row]) -> Vec<JsonReading<'a>> {
    let (name, unit) = (series.name.as_str(), series.unit.as_str());
    rows.iter().map(|&Row { time_us, value }| JsonReading { name, unit, time_us, value }).collect()
}

/// `rows` as plain structs.
#[must_use]
pub(crate) fn plain_rows<'a>(series: &'a Series, rows: &[Row]) -> PlainRows<'a> {
    let rows = rows.iter().map(|&Row { time_us, value }| PlainRow { time_us, value }).collect();
    PlainRows { name: series.name.as_str(), unit: series.unit.as_str(), rows }
}

/// `rows` as a SenML pack in CBOR (RFC 8428, section 6): name, unit and time said once, each record only what differs;
/// whole numbers as integers, others as the shortest float that is exact.
///
/// # Errors
/// When CBOR cannot be written.
pub(crate) fn senml(series: &Series, rows: &[Row]) -> anyhow::Result<Vec<u8>> {
    const BASE_NAME: i32 = -2;
    const BASE_TIME: i32 = -3;
    const BASE_UNIT: i32 = -4;
    const VALUE: i32 = 2;
    const TIME: i32 = 6;
    let base_s = rows.first().context("a pack holds readings")?.time_us / 1_000_000;
    let record = |(place, row): (usize, &Row)| {
        let mut fields: Vec<(Cbor, Cbor)> = Vec::new();
        if place == 0 {
            fields.push((BASE_NAME.into(), series.name.as_str().into()));
            fields.push((BASE_UNIT.into(), series.unit.as_str().into()));
            fields.push((BASE_TIME.into(), base_s.into()));
        } else {
            fields.push((TIME.into(), (row.time_us / 1_000_000 - base_s).into()));
        }
        fields.push((VALUE.into(), number(row.value)));
        Cbor::Map(fields)
    };
    let mut bytes = Vec::new();
    ciborium::into_writer(&Cbor::Array(rows.iter().enumerate().map(record).collect()), &mut bytes)
        .map_err(|error| anyhow::anyhow!("CBOR: {error}"))?;
    Ok(bytes)
}

fn number(value: f64) -> Cbor {
    #[expect(clippy::cast_possible_truncation, reason = "compared with what it was")]
    let whole = value as i64;
    #[expect(clippy::cast_precision_loss, reason = "compared with what it was")]
    let same = (whole as f64).to_bits() == value.to_bits();
    if same { whole.into() } else { value.into() }
}
