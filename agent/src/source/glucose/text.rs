//! What meters that speak in text have in common.

use jiff::civil::{DateTime, date, time};

/// The month of a name whose first three letters say it.
fn month_of(name: &str) -> Option<i8> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let index = MONTHS.iter().position(|month| name.get(..3) == Some(month))?;
    i8::try_from(index + 1).ok()
}

/// A number in digits alone.
pub(super) fn number_of<N: std::str::FromStr>(digits: &str) -> Option<N> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

/// A time such as `2013`, `July`, `09`, `14:26`; with seconds or without.
pub(super) fn date_of(year: &str, month: &str, day: &str, clock: &str) -> Option<DateTime> {
    let month = month_of(month).or_else(|| number_of(month))?;
    civil(number_of(year)?, month, number_of(day)?, clock)
}

/// The same with the date in numbers.
pub(super) fn civil(year: i16, month: i8, day: i8, clock: &str) -> Option<DateTime> {
    let mut parts = clock.split(':').map(number_of::<i8>);
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    datetime([year, month.into(), day.into(), hour.into(), minute.into(), second.into()])
}

/// Year, month, day, hour, minute, second, where that is a time.
pub(super) fn datetime([year, month, day, hour, minute, second]: [i16; 6]) -> Option<DateTime> {
    let small = |number: i16| i8::try_from(number).ok();
    let day = jiff::civil::Date::new(year, small(month)?, small(day)?).ok()?;
    let clock = jiff::civil::Time::new(small(hour)?, small(minute)?, small(second)?, 0).ok()?;
    Some(day.to_datetime(clock))
}

/// So many seconds after the beginning of `year`, on a clock without a zone.
pub(in crate::source) fn seconds_after(year: i16, seconds: u32) -> Option<DateTime> {
    let epoch = date(year, 1, 1).to_datetime(time(0, 0, 0, 0));
    epoch.checked_add(jiff::SignedDuration::from_secs(seconds.into())).ok()
}

/// The sum of all bytes, 16 bits of it.
pub(super) fn sum16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum: u16, byte| sum.wrapping_add(u16::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_meters_write_them() {
        assert_eq!(date_of("2014", "Apr", "22", "02:14:37"), Some(date(2014, 4, 22).at(2, 14, 37, 0)));
        assert_eq!(date_of("2013", "July", "10", "14:26"), Some(date(2013, 7, 10).at(14, 26, 0, 0)));
        for (month, day, clock) in
            [("Xxx", "10", "14:26"), ("Feb", "30", "14:26"), ("Feb", "10", "24:26"), ("Feb", "1", "1")]
        {
            assert_eq!(date_of("2013", month, day, clock), None);
        }
        assert_eq!(seconds_after(2000, 86_400 + 61), Some(date(2000, 1, 2).at(0, 1, 1, 0)));
    }
}
