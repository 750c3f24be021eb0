//! A record as a line of InfluxDB's line protocol (docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference).
//!
//! No name is a word that InfluxQL keeps for itself (`series`, `name`, `on`), so that questions need no quotes.

use std::fmt::Write as _;

use proto::{State, Value};

use crate::store::sink::{Carrier, Origin, Record};
use crate::store::view::TimeQuality;

/// Bytes that a string field may have: InfluxDB's bound is 64 KiB.
const STRING_BYTES_MAX: usize = 65_535;

/// The line of `record`, without its end; or why it has none.
pub(super) fn of(record: &Record) -> Result<String, String> {
    let time_ns = record.time_ns()?;
    let series = &record.series;
    let mut line = String::with_capacity(256);
    line.push_str("reading");
    for (tag, value) in
        [("device", &series.device), ("kind", &series.kind), ("quantity", &series.name), ("unit", &series.unit)]
    {
        line.push_str(&format!(",{tag}="));
        push_tag(&mut line, value)?;
    }
    push_value(&mut line, &record.value)?;
    let quality = match record.quality {
        TimeQuality::Unset => return Err("its time is not known".to_owned()),
        TimeQuality::Held => "held",
        TimeQuality::Synced => "synced",
        TimeQuality::Source => "source",
    };
    push(&mut line, format_args!(",quality=\"{quality}\""));
    if let Some(minutes) = record.utc_offset_minutes {
        push(&mut line, format_args!(",utc_offset_minutes={minutes}i"));
    }
    match (record.carrier, record.carrier.names()) {
        (Carrier::Batch(..), (epoch, Some(number))) => {
            push(&mut line, format_args!(",epoch=\"{epoch}\",number={}i", number.cast_signed()));
        }
        (_, (pack, _)) => push(&mut line, format_args!(",pack=\"{pack}\"")),
    }
    push(&mut line, format_args!(",place={}i", record.place));
    if let Some(Origin { id, revision, change }) = &record.origin {
        line.push_str(",origin=");
        push_string(&mut line, id)?;
        // As text: revisions may be greater than any integer of InfluxDB.
        push(&mut line, format_args!(",revision=\"{revision}\",change=\"{change}\""));
    }
    push(&mut line, format_args!(" {time_ns}"));
    Ok(line)
}

fn push(line: &mut String, text: std::fmt::Arguments<'_>) {
    // A String takes all text.
    let _ = line.write_fmt(text);
}

/// Each kind of value has a field of its own, because a field of InfluxDB has one type for ever.
fn push_value(line: &mut String, value: &Value) -> Result<(), String> {
    line.push(' ');
    match value {
        // The shortest text that reads as the same double.
        Value::Number(number) if number.is_finite() => push(line, format_args!("value={number:?}")),
        // InfluxDB has neither infinity nor what is no number: the 64 bits, so that nothing is lost.
        Value::Number(number) => push(line, format_args!("bits=\"{:016x}\"", number.to_bits())),
        Value::Bool(on) => push(line, format_args!("flag={on}")),
        Value::Text(text) => {
            line.push_str("text=");
            push_string(line, text)?;
        }
        Value::Json(json) => {
            line.push_str("json=");
            push_string(line, json)?;
        }
        Value::State(state) => {
            let (word, code) = match *state {
                State::Low(code) => ("low", Some(code)),
                State::High(code) => ("high", Some(code)),
                State::WarmingUp => ("warming_up", None),
                State::SensorError(code) => ("sensor_error", Some(code)),
                State::Control(code) => ("control", Some(code)),
                State::CalibrationNeeded => ("calibration_needed", None),
                State::Other(code) => ("other", Some(code)),
            };
            push(line, format_args!("state=\"{word}\""));
            if let Some(code) = code {
                push(line, format_args!(",code={code}i"));
            }
        }
        Value::Absent => line.push_str("state=\"absent\""),
    }
    Ok(())
}

/// Commas, equals signs and spaces are escaped. A backslash is not, so one before those could not be told from an escape;
/// line ends cannot be written at all.
fn push_tag(line: &mut String, value: &str) -> Result<(), String> {
    if value.is_empty() || value.contains(|c: char| c == '\\' || c.is_control()) {
        return Err("a name with a backslash, a control character or nothing in it is no tag of InfluxDB".to_owned());
    }
    for character in value.chars() {
        if matches!(character, ',' | '=' | ' ') {
            line.push('\\');
        }
        line.push(character);
    }
    Ok(())
}

/// In quotes; quotes and backslashes are escaped, everything else is itself.
fn push_string(line: &mut String, text: &str) -> Result<(), String> {
    if text.len() > STRING_BYTES_MAX {
        return Err(format!("a text of more than {STRING_BYTES_MAX} bytes is no field of InfluxDB"));
    }
    line.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            line.push('\\');
        }
        line.push(character);
    }
    line.push('"');
    Ok(())
}
