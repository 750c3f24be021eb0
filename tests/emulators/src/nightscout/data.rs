//! Real readings, and times as sites write them.

use std::io::Read;

use flate2::read::GzDecoder;

/// The readings of `tests/data/cgm.csv.gz`, oldest first: milliseconds since the Unix epoch and mg/dL, each instant once.
///
/// # Panics
/// When the file is not what its README says.
#[must_use]
pub fn cgm() -> Vec<(i64, u16)> {
    let packed = include_bytes!("../../../data/cgm.csv.gz");
    let mut text = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut text).expect("a packed text");
    let row = |row: &str| {
        let fields: Vec<&str> = row.split(',').collect();
        (instant(fields[1]), fields[2].parse().expect("a number"))
    };
    let mut readings: Vec<(i64, u16)> = text.lines().skip(1).filter(|row| !row.is_empty()).map(row).collect();
    readings.sort_unstable();
    readings.dedup_by_key(|(at, _)| *at);
    readings
}

/// The milliseconds of `2010-03-24 09:51:00`, in UTC; what follows the seconds is left out.
///
/// # Panics
/// When it is written in another way.
#[must_use]
pub fn instant(text: &str) -> i64 {
    let part = |from: usize, to: usize| -> i64 { text[from..to].parse().expect("digits") };
    let days = days(part(0, 4), part(5, 7), part(8, 10));
    (((days * 24 + part(11, 13)) * 60 + part(14, 16)) * 60 + part(17, 19)) * 1_000
}

/// Days from 1970-01-01: years begin in March, so that the leap day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let before = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    before + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// Year, month, day, hour, minute, second, millisecond.
fn civil(ms: i64) -> [i64; 7] {
    let (all, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let mut year = 1970 + all / 366;
    while days(year + 1, 1, 1) <= all {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days(year, month + 1, 1) <= all {
        month += 1;
    }
    let day = all - days(year, month, 1) + 1;
    [year, month, day, rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60, rest % 1_000]
}

/// `2026-03-01T12:00:00.000Z`
pub(super) fn iso(ms: i64) -> String {
    let [year, month, day, hour, minute, second, ms] = civil(ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// `Sun, 01 Mar 2026 12:00:00 GMT`
pub(super) fn date(ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let [year, month, day, hour, minute, second, _] = civil(ms);
    let name =
        |names: &[&'static str], place: i64| usize::try_from(place).ok().and_then(|place| names.get(place).copied());
    let weekday = name(&DAYS, ms.div_euclid(86_400_000).rem_euclid(7)).unwrap_or_default();
    let month = name(&MONTHS, month - 1).unwrap_or_default();
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_they_are_counted() {
        assert_eq!(instant("2026-03-01 12:00:00"), 1_772_366_400_000);
        for (ms, text) in [
            (1_772_366_400_123, "2026-03-01T12:00:00.123Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
            (1_735_689_600_000, "2025-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso(ms), text);
            assert_eq!(instant(text), ms - ms % 1_000);
        }
        assert_eq!(date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(cgm().len() > 52_000);
    }
}
