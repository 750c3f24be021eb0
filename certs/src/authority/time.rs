//! Instants as certificates hold them: whole seconds, UTC.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Whole seconds since the Unix epoch, UTC. Prints as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct UnixTime(u64);

/// An instant that a certificate cannot state: before 1970 or after 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an instant is before 1970 or after 9999; is the clock right?")]
pub struct TimeOutOfRange;

impl UnixTime {
    /// The last second of 9999, the end of what X.509 can write (RFC 5280, section 4.1.2.5).
    const MAX: u64 = 253_402_300_799;

    /// Seconds since the Unix epoch.
    pub fn seconds(self) -> u64 {
        self.0
    }

    pub(crate) fn plus(self, seconds: u64) -> Result<Self, TimeOutOfRange> {
        self.0.checked_add(seconds).ok_or(TimeOutOfRange)?.try_into()
    }

    pub(crate) fn minus(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    pub(crate) fn date_time(self) -> OffsetDateTime {
        // Both steps succeed for every value that `try_from` lets in; the epoch is never reached.
        let seconds = i64::try_from(self.0).unwrap_or_default();
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl TryFrom<u64> for UnixTime {
    type Error = TimeOutOfRange;

    fn try_from(seconds: u64) -> Result<Self, TimeOutOfRange> {
        if seconds <= Self::MAX { Ok(Self(seconds)) } else { Err(TimeOutOfRange) }
    }
}

impl TryFrom<i64> for UnixTime {
    type Error = TimeOutOfRange;

    fn try_from(seconds: i64) -> Result<Self, TimeOutOfRange> {
        u64::try_from(seconds).map_err(|_| TimeOutOfRange)?.try_into()
    }
}

impl TryFrom<SystemTime> for UnixTime {
    type Error = TimeOutOfRange;

    fn try_from(time: SystemTime) -> Result<Self, TimeOutOfRange> {
        time.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| TimeOutOfRange)?.as_secs().try_into()
    }
}

impl From<UnixTime> for u64 {
    fn from(time: UnixTime) -> Self {
        time.0
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, (hour, minute, second)) = (self.date_time().date(), self.date_time().to_hms());
        let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Seconds in a minute.
pub(crate) const MINUTE: u64 = 60;
/// Seconds in a day; certificates know no leap seconds.
pub(crate) const DAY: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_print_as_rfc_3339_and_end_with_the_year_9999() {
        let print = |seconds: u64| UnixTime::try_from(seconds).unwrap().to_string();
        assert_eq!(print(0), "1970-01-01T00:00:00Z");
        assert_eq!(print(1_709_210_096), "2024-02-29T12:34:56Z");
        assert_eq!(print(UnixTime::MAX), "9999-12-31T23:59:59Z");
        assert_eq!(UnixTime::try_from(UnixTime::MAX + 1), Err(TimeOutOfRange));
        assert_eq!(UnixTime::try_from(-1_i64), Err(TimeOutOfRange));
        assert_eq!(UnixTime(5).plus(u64::MAX), Err(TimeOutOfRange));
    }
}
