//! Removing old readings: their sums stay, and what comes late is added to them once.

use proptest::prelude::*;
use proto::{Basis, Value};
use tributary_gateway::store::sqlite::Roller;
use tributary_gateway::store::{Item, Level, Roll as _};

use crate::batches::{MINUTE, NOW, batch, batch_of, column, open, record};
use crate::{ask, fresh, roll, told};

const HOUR: i64 = 60 * MINUTE;

/// Removes all of before `before_us`. Answers how many.
fn remove(roller: &mut Roller, before_us: i64) -> usize {
    let mut removed = 0;
    loop {
        let step = roller.remove(before_us).unwrap();
        removed += step.removed;
        if !step.is_behind {
            return removed;
        }
    }
}

fn raw(store: &tributary_gateway::store::sqlite::Store) -> usize {
    ask(store, |view| view.excerpt(1, (i64::MIN, i64::MAX), 100_000)).readings.len()
}

#[test]
fn when_old_readings_have_gone_their_sums_are_the_same_to_the_bit() {
    let (folder, mut store, mut roller) = fresh();
    let third = |second: i64| Value::Number(second as f64 / 3.0);
    let readings = (0..9_000).map(|second| (NOW + second * 1_000_000, third(second)));
    record(&mut store.writer, [Item::Batch(batch_of(1, vec![column(Basis::Source, readings)]))]);
    roll(&mut roller);
    let before = told(&store);
    // Whole hours go: two of two and a half. More than one step removes.
    assert_eq!(remove(&mut roller, NOW + 9_000 * 1_000_000), 7_200);
    assert_eq!(raw(&store), 1_800);
    assert_eq!(told(&store), before);
    // Also once they are made anew, and after a restart.
    drop((store, roller));
    let store = open(&folder);
    let mut roller = store.writer.roller();
    roll(&mut roller);
    assert_eq!(remove(&mut roller, NOW + 9_000 * 1_000_000), 0, "and no more of them");
    assert_eq!(told(&store), before);
}

#[test]
fn a_reading_that_comes_after_its_neighbours_have_gone_is_added_once() {
    let (_folder, mut store, mut roller) = fresh();
    record(&mut store.writer, [Item::Batch(batch(1, &[(NOW, 1.0), (NOW + 10, 2.0)]))]);
    roll(&mut roller);
    remove(&mut roller, NOW + HOUR);
    let late = Item::Batch(batch(2, &[(NOW + 5, 30.0)]));
    record(&mut store.writer, [late.clone(), late.clone()]);
    for _ in 0..3 {
        roll(&mut roller);
        let hour = ask(&store, |view| view.buckets(1, Level::Hour, (i64::MIN, i64::MAX))).remove(0).1;
        let numbers = hour.numbers.unwrap();
        assert_eq!((numbers.n, numbers.sum, numbers.max), (3, 33.0, 30.0));
        assert_eq!((numbers.first, numbers.last), (1.0, 2.0), "by their times");
        remove(&mut roller, NOW + HOUR);
        record(&mut store.writer, [late.clone()]);
    }
    assert_eq!(raw(&store), 0);
    assert!(ask(&store, |view| view.buckets(1, Level::Gone, (i64::MIN, i64::MAX))).is_empty(), "nothing is left apart");
}

#[test]
fn a_reading_that_was_never_summed_up_before_it_was_removed_counts_all_the_same() {
    let (_folder, mut store, mut roller) = fresh();
    record(&mut store.writer, [Item::Batch(batch(1, &[(NOW, 1.0), (NOW + 10, 2.0)]))]);
    assert_eq!(remove(&mut roller, NOW + HOUR), 2);
    roll(&mut roller);
    let hour = ask(&store, |view| view.buckets(1, Level::Hour, (i64::MIN, i64::MAX))).remove(0).1;
    assert_eq!(hour.numbers.unwrap().sum, 3.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn however_late_readings_come_and_early_they_go_none_is_lost_or_counted_twice(
        acts in prop::collection::vec((0..3_u8, prop::collection::vec((0..300_i64, -50..50_i32), 1..8)), 1..30),
    ) {
        let (_folder, mut store, mut roller) = fresh();
        // Whole numbers, whose sums are exact in any order.
        let mut all: Vec<(i64, f64)> = Vec::new();
        for (number, (what, readings)) in (1..).zip(acts) {
            match what {
                0 => drop(roll(&mut roller)),
                1 => drop(remove(&mut roller, NOW + readings[0].0 * MINUTE)),
                _ => {
                    let readings: Vec<(i64, f64)> = readings
                        .iter()
                        .map(|(minute, value)| (NOW + minute * MINUTE + i64::from(*value) + 50, f64::from(*value)))
                        .collect();
                    record(&mut store.writer, [Item::Batch(batch(number, &readings))]);
                    all.extend(readings);
                }
            }
        }
        roll(&mut roller);
        for (level, minutes) in [(Level::Minute, 1), (Level::Quarter, 15), (Level::Hour, 60)] {
            let kept = ask(&store, |view| view.buckets(1, level, (i64::MIN, i64::MAX)));
            let mut found = 0;
            for (start, bucket) in kept {
                let of: Vec<f64> = all
                    .iter()
                    .filter(|(time, _)| (start..start + minutes * MINUTE).contains(time))
                    .map(|(_, value)| *value)
                    .collect();
                let numbers = bucket.numbers.unwrap();
                prop_assert_eq!(numbers.n, i64::try_from(of.len()).unwrap());
                prop_assert_eq!(numbers.sum, of.iter().sum::<f64>());
                prop_assert_eq!(numbers.sum_squares, of.iter().map(|value| value * value).sum::<f64>());
                prop_assert_eq!(numbers.min, of.iter().copied().fold(f64::INFINITY, f64::min));
                prop_assert_eq!(numbers.max, of.iter().copied().fold(f64::NEG_INFINITY, f64::max));
                found += of.len();
            }
            prop_assert_eq!(found, all.len());
        }
    }
}
