//! What pulse oximeters have in common: they speak many times a second, and one reading a second is enough.

use std::sync::Arc;
use std::time::Duration;

use proto::{Basis, Instant, Kind, Reading, Series, State, Value};

use super::device::{Now, Out, series};

/// From one reading to the next.
const EVERY: Duration = Duration::from_secs(1);
/// How long an oximeter may say nothing that makes sense: they all speak at least three times a second.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// What is said when it has.
pub(super) const SILENT: &str =
    "nothing that makes sense for 10 s; is the oximeter on, of this model, and its cable right?";

/// How an oximeter is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// It measures.
    Measuring,
    /// There is no finger in it, or the sensor does not see one.
    FingerOut,
    /// It has not found a pulse yet, or has lost it.
    Searching,
    /// The sensor is unplugged or broken.
    SensorDisconnected,
    /// It is not heard any more.
    Silent,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Measuring => "measuring",
            Self::FingerOut => "finger_out",
            Self::Searching => "searching",
            Self::SensorDisconnected => "sensor_disconnected",
            Self::Silent => "silent",
        }
    }
}

/// What an oximeter says at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) status: Status,
    /// Oxygen saturation in percent, or the code that stands for none.
    pub(super) spo2: Result<u16, u16>,
    /// Pulse in beats a minute, or the code that stands for none.
    pub(super) pulse: Result<u16, u16>,
}

/// Takes a reading a second out of all that an oximeter says.
pub(super) struct Sampler {
    status: Arc<Series>,
    spo2: Arc<Series>,
    pulse: Arc<Series>,
    /// When the next reading is due.
    next: Option<Instant>,
    was: Option<Status>,
    /// Whether saturation and pulse were told to be missing.
    missing: [bool; 2],
}

impl Default for Sampler {
    fn default() -> Self {
        Self {
            status: series("oximeter.status", "1", Kind::State),
            spo2: series("spo2", "%", Kind::Gauge),
            pulse: series("pulse", "/min", Kind::Gauge),
            next: None,
            was: None,
            missing: [false; 2],
        }
    }
}

impl Sampler {
    /// Takes what was said now, if a reading is due. What is missing is told once, as a state, never as a number.
    pub(super) fn take(&mut self, said: Said, now: Now, out: &mut Out) {
        if self.next.is_some_and(|next| now.boot < next) {
            return out.well();
        }
        // On the second where it is kept, so that readings do not drift.
        let on_time = self.next.map(|next| Now { boot: next, ..now }.after(EVERY)).filter(|next| *next > now.boot);
        self.next = Some(on_time.unwrap_or_else(|| now.after(EVERY)));
        self.tell(said.status, now, out);
        let measures = said.status == Status::Measuring;
        for (index, value) in [said.spo2, said.pulse].into_iter().enumerate() {
            let series = if index == 0 { &self.spo2 } else { &self.pulse };
            let was_missing = std::mem::replace(&mut self.missing[index], !measures || value.is_err());
            let value = match value {
                Ok(number) if measures => Value::Number(number.into()),
                _ if was_missing => continue,
                Ok(code) | Err(code) => Value::State(State::Other(code.into())),
            };
            out.sample(series, Basis::Boot, Reading::new(now.boot, value));
        }
    }

    /// The oximeter is not heard any more.
    pub(super) fn lost(&mut self, now: Now, out: &mut Out) {
        if self.was.is_some() {
            self.tell(Status::Silent, now, out);
        }
        (self.next, self.missing) = (None, [false; 2]);
    }

    fn tell(&mut self, status: Status, now: Now, out: &mut Out) {
        if self.was.replace(status) != Some(status) {
            let word = Value::Text(status.word().to_owned());
            out.sample(&self.status, Basis::Boot, Reading::new(now.boot, word));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::told;

    fn now(ms: i64) -> Now {
        Now { boot: Instant(ms * 1_000), wall: None }
    }

    fn said(spo2: u16) -> Said {
        Said { status: Status::Measuring, spo2: Ok(spo2), pulse: Ok(65) }
    }

    #[test]
    fn one_reading_a_second_is_taken_however_often_an_oximeter_speaks() {
        let (mut sampler, mut out) = (Sampler::default(), Out::default());
        for frame in 0..600 {
            sampler.take(said(97), now(frame * 1_000 / 60), &mut out);
        }
        let times: Vec<i64> = out
            .samples()
            .filter(|sample| sample.series.name.as_str() == "spo2")
            .map(|sample| sample.reading.time.0)
            .collect();
        assert_eq!(times.len(), 10);
        assert!(times.windows(2).all(|pair| (980_000..=1_020_000).contains(&(pair[1] - pair[0]))), "{times:?}");
        // After a pause, the next is taken at once, and those missed are not made up for.
        let mut out = Out::default();
        (0..3).for_each(|more| sampler.take(said(97), now(60_000 + more * 400), &mut out));
        assert_eq!(out.readings(), 2);
    }

    #[test]
    fn what_is_missing_is_a_state_once_and_never_a_number() {
        let (mut sampler, mut out) = (Sampler::default(), Out::default());
        sampler.take(said(97), now(0), &mut out);
        for second in 1..4 {
            let out_of_it = Said { status: Status::FingerOut, spo2: Ok(97), pulse: Err(255) };
            sampler.take(out_of_it, now(second * 1_000), &mut out);
        }
        sampler.take(Said { spo2: Err(127), ..said(0) }, now(4_000), &mut out);
        sampler.take(said(98), now(5_000), &mut out);
        sampler.lost(now(6_000), &mut out);
        sampler.lost(now(7_000), &mut out);
        assert_eq!(
            out.samples().map(told).collect::<Vec<_>>(),
            [
                "boot 0 oximeter.status [1] state Text(\"measuring\")",
                "boot 0 spo2 [%] gauge 97",
                "boot 0 pulse [/min] gauge 65",
                "boot 1000000 oximeter.status [1] state Text(\"finger_out\")",
                "boot 1000000 spo2 [%] gauge other(97)",
                "boot 1000000 pulse [/min] gauge other(255)",
                "boot 4000000 oximeter.status [1] state Text(\"measuring\")",
                "boot 4000000 pulse [/min] gauge 65",
                "boot 5000000 spo2 [%] gauge 98",
                "boot 5000000 pulse [/min] gauge 65",
                "boot 6000000 oximeter.status [1] state Text(\"silent\")",
            ]
        );
    }
}
