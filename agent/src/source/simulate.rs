//! Readings that are made up: a person with a glucose sensor, or a household's electricity meter.
//!
//! The same seed and start give the same readings, on every machine and after every restart: the generators use
//! nothing but additions, multiplications and divisions, which IEEE 754 rounds alike everywhere.

use std::sync::Arc;

use jiff::Timestamp;
use proto::{Basis, Instant, Kind, Lane, Reading, Series, Value};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::file::thousandths;
use super::{BadSetting, Ended, Intake, Outlet, Sample, SourceClock, SourceError, SourceName};

mod meter;
mod person;

pub use meter::Meter;
pub use person::Person;

/// Steps one intake holds when many are due at once.
const INTAKE_STEPS_MAX: usize = 1_000;
const DAY_S: i64 = 86_400;

/// A simulation's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `person` or `meter`.
    pub what: What,
    /// Another seed is another person or household.
    #[serde(default = "seed")]
    pub seed: u64,
    /// Simulated seconds in one second, to three decimals. Readings are stamped with the present at any speed.
    #[serde(default = "speed")]
    pub speed: f64,
}

/// What is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// `glucose` in mg/dL every 5 minutes.
    Person,
    /// `power.active` in W every second, `energy.active` in W.h every minute.
    Meter,
}

fn seed() -> u64 {
    1
}

fn speed() -> f64 {
    1.0
}

impl Settings {
    /// Whether all settings can be.
    ///
    /// # Errors
    /// [`BadSetting`], which names the setting.
    pub fn validate(&self) -> Result<(), BadSetting> {
        thousandths("speed", self.speed).map(|_| ())
    }
}

/// One instant of a simulation.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Seconds since the simulation began.
    pub seconds: i64,
    /// The reading of each series of [`What::series`], where there is one.
    pub values: [Option<Value>; 2],
}

impl What {
    /// The series, in the order of [`Step::values`].
    #[must_use]
    pub fn series(self) -> Vec<Arc<Series>> {
        let series = |name: &str, unit: &str, kind| {
            let checked = "the names and units here are checked by a test";
            Arc::new(Series { name: name.parse().expect(checked), unit: unit.parse().expect(checked), kind })
        };
        match self {
            Self::Person => vec![series("glucose", "mg/dL", Kind::Gauge)],
            Self::Meter => {
                vec![series("power.active", "W", Kind::Gauge), series("energy.active", "W.h", Kind::Counter)]
            }
        }
    }

    /// Every step from `start` on, without end; the hour of `start` in UTC is the hour of the simulated day.
    pub fn steps(self, seed: u64, start: Instant) -> Box<dyn Iterator<Item = Step> + Send> {
        let second_of_day = start.0.div_euclid(1_000_000).rem_euclid(DAY_S);
        match self {
            Self::Person => Box::new(
                Person::starting_at(seed, second_of_day)
                    .map(|(seconds, glucose)| Step { seconds, values: [Some(glucose), None] }),
            ),
            Self::Meter => Box::new(
                Meter::new(seed).map(|(seconds, power, energy)| Step { seconds, values: [Some(power), energy] }),
            ),
        }
    }
}

/// A step as one line of JSON: `{"time":"2026-03-24T09:51:00Z","glucose":118}`. A state is its text.
#[must_use]
pub fn line(what: What, step: &Step, time: Instant) -> String {
    let time = Timestamp::from_microsecond(time.0).unwrap_or_default();
    let mut line = format!("{{\"time\":\"{time}\"");
    for (series, value) in what.series().iter().zip(&step.values) {
        match value {
            Some(Value::Number(number)) => line.push_str(&format!(",\"{}\":{number}", series.name)),
            Some(Value::State(state)) => line.push_str(&format!(",\"{}\":\"{state}\"", series.name)),
            _ => {}
        }
    }
    line.push('}');
    line
}

/// Lines without end, each with the instant it is to be printed at, `1/rate` seconds apart and stamped with it.
/// `rate` is in lines a second; a person's natural rate is 1/300, a meter's 1.
pub fn lines(what: What, seed: u64, start: Instant, rate: f64) -> impl Iterator<Item = (Instant, String)> {
    let spacing_us = 1e6 / rate.clamp(1e-6, 1e6);
    what.steps(seed, start).enumerate().map(move |(index, step)| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "saturates after 10^18 us")]
        let time = Instant(start.0.saturating_add((index as f64 * spacing_us) as i64));
        (time, line(what, &step, time))
    })
}

/// Where a simulation goes on.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    version: u8,
    start_us: i64,
    /// Steps that were handed over.
    steps: u64,
}

/// Makes readings up until `stop` is cancelled; what would have come while the agent was off comes at once.
///
/// # Errors
/// [`SourceError`] where settings or cursor cannot be.
pub async fn run(
    settings: Settings,
    name: SourceName,
    cursor: Option<Vec<u8>>,
    outlet: Outlet,
    clock: SourceClock,
    stop: CancellationToken,
) -> Result<Ended, SourceError> {
    let speed = i128::from(thousandths("speed", settings.speed)?);
    let Some(mut cursor) = begin(cursor, &clock, &stop).await? else { return Ok(Ended::Stopped) };
    let start = Instant(cursor.start_us);
    let series = settings.what.series();
    let passed = usize::try_from(cursor.steps).map_err(|_| SourceError::Cursor("too many steps".into()))?;
    let mut intake = Intake::empty(&name, Lane::Live);
    for (count, step) in settings.what.steps(settings.seed, start).skip(passed).enumerate() {
        let after_us = (i128::from(step.seconds) * 1_000_000_000).div_euclid(speed);
        let due = Instant(i64::try_from(i128::from(start.0) + after_us).unwrap_or(i64::MAX));
        let early = clock.wall().is_none_or(|now| now < due);
        if early || count % INTAKE_STEPS_MAX == 0 {
            let mut full = std::mem::replace(&mut intake, Intake::empty(&name, Lane::Live));
            full.cursor = serde_json::to_vec(&cursor).ok();
            if !full.is_empty() && !outlet.put_or_stop(full, &stop).await || !clock.reached(due, &stop).await {
                return Ok(Ended::Stopped);
            }
        }
        for (series, value) in series.iter().zip(step.values) {
            let Some(value) = value else { continue };
            let reading = Reading::new(due, value);
            intake.samples.push(Sample { series: Arc::clone(series), basis: Basis::Source, reading });
        }
        cursor.steps += 1;
    }
    Ok(Ended::Finished)
}

async fn begin(
    cursor: Option<Vec<u8>>,
    clock: &SourceClock,
    stop: &CancellationToken,
) -> Result<Option<Cursor>, SourceError> {
    if let Some(bytes) = cursor {
        let cursor: Cursor = serde_json::from_slice(&bytes).map_err(|error| SourceError::Cursor(error.to_string()))?;
        return match cursor.version {
            1 => Ok(Some(cursor)),
            other => Err(SourceError::Cursor(format!("version {other} is not known, only 1"))),
        };
    }
    let start = clock.wall_known(stop).await;
    Ok(start.map(|now| Cursor { version: 1, start_us: now.0.div_euclid(1_000_000) * 1_000_000, steps: 0 }))
}

#[cfg(test)]
mod tests;
