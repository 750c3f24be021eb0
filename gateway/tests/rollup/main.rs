//! Rollups: the same to the bit as if all readings had been summed up at once, however they came.

#![allow(missing_docs, clippy::unwrap_used, clippy::cast_precision_loss, reason = "a test that fails says so")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant as Moment};

use proptest::prelude::*;
use proto::{Basis, BootId, Change, Clock, Column, Instant, Origin, Quality, Reading, State, Value};
use tempfile::TempDir;
use tributary_gateway::store::sqlite::{Roller, Store};
use tributary_gateway::store::{Batch, Bucket, Item, Level, ReadError, Reader, Roll, Rolled, View};

#[path = "../support/batches.rs"]
mod batches;
mod charts;
mod old;
#[path = "../support/postgres.rs"]
mod postgres;
mod servers;
mod work;
use batches::{MINUTE, NOW, batch_of, column, glucose, open, record};

fn fresh() -> (TempDir, Store, Roller) {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    let roller = store.writer.roller();
    (folder, store, roller)
}

/// A store of any kind.
trait Readable {
    fn reader(&self) -> &Reader;
}

impl Readable for Store {
    fn reader(&self) -> &Reader {
        &self.reader
    }
}

impl Readable for tributary_gateway::store::postgres::Store {
    fn reader(&self) -> &Reader {
        &self.reader
    }
}

fn ask<T: Send>(store: &impl Readable, ask: impl FnOnce(View<'_>) -> Result<T, ReadError> + Send) -> T {
    store.reader().view(Moment::now() + Duration::from_secs(10), ask).unwrap()
}

/// Rolls until nothing is left to do.
fn roll(roller: &mut impl Roll) -> Rolled {
    let mut total = Rolled::default();
    loop {
        let step = roller.step().unwrap();
        total.readings += step.readings;
        total.marks += step.marks;
        total.rows += step.rows;
        if !step.is_behind {
            return total;
        }
    }
}

/// What the table says of the first series, in words that show each bit.
fn told(store: &impl Readable) -> Vec<String> {
    let levels = [Level::Gone, Level::Minute, Level::Quarter, Level::Hour];
    let of = |level| ask(store, |view| view.buckets(1, level, (i64::MIN, i64::MAX)));
    let words = |level: Level, (start, bucket): &(i64, Bucket)| {
        let bits = bucket.numbers.map(|n| {
            let reals = [n.sum, n.sum_squares, n.min, n.max, n.first, n.last].map(f64::to_bits);
            (n.n, reals, n.first_us, n.last_us)
        });
        format!("{level:?} {start} {bits:?} {} {} {}", bucket.below, bucket.above, bucket.others)
    };
    levels.into_iter().flat_map(|level| of(level).iter().map(|row| words(level, row)).collect::<Vec<_>>()).collect()
}

/// The same, reckoned here from all readings that count.
fn reckoned(store: &impl Readable) -> Vec<String> {
    let mut readings = ask(store, |view| view.excerpt(1, (i64::MIN, i64::MAX), 100_000)).readings;
    let number = |value: &Value| match value {
        Value::Number(number) if number.is_finite() => Some(number + 0.0),
        Value::Bool(on) => Some(f64::from(u8::from(*on))),
        _ => None,
    };
    readings.sort_by(|a, b| {
        let height = |reading: &tributary_gateway::store::view::Reading| number(&reading.value).unwrap_or(f64::NAN);
        a.time_us.cmp(&b.time_us).then(height(a).total_cmp(&height(b)))
    });
    let mut lines = Vec::new();
    // A sum at each level is the sum of the sums below it, in the order of time.
    let mut below: BTreeMap<i64, Sum> = BTreeMap::new();
    for reading in &readings {
        let sum = below.entry(reading.time_us.div_euclid(MINUTE)).or_default();
        match (number(&reading.value), &reading.value) {
            (Some(value), _) => sum.add(&Sum::of(reading.time_us, value)),
            (_, Value::State(State::Low(_))) => sum.states[0] += 1,
            (_, Value::State(State::High(_))) => sum.states[1] += 1,
            _ => sum.states[2] += 1,
        }
    }
    for (level, minutes, factor) in [(Level::Minute, 1, 1), (Level::Quarter, 15, 15), (Level::Hour, 60, 4)] {
        let mut sums: BTreeMap<i64, Sum> = BTreeMap::new();
        for (place, sum) in &below {
            sums.entry(place.div_euclid(factor)).or_default().add(sum);
        }
        for (place, sum) in &sums {
            let [low, high, others] = sum.states;
            let bits = sum.numbers.map(|(n, reals, first, last)| (n, reals.map(f64::to_bits), first, last));
            lines.push(format!("{level:?} {} {bits:?} {low} {high} {others}", place * minutes * MINUTE));
        }
        below = sums;
    }
    lines
}

/// How many; sum, sum of squares, lowest, highest, first, last; when the first was, and the last.
type Numbers = (i64, [f64; 6], i64, i64);

#[derive(Clone, Copy, Default)]
struct Sum {
    numbers: Option<Numbers>,
    states: [i64; 3],
}

impl Sum {
    fn of(time: i64, value: f64) -> Self {
        let reals = [value, value * value, value, value, value, value];
        Self { numbers: Some((1, reals, time, time)), states: [0; 3] }
    }

    fn add(&mut self, later: &Self) {
        self.states = [0, 1, 2].map(|index| self.states[index] + later.states[index]);
        let Some((n, [sum, squares, min, max, _, last], _, last_us)) = later.numbers else { return };
        let Some(ours) = &mut self.numbers else { return self.numbers = later.numbers };
        ours.0 += n;
        ours.1 = [ours.1[0] + sum, ours.1[1] + squares, ours.1[2].min(min), ours.1[3].max(max), ours.1[4], last];
        ours.3 = last_us;
    }
}

/// Something that changes what the readings say.
#[derive(Clone, Debug)]
enum Act {
    /// Readings at tenths of a second after `NOW`, some of them records of the origin.
    Batch(Vec<(i64, Value, Option<Origin>)>),
    /// The batch before the last one comes again.
    Again,
    /// Readings on a clock that does not know the time.
    Unset { boot: u8, readings: Vec<(i64, Value)> },
    /// It does now.
    Clock { boot: u8, offset: i64 },
    /// The rollups are brought up to date.
    Roll,
    /// Everything is closed and opened again.
    Restart,
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (-400_i32..4_000).prop_map(|tenths| Value::Number(f64::from(tenths) / 10.0)),
        1 => any::<f64>().prop_map(|number| Value::Number(number % 1e100)),
        1 => prop_oneof![
            Just(Value::Number(f64::NAN)),
            Just(Value::Number(-0.0)),
            Just(Value::Number(f64::INFINITY)),
            Just(Value::Bool(true)),
            Just(Value::Absent),
            Just(Value::State(State::Low(39))),
            Just(Value::State(State::High(401))),
            Just(Value::State(State::WarmingUp)),
        ],
    ]
}

