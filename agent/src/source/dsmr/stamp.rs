//! A meter's time, `161113205757W`, and the instant it means.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use proto::Instant;

use crate::source::times::{Stamp, local_at};

/// Reads year to second and, from version 4 on, whether it is summer (`S`) or winter time (`W`).
pub(super) fn read(zone: &TimeZone, text: &str) -> Result<Stamp, String> {
    let wrong = "is no time such as 161113205757W";
    let digits = text.get(..12).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())).ok_or(wrong)?;
    let local = civil(digits).ok_or(wrong)?;
    let is_summer = match &text[12..] {
        "" => return local_at(zone, local, text),
        "S" => true,
        "W" => false,
        _ => return Err(wrong.into()),
    };
    let offset = offset(zone, local, is_summer).ok_or(wrong)?;
    let instant = offset.to_timestamp(local).map_err(|_| wrong)?;
    let utc_offset_minutes = i16::try_from(offset.seconds() / 60).ok();
    Ok(Stamp { instant: Instant(instant.as_microsecond()), utc_offset_minutes, local_text: None })
}

fn civil(digits: &str) -> Option<DateTime> {
    let two = |at: usize| digits.get(at..at + 2)?.parse::<i8>().ok();
    let date = Date::new(2_000 + i16::from(two(0)?), two(2)?, two(4)?).ok()?;
    let time = Time::new(two(6)?, two(8)?, two(10)?, 0).ok()?;
    Some(date.to_datetime(time))
}

/// The meter says which of the year's two offsets it shows, so no hour is ambiguous, and no zone's rule is needed for the
/// day on which clocks change.
fn offset(zone: &TimeZone, local: DateTime, is_summer: bool) -> Option<Offset> {
    let of_month = |month: i8| {
        let day = Date::new(local.year(), month, 1).ok()?.at(12, 0, 0, 0);
        Some(zone.to_offset(zone.to_ambiguous_timestamp(day).compatible().ok()?))
    };
    let (one, other) = (of_month(1)?, of_month(7)?);
    let winter = one.min(other);
    match is_summer {
        false => Some(winter),
        true if one != other => Some(one.max(other)),
        true => Offset::from_seconds(winter.seconds() + 3_600).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_there(zone: &str, text: &str) -> Result<(i64, Option<i16>), String> {
        let stamp = read(&TimeZone::get(zone).unwrap(), text)?;
        Ok((stamp.instant.0 / 1_000_000, stamp.utc_offset_minutes))
    }

    fn read(zone: &TimeZone, text: &str) -> Result<Stamp, String> {
        super::read(zone, text)
    }

    #[test]
    fn the_hour_that_comes_twice_is_told_apart_by_the_meter() {
        let amsterdam = |text| read_there("Europe/Amsterdam", text);
        assert_eq!(amsterdam("221030023000S"), Ok((1_667_089_800, Some(120))));
        assert_eq!(amsterdam("221030023000W"), Ok((1_667_093_400, Some(60))));
        assert_eq!(amsterdam("161113205757W"), Ok((1_479_067_077, Some(60))));
        assert_eq!(amsterdam("221006155014S"), Ok((1_665_064_214, Some(120))));
        // A meter whose clock stays at winter time all year says so.
        assert_eq!(amsterdam("220701120000W"), Ok((1_656_673_200, Some(60))));
        assert_eq!(read_there("UTC", "220701120000S"), Ok((1_656_673_200, Some(60))));
    }

    #[test]
    fn without_the_letter_the_zone_says_it() {
        assert_eq!(read_there("Europe/Amsterdam", "161107190000"), Ok((1_478_541_600, Some(60))));
        let twice = read(&TimeZone::get("Europe/Amsterdam").unwrap(), "221030023000").unwrap();
        assert_eq!(twice.local_text.as_deref(), Some("221030023000"));
    }

    #[test]
    fn what_is_no_time_is_an_error() {
        for text in
            ["", "161113205757X", "161313205757W", "16111320575W", "6111320575700W", "1611132057é7W", "161113205757WW"]
        {
            assert!(read_there("Europe/Amsterdam", text).is_err(), "{text}");
        }
    }
}
