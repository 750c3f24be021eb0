//! The times that sites write.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::{rfc2822, strtime};
use jiff::tz::TimeZone;

/// 2000-01-01T00:00:00Z in milliseconds. Smaller numbers are taken for seconds, as Nightscout does.
const LEAST_MS: f64 = 946_684_800_000.0;
/// 2100-01-01T00:00:00Z: what lies behind it is no time of a reading.
const END_MS: f64 = 4_102_444_800_000.0;

/// Milliseconds since the Unix epoch, rounded: some apps send fractions.
pub(super) fn number(number: f64) -> Option<i64> {
    let ms = if number < LEAST_MS { number * 1_000.0 } else { number }.round();
    #[expect(clippy::cast_possible_truncation, reason = "bounded here")]
    (LEAST_MS..END_MS).contains(&ms).then_some(ms as i64)
}

/// ISO 8601 or RFC 2822. Without an offset it is UTC, as on nearly every site.
pub(super) fn text(text: &str) -> Option<i64> {
    let text = text.trim();
    let parsed: Result<Timestamp, _> = text.parse();
    let local = |text: &str| text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let instant =
        parsed.ok().or_else(|| local(text)).or_else(|| rfc2822::parse(text).ok().map(|zoned| zoned.timestamp()))?;
    #[expect(clippy::cast_precision_loss, reason = "years that can be counted are less than 2^53 ms")]
    number(instant.as_millisecond() as f64)
}

/// As headers have it (RFC 9110, section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn http(text: &str) -> Option<i64> {
    let parts = strtime::parse("%a, %d %b %Y %H:%M:%S GMT", text).ok()?;
    parts.to_datetime().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_millisecond())
}

/// As a query has it: `2026-03-01T12:00:00.000Z`.
pub(super) fn iso(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map(|instant| format!("{instant:.3}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_a_time_is_read() {
        assert_eq!(number(1_745_408_563_081.73), Some(1_745_408_563_082));
        assert_eq!(number(1_745_408_563.0), Some(1_745_408_563_000));
        for bad in [f64::NAN, f64::INFINITY, 0.0, -1.0, 12.0, 1e15] {
            assert_eq!(number(bad), None, "{bad}");
        }
        for one in [
            "2019-06-10T08:07:08,576+02:00",
            "2019-06-10T06:07:08.576Z",
            "2019-06-10T08:07:08.576+0200",
            "2019-06-10 06:07:08.576",
            "2019-06-10T06:07:08.576",
        ] {
            assert_eq!(text(one), Some(1_560_146_828_576), "{one}");
        }
        assert_eq!(text("Mon, 10 Jun 2019 08:07:08 +0200"), Some(1_560_146_828_000));
        assert_eq!(text("yesterday"), None);
        assert_eq!(http("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000));
        assert_eq!(iso(1_560_146_828_576), "2019-06-10T06:07:08.576Z");
        assert_eq!(iso(1_560_146_828_000), "2019-06-10T06:07:08.000Z");
    }
}
