//! A record's own time as text, and the instant it means.

use jiff::civil::DateTime;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};
use proto::Instant;
use serde::{Deserialize, Serialize};

use super::BadSetting;
use super::fields::Key;

/// Where a record's time is, and how it is written.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TimeSettings {
    /// The column: a header's name or a number from 1 in CSV, a key or dotted path in JSON.
    pub column: Key,
    /// As in strptime(3): `%Y-%m-%d %H:%M:%S`. Left out: RFC 3339, such as `2026-03-24T09:51:00-04:00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// For numbers since the Unix epoch: `s`, `ms` or `us`. Not together with `format`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<EpochUnit>,
}

/// What a number since the Unix epoch counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EpochUnit {
    /// Seconds, with decimals or without.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
}

impl EpochUnit {
    fn micros(self) -> i64 {
        match self {
            Self::S => 1_000_000,
            Self::Ms => 1_000,
            Self::Us => 1,
        }
    }
}

/// What a record says of its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) instant: Instant,
    pub(super) utc_offset_minutes: Option<i16>,
    /// The time as written, where the zone's clocks skipped or repeated it.
    pub(super) local_text: Option<Box<str>>,
}

/// Reads times as the settings say.
#[derive(Debug)]
pub(super) struct TimeReader {
    way: Way,
    zone: Option<TimeZone>,
}

#[derive(Debug)]
enum Way {
    Rfc3339,
    Strptime(String),
    Epoch(EpochUnit),
}

/// The zone of that name; `field` is the setting. UTC is known where a system has no zones at all.
pub(super) fn zone_of(field: &str, name: Option<&str>) -> Result<Option<TimeZone>, BadSetting> {
    let Some(name) = name else { return Ok(None) };
    if matches!(name, "UTC" | "Etc/UTC") {
        return Ok(Some(TimeZone::UTC));
    }
    let unknown = |_| BadSetting::new(field, format!("`{name}` is no time zone; {}", what_to_do_about_zones()));
    TimeZone::get(name).map(Some).map_err(unknown)
}

fn what_to_do_about_zones() -> &'static str {
    if cfg!(feature = "zones") || std::path::Path::new("/usr/share/zoneinfo").exists() {
        "use a name such as Europe/Berlin"
    } else {
        "this system knows none: install its package `tzdata`, or build the agent with the feature `zones`"
    }
}

impl TimeReader {
    /// Checks the settings; a format without offset needs `time_zone`.
    pub(super) fn new(settings: &TimeSettings, time_zone: Option<&str>) -> Result<Self, BadSetting> {
        let zone = zone_of("time_zone", time_zone)?;
        let way = match (&settings.format, settings.unit) {
            (Some(_), Some(_)) => {
                return Err(BadSetting::new("time.unit", "is for numbers and has no place beside `format`; keep one"));
            }
            (None, Some(unit)) => Way::Epoch(unit),
            (None, None) => Way::Rfc3339,
            (Some(format), None) => {
                check_format(format, zone.is_some())?;
                Way::Strptime(format.clone())
            }
        };
        Ok(Self { way, zone })
    }

    /// The instant that `text` means, or what is wrong with it, without repeating it.
    pub(super) fn read(&self, text: &str) -> Result<Stamp, String> {
        let (local, offset) = match &self.way {
            Way::Epoch(unit) => return self.epoch(text, *unit),
            Way::Rfc3339 => rfc3339(text)?,
            Way::Strptime(format) => strptime(format, text)?,
        };
        match (offset, &self.zone) {
            (Some(Said::Utc), _) => self.at(Offset::UTC.to_timestamp(local), None),
            (Some(Said::Offset(offset)), _) => self.at(offset.to_timestamp(local), Some(offset)),
            (None, Some(zone)) => local_at(zone, local, text),
            (None, None) => Err("has no offset from UTC; set `time_zone`".into()),
        }
    }

    fn epoch(&self, text: &str, unit: EpochUnit) -> Result<Stamp, String> {
        let micros = match text.parse::<i64>() {
            Ok(whole) => whole.checked_mul(unit.micros()),
            Err(_) => fraction(text, unit),
        };
        let micros = micros.ok_or("is no number of the unit that `time.unit` says")?;
        self.at(Timestamp::from_microsecond(micros), None)
    }

