//! What the roller does, and when.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as Moment};

use proto::{Change, Origin, Value};
use tokio_util::sync::CancellationToken;
use tributary_gateway::rollup::{Settings, Totals, keep};
use tributary_gateway::store::{Item, Level, Roll as _, Rolled};

use crate::batches::{MINUTE, NOW, batch, now, open, record};
use crate::{ask, fresh, of_origin, reckoned, roll, told};

#[test]
fn a_reading_that_comes_late_changes_its_own_minute_and_the_spans_around_it_alone() {
    let (_folder, mut store, mut roller) = fresh();
    let of_hours: Vec<(i64, f64)> = (0..600).map(|minute| (NOW + minute * MINUTE, minute as f64)).collect();
    record(&mut store.writer, [Item::Batch(batch(1, &of_hours))]);
    assert_eq!(roll(&mut roller).rows, 600 + 40 + 10);
    let before = told(&store);
    record(&mut store.writer, [Item::Batch(batch(2, &[(NOW + 90 * MINUTE + 1, 1e6)]))]);
    assert_eq!(roll(&mut roller), Rolled { readings: 1, rows: 3, ..Rolled::default() });
    let after = told(&store);
    assert_eq!(before.iter().zip(&after).filter(|(before, after)| before != after).count(), 3);
    assert_eq!(after, reckoned(&store));
}

#[test]
fn a_long_backlog_is_summed_up_in_steps_and_goes_on_where_it_was_after_a_restart() {
    let (folder, mut store, mut roller) = fresh();
    for number in 1..=5 {
        // A minute each: of such, a step takes fewer.
        let readings: Vec<(i64, f64)> = (number * 9_000..number * 9_000 + 9_000)
            .map(|minute| (NOW + minute * MINUTE, (minute % 977) as f64 / 7.0))
            .collect();
        record(&mut store.writer, [Item::Batch(batch(number.unsigned_abs(), &readings))]);
    }
    let first = roller.step().unwrap();
    assert!(first.is_behind && first.readings < 45_000, "{first:?}");
    drop((store, roller));
    let store = open(&folder);
    let rest = roll(&mut store.writer.roller());
    assert_eq!(first.readings + rest.readings, 45_000, "none is taken twice");
    assert_eq!(told(&store), reckoned(&store));
}

#[test]
fn what_is_committed_while_a_step_is_under_way_is_neither_missed_nor_counted_twice() {
    let (_folder, mut store, mut roller) = fresh();
    let is_over = AtomicBool::new(false);
    let steps = std::thread::scope(|scope| {
        let rolling = scope.spawn(|| {
            let mut steps = 0;
            while !is_over.load(Ordering::Relaxed) {
                steps += u64::from(roller.step().unwrap().rows > 0);
            }
            steps
        });
        // Two hundred commits that correct each other's records within the same few minutes.
        for number in 1..=200_u64 {
            let reading = |index: u64| {
                let record = Origin { id: format!("{}", index % 7), revision: number / 9, change: Change::Replace };
                let tenths = i64::try_from((number * 31 + index * 97) % 3_000).unwrap();
                (tenths, Value::Number((number * index) as f64 / 3.0), index.is_multiple_of(3).then_some(record))
            };
            let readings: Vec<_> = (0..20).map(reading).collect();
            record(&mut store.writer, [Item::Batch(of_origin(number, &readings))]);
        }
        is_over.store(true, Ordering::Relaxed);
        rolling.join().unwrap()
    });
    assert!(steps > 3, "{steps} steps met commits");
    roll(&mut roller);
    assert_eq!(told(&store), reckoned(&store));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_is_summed_up_within_the_interval() {
    static TOTALS: Totals = Totals::zero();
    let (_folder, mut store, roller) = fresh();
    let settings = Settings { interval: Duration::from_millis(50), raw_days: None };
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(keep(Box::new(roller), settings, now, &TOTALS, stop.clone()));
    record(&mut store.writer, [Item::Batch(batch(1, &[(NOW, 5.0)]))]);
    let deadline = Moment::now() + Duration::from_secs(20);
    while ask(&store, |view| view.buckets(1, Level::Hour, (i64::MIN, i64::MAX))).is_empty() {
        assert!(Moment::now() < deadline, "not within 20 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    keeping.await.unwrap();
    assert_eq!((TOTALS.readings.get(), TOTALS.rows.get(), TOTALS.failures.get()), (1, 3, 0));
}
