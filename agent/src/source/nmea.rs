//! Positions of a satellite receiver: sentences of NMEA 0183, GGA and RMC.
//!
//! A position is personal data: what goes wrong is told of without it. [`sentence`] reads what a sentence says.

use std::sync::Arc;

use jiff::civil::DateTime;
use proto::{Basis, Instant, Kind, Reading, Series, Value};
use serde::{Deserialize, Serialize};

use super::device::{Codec, Device, Line, Link, Now, Out, check_port, series};
use super::lines::Framer;
use super::pace::Pace;
use super::{BadSetting, SourceError};

mod sentence;

use sentence::{Fix, Sentence};

/// A receiver's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The port that the receiver is at: `/dev/serial/by-id/…`, or `tcp://host:port`.
    pub port: String,
    /// Bits per second: 4800, or 9600 and more with many receivers.
    #[serde(default = "baud")]
    pub baud: u32,
    /// Take a position at most so often, in seconds; 0: every one.
    #[serde(default)]
    pub every_s: u32,
    /// Seconds without a sentence after which the port is opened anew; 0: never.
    #[serde(default = "silence_s")]
    pub silence_s: u32,
}

fn baud() -> u32 {
    9_600
}

fn silence_s() -> u32 {
    30
}

/// Bytes a sentence may have: 82 by the standard, and more with some receivers.
const SENTENCE_BYTES: usize = 160;
/// Bytes between two ends of lines: there may be several sentences in them whose own ends were lost.
const LINE_BYTES: usize = 1_024;
const TOO_LONG: &str = "is longer than a sentence may be";
/// Half a day, in microseconds: a time of day is of the date that brings it closest to the last one known.
const HALF_DAY: i64 = 43_200_000_000;

impl Device for Settings {
    fn validate(&self) -> Result<(), BadSetting> {
        check_port(&self.port)?;
        if !(300..=4_000_000).contains(&self.baud) {
            return Err(BadSetting::new("baud", "is to be 300 to 4000000; most receivers have 4800 or 9600"));
        }
        Pace::check(self.every_s, self.silence_s)
    }

    fn link(&self) -> Link {
        Link { port: self.port.clone(), line: Line::plain(self.baud) }
    }

    fn codec(&self, _cursor: Option<&[u8]>) -> Result<Box<dyn Codec>, SourceError> {
        Ok(Box::new(Nmea {
            framer: Framer::new(LINE_BYTES),
            pace: Pace::new(self.every_s, self.silence_s),
            sheet: Sheet::new(),
            known: None,
            moment: None,
            is_whole: false,
            wanted: true,
        }))
    }
}

/// The series of a receiver.
struct Sheet {
    latitude: Arc<Series>,
    longitude: Arc<Series>,
    altitude: Arc<Series>,
    satellites: Arc<Series>,
    fix: Arc<Series>,
    speed: Arc<Series>,
    course: Arc<Series>,
}

impl Sheet {
    fn new() -> Self {
        Self {
            latitude: series("position.latitude", "deg", Kind::Gauge),
            longitude: series("position.longitude", "deg", Kind::Gauge),
            altitude: series("position.altitude", "m", Kind::Gauge),
            satellites: series("position.satellites", "1", Kind::Gauge),
            fix: series("position.fix", "1", Kind::State),
            speed: series("position.speed", "[kn_i]", Kind::Gauge),
            course: series("position.course", "deg", Kind::Gauge),
        }
    }
}

struct Nmea {
    framer: Framer,
    pace: Pace,
    sheet: Sheet,
    /// The last moment of which the date was known.
    known: Option<Instant>,
    /// The time of day that the last position was of, as written, so that no sentence repeats it.
    moment: Option<String>,
    /// Whether lines are whole: the first one after opening may not be.
    is_whole: bool,
    /// Whether the present moment is taken.
    wanted: bool,
}

