//! What the simulated sources read: values that each exist once in a world, so that content alone says which is which.

use agent::buffer::Batch;
use agent::source::Priority;
use proto::frame::Sealed;
use proto::{Basis, Body, BootId, Column, Instant, Kind, Lane, Reading, Series, Value};

use super::random::Random;

/// One reading, as it was offered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    /// A number that no other reading of the world has.
    pub(super) value: u64,
    /// When it was taken, counted as `basis` says.
    pub(super) time_us: i64,
    pub(super) basis: Basis,
}

/// What a batch brings.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) boot: BootId,
    pub(super) readings: Vec<Offered>,
    /// Bytes of a long text beside them; 0 for none.
    pub(super) padding: usize,
}

impl Content {
    /// How many readings it has in all.
    pub(super) fn count(&self) -> u64 {
        self.readings.len() as u64 + u64::from(self.padding > 0)
    }

    /// It, sealed as the agent does.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub(super) fn sealed(&self, lane: Lane, priority: Priority) -> anyhow::Result<Batch> {
        let mut columns = Vec::new();
        for (name, basis) in [("sim.boot", Basis::Boot), ("sim.source", Basis::Source)] {
            let of_it = self.readings.iter().filter(|reading| reading.basis == basis);
            #[expect(clippy::cast_precision_loss, reason = "a world has far fewer than 2^53 readings")]
            let reading =
                |offered: &Offered| Reading::new(Instant(offered.time_us), Value::Number(offered.value as f64));
            let readings: Vec<Reading> = of_it.map(reading).collect();
            if !readings.is_empty() {
                columns.push(Column { series: series(name)?, basis, readings });
            }
        }
        if let (Some(first), 1..) = (self.readings.first(), self.padding) {
            let text = Value::Text(text_of(first.value, self.padding));
            let readings = vec![Reading::new(Instant(first.time_us), text)];
            columns.push(Column { series: series("sim.text")?, basis: first.basis, readings });
        }
        let body = Body { boot: self.boot, columns };
        Ok(Batch { lane, priority, readings: self.count(), sealed: Sealed::new(body.encode()?) })
    }
}

fn series(name: &str) -> anyhow::Result<Series> {
    Ok(Series { name: name.parse()?, unit: "1".parse()?, kind: Kind::Gauge })
}

/// The text beside `value`: begins with it, and hardly packs.
pub(super) fn text_of(value: u64, bytes: usize) -> String {
    let mut text = format!("{value} ");
    let mut random = Random::new(value);
    while text.len() < bytes {
        text.push_str(&format!("{:016x}", random.next()));
    }
    text.truncate(bytes.max(21));
    text
}
