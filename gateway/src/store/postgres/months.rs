//! Which partitions of `reading` a transaction needs: one a month from 2000 to 2099.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::TimeZone;

/// 2000-01-01 and 2100-01-01.
const FIRST_US: i64 = 946_684_800_000_000;
const END_US: i64 = 4_102_444_800_000_000;
const WEEK_US: i64 = 7 * 86_400 * 1_000_000;

/// Months, counted from 2000-01.
#[derive(Default)]
pub(super) struct Months {
    needed: BTreeSet<i32>,
    /// Weeks of 7 days since 1970, of readings that are said to be of before it or after 2099.
    far: BTreeSet<i64>,
    /// The month that was last needed, from and to: most readings are of the same one as the one before.
    last: (i64, i64),
}

impl Months {
    /// Notes where a reading of `time_us` will lie.
    pub(super) fn need(&mut self, time_us: i64) {
        let (from, to) = self.last;
        if from <= time_us && time_us < to {
            return;
        }
        if let Some((month, span)) = month_of(time_us) {
            self.needed.insert(month);
            self.last = span;
        } else if !(0..END_US).contains(&time_us) {
            self.far.insert(time_us.div_euclid(WEEK_US));
        }
    }

    /// Weeks for which there may be no room.
    pub(super) fn far(&self) -> Vec<i64> {
        self.far.iter().copied().collect()
    }

    /// Those that are not among `known`.
    pub(super) fn unknown(&self, known: &BTreeSet<i32>) -> Vec<i32> {
        self.needed.difference(known).copied().collect()
    }
}

/// The month that holds an instant, and from when to when it goes. What lies before 2000 or after 2099 has none.
fn month_of(time_us: i64) -> Option<(i32, (i64, i64))> {
    if !(FIRST_US..END_US).contains(&time_us) {
        return None;
    }
    let day = Timestamp::from_microsecond(time_us).ok()?.to_zoned(TimeZone::UTC).date();
    let month = (i32::from(day.year()) - 2000) * 12 + i32::from(day.month()) - 1;
    let start = |month: i32| {
        let year = i16::try_from(2000 + month / 12).ok()?;
        let first = date(year, i8::try_from(month % 12 + 1).ok()?, 1);
        Some(first.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond())
    };
    Some((month, (start(month)?, start(month + 1)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_goes_from_its_first_instant_to_the_next_ones() {
        let us = |text: &str| text.parse::<Timestamp>().unwrap().as_microsecond();
        let march = (us("2026-03-01T00:00:00Z"), us("2026-04-01T00:00:00Z"));
        assert_eq!(month_of(march.0), Some((314, march)));
        assert_eq!(month_of(march.1 - 1), Some((314, march)));
        assert_eq!(month_of(FIRST_US - 1), None);
        assert_eq!(month_of(END_US - 1).map(|(month, _)| month), Some(1_199));
        assert_eq!(month_of(i64::MAX), None);
    }
}