impl Nmea {
    fn take(&mut self, line: &[u8], now: Now, out: &mut Out) -> Result<(), &'static str> {
        let Some(sentence) = Sentence::read(line)? else {
            self.pace.expect(now, out); // one that is not looked at
            return Ok(());
        };
        self.pace.expect(now, out);
        out.well();
        let is_new = self.moment.as_deref() != Some(sentence.time.as_str()) || sentence.time.is_empty();
        if is_new {
            self.wanted = self.pace.is_due(now);
            self.moment = Some(sentence.time.clone());
        }
        let at = self.date(&sentence);
        if !self.wanted {
            return Ok(());
        }
        let mut put = |series: &Arc<Series>, number: Option<f64>| {
            let Some(number) = number else { return };
            match at {
                Some(at) => out.sample(series, Basis::Source, Reading::new(at, Value::Number(number))),
                None => out.sample(series, Basis::Boot, Reading::new(now.boot, Value::Number(number))),
            }
        };
        if is_new && let Some((latitude, longitude)) = sentence.position {
            put(&self.sheet.latitude, Some(latitude));
            put(&self.sheet.longitude, Some(longitude));
        }
        match sentence.fix {
            Fix::Gga { quality, satellites, altitude } => {
                put(&self.sheet.altitude, altitude);
                put(&self.sheet.satellites, satellites);
                put(&self.sheet.fix, Some(quality));
            }
            Fix::Rmc { speed, course, .. } => {
                put(&self.sheet.speed, speed);
                put(&self.sheet.course, course);
            }
        }
        Ok(())
    }

    /// The moment of a sentence, where its date is known: RMC says it, and GGA follows it.
    fn date(&mut self, sentence: &Sentence) -> Option<Instant> {
        let time = sentence.clock?;
        let micros = |date: jiff::civil::Date| {
            let local: DateTime = date.to_datetime(time);
            let instant = jiff::tz::Offset::UTC.to_timestamp(local).ok()?;
            Some(Instant(instant.as_microsecond()))
        };
        if let Fix::Rmc { date: Some(date), .. } = sentence.fix {
            self.known = micros(date);
            return self.known;
        }
        let Instant(known) = self.known?;
        let day = jiff::Timestamp::from_microsecond(known).ok()?;
        let day = jiff::tz::Offset::UTC.to_datetime(day).date();
        let near = |at: &Instant| (at.0 - known).abs() <= HALF_DAY;
        let days = [Some(day), day.tomorrow().ok(), day.yesterday().ok()];
        let at = days.into_iter().flatten().filter_map(micros).find(near)?;
        self.known = Some(at);
        Some(at)
    }
}

impl Codec for Nmea {
    fn opened(&mut self, now: Now, out: &mut Out) {
        self.framer.clear();
        // What time it is there may have changed while nobody listened.
        (self.known, self.moment, self.is_whole, self.wanted) = (None, None, false, true);
        self.pace.expect(now, out);
    }

    fn heard(&mut self, bytes: &[u8], now: Now, out: &mut Out) {
        self.framer.push(bytes);
        while let Some(line) = self.framer.next() {
            let is_first = !std::mem::replace(&mut self.is_whole, true);
            if line.too_long {
                out.reject("sentence", TOO_LONG, &line.bytes);
                continue;
            }
            // `$` stands nowhere but at the beginning: what is before it lost its end, or is noise.
            let begins = line.bytes.iter().rposition(|byte| *byte == b'$').unwrap_or(0);
            let (broken, sentence) = line.bytes.split_at(begins);
            // The end of a sentence that had begun before the port was opened is no fault of anyone.
            let is_fault = |bytes: &[u8]| !is_first || bytes.starts_with(b"$");
            if !broken.is_empty() && is_fault(broken) {
                out.reject("sentence", "was cut off: another one begins in it", broken);
            }
            let is_short = sentence.len() <= SENTENCE_BYTES;
            let taken = if is_short { self.take(sentence, now, out) } else { Err(TOO_LONG) };
            if let Err(problem) = taken
                && is_fault(sentence)
            {
                out.reject("sentence", problem, sentence);
            }
        }
    }

    fn due(&mut self, _now: Now, out: &mut Out) {
        self.pace.give_up("check `baud` (4800, 9600, 38400 or 115200) and the cable", out);
    }
}

#[cfg(test)]
mod tests;