    /// The stamp of an instant; without an offset of its own it gets the zone's.
    fn at(&self, instant: Result<Timestamp, jiff::Error>, offset: Option<Offset>) -> Result<Stamp, String> {
        let instant = instant.map_err(|_| "is beyond the years that can be counted")?;
        let offset = offset.or_else(|| self.zone.as_ref().map(|zone| zone.to_offset(instant)));
        let utc_offset_minutes = offset.and_then(minutes_of);
        Ok(Stamp { instant: Instant(instant.as_microsecond()), utc_offset_minutes, local_text: None })
    }
}

/// The instant that a clock in `zone` shows as `local`; `text` is how the origin wrote it.
pub(super) fn local_at(zone: &TimeZone, local: DateTime, text: &str) -> Result<Stamp, String> {
    let meant = zone.to_ambiguous_timestamp(local);
    let ambiguous = meant.is_ambiguous();
    // A time that was skipped is moved on by the gap, one that came twice is taken the first time (RFC 5545).
    let instant = meant.compatible().map_err(|_| "is beyond the years that can be counted")?;
    let instant = Instant(instant.as_microsecond());
    let utc_offset_minutes = offset_at(zone, instant);
    Ok(Stamp { instant, utc_offset_minutes, local_text: ambiguous.then(|| text.into()) })
}

/// The offset of `zone` at an instant, in minutes.
pub(super) fn offset_at(zone: &TimeZone, instant: Instant) -> Option<i16> {
    minutes_of(zone.to_offset(Timestamp::from_microsecond(instant.0).ok()?))
}

/// Whole minutes only: no zone has had seconds since 1972.
fn minutes_of(offset: Offset) -> Option<i16> {
    let seconds = offset.seconds();
    (seconds % 60 == 0).then(|| i16::try_from(seconds / 60).ok())?
}

/// What a text says of its offset.
enum Said {
    /// `Z`: the instant is known, the local offset is not (RFC 9557, section 2.1).
    Utc,
    Offset(Offset),
}

fn rfc3339(text: &str) -> Result<(DateTime, Option<Said>), String> {
    let wrong = "is no RFC 3339 time such as 2026-03-24T09:51:00-04:00; set `time.format` for another form";
    let pieces = Pieces::parse(text).map_err(|_| wrong)?;
    let time = pieces.time().ok_or(wrong)?;
    let said = pieces.offset().map(|offset| match offset {
        PiecesOffset::Zulu => Said::Utc,
        other => Said::Offset(other.to_numeric_offset()),
    });
    Ok((pieces.date().to_datetime(time), said))
}

fn strptime(format: &str, text: &str) -> Result<(DateTime, Option<Said>), String> {
    let wrong = |_| "does not have the form that `time.format` says".to_string();
    let parts = BrokenDownTime::parse(format, text).map_err(wrong)?;
    if let Some(instant) = parts.timestamp() {
        return Ok((Offset::UTC.to_datetime(instant), Some(Said::Utc)));
    }
    Ok((parts.to_datetime().map_err(wrong)?, parts.offset().map(Said::Offset)))
}

/// Writes and reads one instant with `format`, to see that it says enough.
fn check_format(format: &str, has_zone: bool) -> Result<(), BadSetting> {
    let bad = |problem: String| BadSetting::new("time.format", problem);
    let example: Zoned = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    let text = strtime::format(format, &example).map_err(|error| bad(format!("cannot be used: {error}")))?;
    let (_, said) = strptime(format, &text)
        .map_err(|_| bad("does not say a whole date and time, such as %Y-%m-%d %H:%M:%S".into()))?;
    if said.is_none() && !has_zone {
        let problem = "is needed, because `time.format` has no offset from UTC (%z); such as Europe/Berlin";
        return Err(BadSetting::new("time_zone", problem));
    }
    Ok(())
}

