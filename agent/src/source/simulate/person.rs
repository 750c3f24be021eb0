//! A person with type 1 diabetes who wears a glucose sensor. Plausible, not physiological: for tests and demonstrations.

use std::collections::VecDeque;

use proto::{State, Value};

use crate::random::Random;

/// Seconds between readings: what today's sensors do.
pub(super) const INTERVAL_S: i64 = 300;
const MINUTE_S: f64 = 60.0;
const DAY_S: i64 = 86_400;
/// A sensor is worn 10 days and warms up for 2 hours, as the common ones.
const SESSION_READINGS: i64 = 10 * DAY_S / INTERVAL_S;
const WARM_UP_READINGS: i64 = 7_200 / INTERVAL_S;
/// What the sensor can measure, mg/dL; beyond it says low(39) or high(401), as Nightscout records it.
const MEASURABLE: std::ops::RangeInclusive<i32> = 40..=400;

/// Glucose of one person, reading by reading: (seconds since the start, value in mg/dL or a state).
#[derive(Clone, Debug)]
pub struct Person {
    random: Random,
    /// The hour of the day at the start, in seconds.
    second_of_day: i64,
    readings: i64,
    /// Readings since the present sensor was put on.
    worn: i64,
    /// What moves glucose now: meals, insulin, mishaps.
    influences: VecDeque<Influence>,
    /// Slow wandering, mg/dL.
    drift: f64,
}

/// Something that raises or lowers glucose for a while.
#[derive(Clone, Copy, Debug)]
struct Influence {
    begin_s: i64,
    /// Seconds until it is strongest.
    peak_s: f64,
    /// How strong, mg/dL.
    height: f64,
}

impl Influence {
    /// What it adds at an instant: grows from 0 to `height` at its peak, and dies away with the square of time.
    #[expect(clippy::cast_precision_loss, reason = "seconds of a few days")]
    fn at(&self, now_s: i64) -> f64 {
        let since = (now_s - self.begin_s).max(0) as f64;
        let share = 2.0 * since * self.peak_s / (since * since + self.peak_s * self.peak_s);
        self.height * share * share
    }
}

impl Person {
    /// A person whose first reading is at midnight.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::starting_at(seed, 0)
    }

    /// A person whose first reading is at that second of the day.
    #[must_use]
    pub fn starting_at(seed: u64, second_of_day: i64) -> Self {
        let mut random = Random::new(seed);
        #[expect(clippy::cast_possible_truncation, reason = "less than 3 000")]
        let worn = WARM_UP_READINGS + random.between(0.0, 2_500.0) as i64;
        let mut person = Self { random, second_of_day, readings: 0, worn, influences: VecDeque::new(), drift: 0.0 };
        person.plan_day(-second_of_day);
        person
    }

    /// What the day that begins at `midnight_s` will bring.
    fn plan_day(&mut self, midnight_s: i64) {
        for (hour, carbs_min, carbs_max) in [(7.5, 30.0, 60.0), (12.5, 40.0, 90.0), (18.8, 40.0, 95.0)] {
            let begin_s = self.about(midnight_s, hour);
            let carbs = self.random.between(carbs_min, carbs_max);
            let dose = if self.random.once_in(25.0) { 0.0 } else { 0.92 + 0.16 * self.random.normal() };
            self.add(begin_s, 50.0, carbs * 2.0);
            self.add(begin_s, 110.0, -carbs * 1.3 * dose);
        }
        if self.random.once_in(5.0) {
            let begin_s = self.about(midnight_s, 3.0); // too much insulin before bed
            self.add(begin_s, 45.0, -75.0);
        }
        if self.random.once_in(9.0) {
            let begin_s = self.about(midnight_s, 15.0); // a pump's tube is blocked, until someone notices
            self.add(begin_s, 150.0, 330.0);
        }
    }

    fn about(&mut self, midnight_s: i64, hour: f64) -> i64 {
        let second = (hour + 0.5 * self.random.normal()) * 3_600.0;
        #[expect(clippy::cast_possible_truncation, reason = "within a day or so")]
        let second = second as i64;
        midnight_s + second
    }

    fn add(&mut self, begin_s: i64, peak_minutes: f64, height: f64) {
        self.influences.push_back(Influence { begin_s, peak_s: peak_minutes * MINUTE_S, height });
    }

    /// Glucose in the body, mg/dL.
    fn glucose(&mut self, now_s: i64) -> f64 {
        self.influences.retain(|influence| now_s - influence.begin_s < DAY_S);
        self.drift = 0.98 * self.drift + 2.5 * self.random.normal();
        let dawn = Influence {
            begin_s: now_s - (self.second_of_day + now_s).rem_euclid(DAY_S),
            peak_s: 21_600.0,
            height: 25.0,
        };
        let moved: f64 = self.influences.iter().map(|influence| influence.at(now_s)).sum();
        (115.0 + self.drift + dawn.at(now_s) + moved).clamp(30.0, 550.0)
    }

    /// What the sensor makes of it.
    fn measured(&mut self, glucose: f64) -> Value {
        if self.worn >= SESSION_READINGS {
            self.worn = 0;
        }
        self.worn += 1;
        if self.worn <= WARM_UP_READINGS {
            return Value::State(State::WarmingUp);
        }
        if self.random.once_in(700.0) {
            return Value::State(State::SensorError(9));
        }
        #[expect(clippy::cast_possible_truncation, reason = "clamped to 550, noise within 15")]
        let shown = (glucose + 2.0 * self.random.normal()).round() as i32;
        match shown {
            shown if shown < *MEASURABLE.start() => Value::State(State::Low(MEASURABLE.start() - 1)),
            shown if shown > *MEASURABLE.end() => Value::State(State::High(MEASURABLE.end() + 1)),
            shown => Value::Number(shown.into()),
        }
    }
}

impl Iterator for Person {
    type Item = (i64, Value);

    fn next(&mut self) -> Option<(i64, Value)> {
        let now_s = self.readings * INTERVAL_S;
        let second = (self.second_of_day + now_s).rem_euclid(DAY_S);
        if self.readings > 0 && second < INTERVAL_S {
            self.plan_day(now_s - second);
        }
        self.readings += 1;
        let glucose = self.glucose(now_s);
        Some((now_s, self.measured(glucose)))
    }
}
