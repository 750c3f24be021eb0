//! A record as a line of InfluxDB's line protocol (docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference).

use std::fmt::Write as _;

use crate::store::sink::{Field, Record};

/// Bytes that a string field may have: InfluxDB's bound is 64 KiB.
const STRING_BYTES_MAX: usize = 65_535;

/// The line of `record`, without its end; or why it has none.
pub(super) fn of(record: &Record) -> Result<String, String> {
    let time_ns = record.time_ns()?;
    let mut line = String::with_capacity(256);
    line.push_str("reading");
    for (name, value) in record.names() {
        push(&mut line, format_args!(",{name}="));
        push_tag(&mut line, value)?;
    }
    let mut before = ' ';
    for (name, field) in record.fields()? {
        push(&mut line, format_args!("{before}{name}="));
        match field {
            // The shortest text that reads as the same double.
            Field::Double(number) => push(&mut line, format_args!("{number:?}")),
            Field::Whole(number) => push(&mut line, format_args!("{number}i")),
            Field::Truth(truth) => push(&mut line, format_args!("{truth}")),
            Field::Text(text) => push_string(&mut line, &text)?,
        }
        before = ',';
    }
    push(&mut line, format_args!(" {time_ns}"));
    Ok(line)
}

fn push(line: &mut String, text: std::fmt::Arguments<'_>) {
    // A String takes all text.
    let _ = line.write_fmt(text);
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