/// A decimal number of `unit`, to the nearest microsecond.
fn fraction(text: &str, unit: EpochUnit) -> Option<i64> {
    let number: f64 = text.parse().ok()?;
    let micros = (number * unit.micros() as f64).round();
    #[expect(clippy::cast_possible_truncation, reason = "bounded here")]
    (micros.abs() < 1e18).then_some(micros as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(format: Option<&str>, unit: Option<EpochUnit>, zone: Option<&str>) -> Result<TimeReader, BadSetting> {
        let settings = TimeSettings { column: Key::Name("t".into()), format: format.map(Into::into), unit };
        TimeReader::new(&settings, zone)
    }

    const PLAIN: Option<&str> = Some("%Y-%m-%d %H:%M:%S");
    const NEW_YORK: Option<&str> = Some("America/New_York");

    #[test]
    fn local_times_take_their_zones_offset() {
        let reader = reader(PLAIN, None, NEW_YORK).unwrap();
        let winter = reader.read("2010-01-24 09:51:00").unwrap();
        assert_eq!(winter.instant, Instant(1_264_344_660_000_000));
        assert_eq!((winter.utc_offset_minutes, winter.local_text), (Some(-300), None));
        assert_eq!(reader.read("2010-03-24 09:51:00").unwrap().utc_offset_minutes, Some(-240));
        assert!(reader.read("24.3.2010").is_err());
    }

    #[test]
    fn a_local_time_that_was_skipped_or_came_twice_is_kept_with_its_text() {
        let reader = reader(PLAIN, None, NEW_YORK).unwrap();
        let skipped = reader.read("2010-03-14 02:30:00").unwrap(); // clocks went from 2 to 3: it is read as 03:30 -04:00
        assert_eq!((skipped.instant, skipped.utc_offset_minutes), (Instant(1_268_551_800_000_000), Some(-240)));
        assert_eq!(skipped.local_text.as_deref(), Some("2010-03-14 02:30:00"));
        let twice = reader.read("2010-11-07 01:30:00").unwrap(); // it is read as the first, in summer time
        assert_eq!((twice.instant, twice.utc_offset_minutes), (Instant(1_289_107_800_000_000), Some(-240)));
        assert_eq!(twice.local_text.as_deref(), Some("2010-11-07 01:30:00"));
    }

    #[test]
    fn a_text_with_an_offset_needs_no_zone() {
        let rfc = reader(None, None, None).unwrap();
        let stamp = rfc.read("2026-03-24T09:51:00.25-04:00").unwrap();
        assert_eq!((stamp.instant, stamp.utc_offset_minutes), (Instant(1_774_360_260_250_000), Some(-240)));
        assert_eq!(rfc.read("2026-03-24T13:51:00.25Z").unwrap().utc_offset_minutes, None);
        assert!(rfc.read("2026-03-24T09:51:00").unwrap_err().contains("`time_zone`"));
        assert!(rfc.read("yesterday").is_err());
        let custom = reader(Some("%d.%m.%Y %H:%M %z"), None, None).unwrap();
        assert_eq!(custom.read("24.03.2026 09:51 +0100").unwrap().utc_offset_minutes, Some(60));
    }

    #[test]
    fn numbers_count_from_the_epoch_in_their_unit() {
        for (unit, text) in [(EpochUnit::S, "1700000000.5"), (EpochUnit::Ms, "1700000000500")] {
            let stamp = reader(None, Some(unit), None).unwrap().read(text).unwrap();
            assert_eq!((stamp.instant, stamp.utc_offset_minutes), (Instant(1_700_000_000_500_000), None));
        }
        let micros = reader(None, Some(EpochUnit::Us), NEW_YORK).unwrap();
        assert_eq!(micros.read("1700000000500000").unwrap().utc_offset_minutes, Some(-300));
        for bad in ["", "x", "1e300", "NaN", "9223372036854775807"] {
            assert!(micros.read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn settings_that_say_too_little_are_named() {
        let field = |result: Result<TimeReader, BadSetting>| result.unwrap_err().field;
        assert_eq!(field(reader(PLAIN, None, None)), "time_zone");
        assert_eq!(field(reader(PLAIN, None, Some("Mars/Base"))), "time_zone");
        assert_eq!(field(reader(Some("%H:%M"), None, NEW_YORK)), "time.format");
        assert_eq!(field(reader(Some("%Y-%m-%d %"), None, NEW_YORK)), "time.format");
        assert_eq!(field(reader(PLAIN, Some(EpochUnit::S), NEW_YORK)), "time.unit");
    }
}
