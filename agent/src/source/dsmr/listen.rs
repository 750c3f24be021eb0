//! A P1 port over time.

use std::sync::Arc;

use jiff::tz::TimeZone;
use proto::{Basis, Reading, Series, Value};

use super::seen::Seen;
use super::sheet::{Sheet, channel_name, known};
use super::stamp;
use super::telegram::{Finder, Found, Object, objects};
use crate::source::device::{Codec, Now, Out};
use crate::source::pace::Pace;
use crate::source::times::Stamp;

/// The object that says a telegram's time.
const TIME: &str = "0-0:1.0.0";

/// Listens to telegrams.
pub(super) struct Listen {
    zone: TimeZone,
    is_checked: bool,
    pace: Pace,
    finder: Finder,
    sheet: Sheet,
    /// What was taken of meters on the bus, and of series that are taken when they change.
    seen: Seen,
}

impl Listen {
    pub(super) fn new(zone: TimeZone, is_checked: bool, pace: Pace, seen: Seen) -> Self {
        let (finder, sheet) = (Finder::default(), Sheet::default());
        Self { zone, is_checked, pace, finder, sheet, seen }
    }

    fn take(&mut self, telegram: &[u8], now: Now, out: &mut Out) {
        let Ok(text) = std::str::from_utf8(telegram) else {
            return out.reject("telegram", "is no text; check baud rate, parity and `version`", telegram);
        };
        let objects = objects(text);
        let time = objects.iter().find(|object| object.id == TIME).and_then(|object| object.values.first());
        let time = match time.map(|time| stamp::read(&self.zone, time)) {
            Some(Ok(stamp)) => Some(stamp),
            Some(Err(problem)) => {
                out.reject("telegram", format!("its time {problem}; it is stamped as it arrives"), telegram);
                None
            }
            None => None,
        };
        let mut is_new = false;
        for object in &objects {
            match self.object(object, time.as_ref(), now, out) {
                Ok(is_changed) => is_new |= is_changed,
                Err(problem) => out.reject("telegram", format!("object {} {problem}", short(object.id)), telegram),
            }
        }
        is_new |= self.channels(&objects, telegram, out);
        if is_new {
            out.commit(self.seen.encode());
        }
    }

    /// Whether the cursor knows of it.
    fn object(
        &mut self,
        object: &Object<'_>,
        time: Option<&Stamp>,
        now: Now,
        out: &mut Out,
    ) -> Result<bool, &'static str> {
        let Some((name, way)) = known(object.id) else { return Ok(false) };
        let text = object.values.first().copied().unwrap_or_default();
        let (series, value) = self.sheet.read(name, way, text)?;
        let is_said_once = way.is_said_once();
        if is_said_once && !self.seen.is_changed(name, text) {
            return Ok(false);
        }
        match time {
            Some(stamp) => put(&series, stamp, value, out),
            None => out.sample(&series, Basis::Boot, Reading::new(now.boot, value)),
        }
        Ok(is_said_once)
    }

    /// What the meters on the bus said, each with its own time; whether any of it is new.
    fn channels(&mut self, objects: &[Object<'_>], telegram: &[u8], out: &mut Out) -> bool {
        let mut is_new = false;
        for object in objects {
            let Some((channel, what)) = channel(object.id) else { continue };
            let (time, number, unit) = match (what, object.values.as_slice()) {
                ("24.2.1" | "24.2.3", [time, value]) => match value.split_once('*') {
                    Some((number, unit)) => (*time, number, unit),
                    None => continue, // a channel that nothing is connected to
                },
                // Time, state, minutes of an interval, how many values, what they are, their unit, the value.
                ("24.3.0", [time, _, _, _, _, unit, number]) => (*time, *number, *unit),
                _ => continue,
            };
            let code = objects.iter().find(|other| self::channel(other.id) == Some((channel, "24.1.0")));
            let code = code.and_then(|code| code.values.first()?.parse().ok());
            let name = channel_name(channel, code);
            let read = stamp::read(&self.zone, time).map_err(|problem| format!("'s time {problem}"));
            let taken = read.and_then(|stamp| {
                let (series, value) =
                    self.sheet.counter(&name, number, unit).map_err(|problem| format!(" {problem}"))?;
                if self.seen.take(channel, stamp.instant) {
                    put(&series, &stamp, value, out);
                    is_new = true;
                }
                Ok(())
            });
            if let Err(problem) = taken {
                out.reject("telegram", format!("object {}{problem}", short(object.id)), telegram);
            }
        }
        is_new
    }
}

fn put(series: &Arc<Series>, stamp: &Stamp, value: Value, out: &mut Out) {
    let mut reading = Reading::new(stamp.instant, value);
    reading.utc_offset_minutes = stamp.utc_offset_minutes;
    reading.local_text.clone_from(&stamp.local_text);
    out.sample(series, Basis::Source, reading);
}

/// The channel, 1 to 4, and what is said of it.
fn channel(id: &str) -> Option<(u8, &str)> {
    let (channel, what) = id.strip_prefix("0-")?.split_once(':')?;
    let channel = channel.parse().ok().filter(|channel| (1..=4).contains(channel))?;
    Some((channel, what))
}

/// Enough of a code to know it by.
fn short(id: &str) -> String {
    id.chars().take(20).collect()
}

impl Codec for Listen {
    fn opened(&mut self, now: Now, out: &mut Out) {
        self.finder.clear();
        self.pace.expect(now, out);
    }

    fn heard(&mut self, bytes: &[u8], now: Now, out: &mut Out) {
        self.finder.push(bytes);
        while let Some(found) = self.finder.next(self.is_checked) {
            self.finder.noise.tell(out);
            match found {
                Found::Telegram(telegram) => {
                    self.pace.expect(now, out);
                    out.well();
                    if self.pace.is_due(now) {
                        self.take(&telegram, now, out);
                    }
                }
                Found::Bad(problem, bytes) => out.reject("telegram", problem, &bytes),
            }
        }
        self.finder.noise.tell_much(out);
    }

    fn due(&mut self, _now: Now, out: &mut Out) {
        self.finder.noise.tell(out);
        self.pace.give_up("is the cable's data request line (pin 2) connected to +5 V?", out);
    }
}
