//! A record as Timestream takes it.

use aws_sdk_timestreamwrite::types::{Dimension, MeasureValue, MeasureValueType, Record as Row, TimeUnit};

use crate::store::sink::{Field, Record};

/// The version of every record, for ever: what is there is never replaced.
pub(super) const VERSION: i64 = 1;
/// What all records are called: they are told apart by their dimensions.
const MEASURE_NAME: &str = "reading";
/// Bytes of a record, and of all values of a multi-measure record together ("Quotas", Timestream's developer guide).
const RECORD_BYTES_MAX: usize = 2_048;
/// Bytes of a dimension's name and value together.
const DIMENSION_BYTES_MAX: usize = 2_048;
/// What a number, a truth or an instant takes.
const WORD_BYTES: usize = 8;

/// What all records of a call share.
pub(super) fn common() -> Row {
    Row::builder()
        .measure_name(MEASURE_NAME)
        .measure_value_type(MeasureValueType::Multi)
        .time_unit(TimeUnit::Nanoseconds)
        .version(VERSION)
        .build()
}

/// `record` as Timestream takes it, without what is in [`common`]; or why it does not.
pub(super) fn of(record: &Record) -> Result<Row, String> {
    let time_ns = record.time_ns()?;
    if time_ns < 0 {
        return Err("Timestream knows no time before 1970".to_owned());
    }
    let (mut row, mut bytes) = (Row::builder().time(time_ns.to_string()), WORD_BYTES);
    for (name, value) in record.names() {
        if value.is_empty() || name.len() + value.len() > DIMENSION_BYTES_MAX {
            return Err(format!("its {name} is no dimension of Timestream: empty, or more than 2 KB"));
        }
        bytes += name.len() + value.len();
        row = row.dimensions(Dimension::builder().name(name).value(value).build().map_err(|error| error.to_string())?);
    }
    for (name, field) in record.fields()? {
        let (kind, value) = match field {
            // The shortest text that reads as the same double.
            Field::Double(number) => (MeasureValueType::Double, format!("{number:?}")),
            Field::Whole(number) => (MeasureValueType::Bigint, number.to_string()),
            Field::Truth(truth) => (MeasureValueType::Boolean, truth.to_string()),
            // There is no measure without content: an empty text is the lack of one.
            Field::Text(text) if text.is_empty() => continue,
            Field::Text(text) => (MeasureValueType::Varchar, text),
        };
        bytes += name.len() + if kind == MeasureValueType::Varchar { value.len() } else { WORD_BYTES };
        let measure = MeasureValue::builder().name(name).value(value).r#type(kind).build();
        row = row.measure_values(measure.map_err(|error| error.to_string())?);
    }
    if bytes > RECORD_BYTES_MAX {
        return Err(format!("it has {bytes} bytes, and Timestream takes records of at most {RECORD_BYTES_MAX}"));
    }
    Ok(row.build())
}