/// Tenths of a second within some two hours, most of them within few minutes, so that they meet.
fn tenths() -> impl Strategy<Value = i64> {
    prop_oneof![2 => 0_i64..3_000, 1 => 0_i64..80_000, 1 => (0_i64..10).prop_map(|minute| minute * 600)]
}

fn origin() -> impl Strategy<Value = Option<Origin>> {
    let change = prop_oneof![3 => Just(Change::Add), 2 => Just(Change::Replace), 1 => Just(Change::Retract)];
    let some = (0..6_u8, 0..3_u64, change)
        .prop_map(|(record, revision, change)| Some(Origin { id: format!("record-{record}"), revision, change }));
    prop_oneof![2 => Just(None), 1 => some]
}

fn act() -> impl Strategy<Value = Act> {
    let readings = prop::collection::vec((tenths(), value(), origin()), 1..12);
    let unset = prop::collection::vec((tenths(), value()), 1..6);
    prop_oneof![
        6 => readings.prop_map(Act::Batch),
        1 => Just(Act::Again),
        1 => (0..3_u8, unset).prop_map(|(boot, readings)| Act::Unset { boot, readings }),
        1 => (0..3_u8, 0..40_000_i64).prop_map(|(boot, offset)| Act::Clock { boot, offset }),
        4 => Just(Act::Roll),
        1 => Just(Act::Restart),
    ]
}

/// Its time in this test: tenths of a second after `NOW`.
fn at(tenths: i64) -> i64 {
    NOW + tenths * 100_000
}

fn of_origin(number: u64, readings: &[(i64, Value, Option<Origin>)]) -> Batch {
    let reading = |(tenths, value, origin): &(i64, Value, Option<Origin>)| {
        let mut reading = Reading::new(Instant(at(*tenths)), value.clone());
        reading.origin = origin.clone().map(Box::new);
        reading
    };
    let readings = readings.iter().map(reading).collect();
    batch_of(number, vec![Column { series: glucose(), basis: Basis::Source, readings }])
}

fn unset(number: u64, boot: u8, readings: &[(i64, Value)]) -> Batch {
    let readings = readings.iter().map(|(tenths, value)| (tenths * 100_000, value.clone()));
    let clock = Clock { boot: BootId([boot; 8]), offset_us: NOW, quality: Quality::Unset };
    Batch { clock, ..batch_of(number, vec![column(Basis::Boot, readings)]) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn in_any_order_of_arrival_the_rollups_are_those_of_all_readings_at_once(
        acts in prop::collection::vec(act(), 1..40),
    ) {
        let (folder, mut store, mut roller) = fresh();
        let mut batches: Vec<Batch> = Vec::new();
        for act in acts {
            let number = batches.len() as u64 + 1;
            let items = match act {
                Act::Batch(readings) => {
                    batches.push(of_origin(number, &readings));
                    vec![Item::Batch(batches.last().unwrap().clone())]
                }
                Act::Unset { boot, readings } => {
                    batches.push(unset(number, boot, &readings));
                    vec![Item::Batch(batches.last().unwrap().clone())]
                }
                Act::Again => batches.iter().rev().nth(1).cloned().map(Item::Batch).into_iter().collect(),
                Act::Clock { boot, offset } => {
                    let clock =
                        Clock { boot: BootId([boot; 8]), offset_us: at(offset), quality: Quality::Synced };
                    vec![Item::Clock { device: batches::meter(), clock }]
                }
                Act::Roll => {
                    roll(&mut roller);
                    continue;
                }
                Act::Restart => {
                    drop((store, roller));
                    store = open(&folder);
                    roller = store.writer.roller();
                    continue;
                }
            };
            record(&mut store.writer, items);
        }
        roll(&mut roller);
        prop_assert_eq!(told(&store), reckoned(&store));
        prop_assert_eq!(roll(&mut roller), Rolled::default(), "and then nothing is left to do");
    }
}
