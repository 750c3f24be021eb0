//! When a row of the past is due in the present. Integers only, so that the same row is always due at the same time.

use jiff::{Span, SpanRelativeTo};
use proto::Instant;
use serde::{Deserialize, Serialize};

use crate::source::BadSetting;

/// How the file's time maps to ours; kept in the cursor, so that a restart changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Schedule {
    /// When the replay first began, Unix epoch.
    pub(super) start_us: i64,
    /// Rows before this are not played.
    pub(super) cutoff_us: i64,
    /// The first played row's time; none until it was met.
    pub(super) first_us: Option<i64>,
}

impl Schedule {
    /// When a row of `at` is due at `speed` thousandths: `start + (at − first) / speed`, rounded down to microseconds;
    /// none for a row that is not played.
    pub(super) fn due(&mut self, at: Instant, speed: i64) -> Option<Instant> {
        if at.0 < self.cutoff_us {
            return None;
        }
        let first = *self.first_us.get_or_insert(at.0);
        let passed = (i128::from(at.0) - i128::from(first)) * 1_000;
        let due = i128::from(self.start_us) + passed.div_euclid(i128::from(speed));
        Some(Instant(i64::try_from(due).unwrap_or(i64::MAX)))
    }
}

/// A speed in thousandths; 0.001 to a million.
pub(in crate::source) fn thousandths(field: &str, speed: f64) -> Result<i64, BadSetting> {
    let thousandths = (speed * 1e3).round();
    if !(1.0..=1e9).contains(&thousandths) {
        return Err(BadSetting::new(field, "is to be 0.001 to 1000000"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    Ok(thousandths as i64)
}

/// A span such as `1 day`, in microseconds.
pub(super) fn micros(field: &str, text: Option<&str>) -> Result<Option<i64>, BadSetting> {
    let Some(text) = text else { return Ok(None) };
    let duration =
        text.parse::<Span>().ok().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let micros = duration.and_then(|duration| i64::try_from(duration.as_micros()).ok()).filter(|micros| *micros > 0);
    micros.map(Some).ok_or_else(|| BadSetting::new(field, "is to be a span such as `1 day` or `90 min`"))
}
