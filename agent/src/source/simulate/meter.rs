//! A household's electricity meter: power by the second, energy by the minute.

use proto::Value;

use crate::random::Random;

/// Seconds between readings of energy.
const ENERGY_EVERY_S: i64 = 60;
/// Watts that wander from second to second: one standard deviation of a step.
const STEP_W: f64 = 20.0;
/// Share of the wandering that is left a second later, so that it stays within some 65 W.
const MEMORY: f64 = 0.95;

/// An appliance that is switched on and off: watts, mean seconds on, mean seconds off.
#[derive(Clone, Copy, Debug)]
struct Appliance {
    watts: f64,
    on_s: f64,
    off_s: f64,
    is_on: bool,
}

/// Power and energy of one household, second by second: (seconds since the start, W to a tenth, W.h every minute).
#[derive(Clone, Debug)]
pub struct Meter {
    random: Random,
    seconds: i64,
    appliances: [Appliance; 5],
    wandering: f64,
    /// Tenths of a watt second, so that the register is exact.
    energy_tenths: i64,
}

impl Meter {
    /// A household; its register starts somewhere in its life.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let appliance = |watts, on_s, off_s| Appliance { watts, on_s, off_s, is_on: false };
        let appliances = [
            appliance(95.0, 900.0, 1_800.0),     // refrigerator
            appliance(2_050.0, 150.0, 9_000.0),  // kettle
            appliance(140.0, 9_000.0, 18_000.0), // screens
            appliance(2_400.0, 600.0, 28_000.0), // oven
            appliance(480.0, 3_600.0, 40_000.0), // washing machine
        ];
        #[expect(clippy::cast_possible_truncation, reason = "less than 10^15")]
        let energy_tenths = random.between(1e9, 4e11) as i64;
        Self { random, seconds: 0, appliances, wandering: 0.0, energy_tenths }
    }

    /// The power of this second, in tenths of a watt.
    fn power_tenths(&mut self) -> i64 {
        let mut watts = 110.0;
        for appliance in &mut self.appliances {
            let lasts = if appliance.is_on { appliance.on_s } else { appliance.off_s };
            appliance.is_on ^= self.random.once_in(lasts);
            watts += if appliance.is_on { appliance.watts } else { 0.0 };
        }
        self.wandering = MEMORY * self.wandering + STEP_W * self.random.normal();
        #[expect(clippy::cast_possible_truncation, reason = "some thousand watts")]
        let tenths = ((watts + self.wandering).max(15.0) * 10.0).round() as i64;
        tenths
    }
}

impl Iterator for Meter {
    type Item = (i64, Value, Option<Value>);

    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    fn next(&mut self) -> Option<Self::Item> {
        let seconds = self.seconds;
        self.seconds += 1;
        let tenths = self.power_tenths();
        self.energy_tenths += tenths;
        let energy = (seconds % ENERGY_EVERY_S == 0).then_some(Value::Number((self.energy_tenths / 36_000) as f64));
        Some((seconds, Value::Number(tenths as f64 / 10.0), energy))
    }
}
