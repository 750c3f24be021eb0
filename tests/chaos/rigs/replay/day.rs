//! A day's batches, as an agent seals them.

use std::collections::BTreeMap;

use harness::data;
use harness::offered::{self, Key};
use harness::speaker::held;
use proto::frame::{Header, Sealed};
use proto::message::Held;
use proto::{
    Basis, Body, BootId, Clock, Column, Epoch, Frame, Instant, Kind, Lane, Quality, Range, Ranges, Reading, Series,
    Value,
};

use super::super::line::Random;

/// The day began, 2026-09-21 around 14:13 UTC.
pub(super) const START_US: i64 = 1_790_000_000_000_000;
/// What the device knew of the time.
pub(super) const CLOCK: Clock = Clock { boot: BootId([0xda; 8]), offset_us: START_US, quality: Quality::Synced };
/// A batch, and where it belongs.
#[derive(Clone)]
pub(super) struct Batch {
    pub(super) epoch: Epoch,
    pub(super) number: u64,
    pub(super) sealed: Sealed,
}

/// A day of batches, and the readings in them.
pub(super) struct Day {
    pub(super) batches: Vec<Batch>,
    pub(super) keys: Vec<Key>,
}

/// One frame of `batches`, whose numbers follow one another.
pub(super) fn frame(batches: &[Batch]) -> Vec<u8> {
    let first = &batches[0];
    let header = Header { epoch: first.epoch, first: first.number, lane: Lane::Backfill, clock: CLOCK };
    Frame { header, bodies: batches.iter().map(|batch| batch.sealed.clone()).collect() }.encode()
}

impl Day {
    /// A day of glucose from its file, and `seconds` of a household's power from its fixture, over and over: sealed as
    /// an agent does that starts three times that day.
    pub(super) fn real(seconds: u64) -> anyhow::Result<Self> {
        let glucose = offered::cgm_rows(&data("cgm.csv.gz"));
        let glucose: Vec<f64> = glucose.iter().rev().take(288).rev().map(|row| row.value).collect();
        let text = data("power.csv.gz");
        let watts = text.lines().skip(1).filter_map(|line| line.split_once(',')).map(|(_, watts)| watts.parse());
        let watts: Vec<f64> = watts.collect::<Result<_, _>>()?;
        let power = watts.iter().copied().cycle().take(usize::try_from(seconds)?).collect::<Vec<_>>();
        let mut bodies = Vec::new();
        let mut keys = Vec::new();
        let sets = [("glucose", "mg/dL", 300, 12, glucose), ("power.active", "W", 1, 60, power)];
        for (name, unit, step_s, size, values) in sets {
            let times = (START_US..).step_by(step_s * 1_000_000);
            let rows: Vec<(i64, f64)> = times.zip(values).collect();
            keys.extend(offered::keys(name, rows.iter().copied()));
            let series = Series { name: name.parse()?, unit: unit.parse()?, kind: Kind::Gauge };
            for rows in rows.chunks(size) {
                let readings = rows.iter().map(|(time, value)| Reading::new(Instant(*time), Value::Number(*value)));
                let columns =
                    vec![Column { series: series.clone(), basis: Basis::Source, readings: readings.collect() }];
                bodies.push((rows[0].0, Sealed::new(Body { boot: CLOCK.boot, columns }.encode()?)));
            }
        }
        bodies.sort_by_key(|(time, _)| *time);
        let third = bodies.len().div_ceil(3);
        let mut batches = Vec::new();
        for (place, (_, sealed)) in bodies.into_iter().enumerate() {
            let epoch = Epoch([u8::try_from(place / third)? + 1; 8]);
            batches.push(Batch { epoch, number: (place % third) as u64 + 1, sealed });
        }
        Ok(Self { batches, keys })
    }

    /// The day in its order, up to 8 batches a frame.
    pub(super) fn frames(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let (mut frames, mut rest) = (Vec::new(), self.batches.as_slice());
        while let Some(first) = rest.first() {
            let of_epoch = rest.iter().take_while(|batch| batch.epoch == first.epoch).count();
            let count = usize::try_from(1 + random.below(8)).unwrap_or(1).min(of_epoch);
            let (now, later) = rest.split_at(count);
            frames.push(frame(now));
            rest = later;
        }
        frames
    }

    /// Each epoch with its numbers.
    pub(super) fn epochs(&self) -> Vec<(Epoch, Range)> {
        let mut epochs: BTreeMap<Epoch, u64> = BTreeMap::new();
        self.batches.iter().for_each(|batch| *epochs.entry(batch.epoch).or_default() += 1);
        epochs.into_iter().filter_map(|(epoch, count)| Some((epoch, Range::new(1, count)?))).collect()
    }

    /// All of it, as a hello says it.
    pub(super) fn held(&self) -> Vec<Held> {
        self.held_without(&[])
    }

    /// All of it but for `given_up`, as a hello says it: of ranges that are too many for it, the oldest are joined, so
    /// what lies between them would be claimed. There are few enough here.
    pub(super) fn held_without(&self, given_up: &[Batch]) -> Vec<Held> {
        let of = |(epoch, numbers): (Epoch, Range)| {
            let gone = given_up.iter().filter(|batch| batch.epoch == epoch).map(|batch| Range::one(batch.number));
            let ranges = gone.collect::<Ranges>().missing_in(numbers);
            held(epoch, ranges.iter(), numbers.last + 1)
        };
        self.epochs().into_iter().map(of).collect()
    }
}
