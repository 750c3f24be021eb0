//! What was offered, as read by code of our own: no line of this is shared with agent or gateway.

use serde_json::Value;

/// One reading as it should be in the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The series' name.
    pub series: String,
    /// Microseconds since the Unix epoch.
    pub time_us: i64,
    /// Rank among readings of one series and instant.
    pub ordinal: i64,
    /// The value's bits.
    pub bits: u64,
}

/// One row of the CGM file: time and value.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Microseconds since the Unix epoch, the file's times taken as UTC.
    pub time_us: i64,
    /// mg/dL
    pub value: f64,
}

/// The rows of `isig,datetime,glucose` with times such as `2010-03-24 09:51:00`.
///
/// # Panics
/// When the text is not such a file.
#[must_use]
pub fn cgm_rows(text: &str) -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        Row { time_us: local_us(cells[1]), value: cells[2].parse().expect("glucose is a number") }
    };
    text.lines().skip(1).filter(|line| !line.is_empty()).map(row).collect()
}

/// Rows as keys of `series`, ranked in their order.
#[must_use]
pub fn keys(series: &str, rows: impl IntoIterator<Item = (i64, f64)>) -> Vec<Key> {
    let mut seen = std::collections::HashMap::new();
    let key = |(time_us, value): (i64, f64)| {
        let rank = seen.entry(time_us).and_modify(|rank| *rank += 1).or_insert(0);
        Key { series: series.to_owned(), time_us, ordinal: *rank, bits: value.to_bits() }
    };
    rows.into_iter().map(key).collect()
}

/// The readings of meter lines such as `{"time":"2026-11-21T01:02:03.5Z","power.active":431.5}`.
///
/// # Panics
/// When a line is not of that form.
#[must_use]
pub fn meter_rows(lines: &[String]) -> Vec<(String, i64, f64)> {
    let mut rows = Vec::new();
    for line in lines {
        let Value::Object(fields) = serde_json::from_str(line).expect("a meter line is JSON") else { continue };
        let time = fields.get("time").and_then(Value::as_str).expect("a meter line has a time");
        for (name, value) in fields.iter().filter(|(name, _)| *name != "time") {
            rows.push((name.clone(), utc_us(time), value.as_f64().expect("a meter's values are numbers")));
        }
    }
    rows
}

/// `2026-11-21T01:02:03.5Z`
fn utc_us(text: &str) -> i64 {
    let text = text.strip_suffix('Z').expect("times are UTC");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: i64 = format!("{fraction:0<6}")[..6].parse().expect("a fraction of a second");
    local_us(&whole.replace('T', " ")) + fraction
}

/// `2010-03-24 09:51:00` as microseconds since 1970, without a zone.
fn local_us(text: &str) -> i64 {
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().expect("a date and time in digits");
    let days = days_since_1970(number(0..4), number(5..7), number(8..10));
    (days * 86_400 + number(11..13) * 3_600 + number(14..16) * 60 + number(17..19)) * 1_000_000
}

/// Whole days by counting: 365 a year, one more for each leap year, and the months before.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let before_year: i64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let months = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before_month: i64 = months.iter().zip(1..month).map(|(days, _)| days).sum();
    before_year + before_month + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_right() {
        assert_eq!(local_us("1970-01-01 00:00:00"), 0);
        assert_eq!(local_us("2010-03-24 09:51:00"), 1_269_424_260_000_000);
        assert_eq!(utc_us("2024-03-01T00:00:00.25Z"), 1_709_251_200_250_000);
    }

    #[test]
    fn repeated_instants_are_ranked_in_their_order() {
        let ranks: Vec<i64> = keys("a", [(1, 1.0), (2, 1.0), (1, 2.0)]).iter().map(|key| key.ordinal).collect();
        assert_eq!(ranks, [0, 0, 1]);
    }
}
