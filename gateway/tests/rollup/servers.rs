//! The same in PostgreSQL as in SQLite, to the bit.

use proto::{Basis, BootId, Change, Clock, Instant, Origin, Quality, Value};
use tributary_gateway::store::postgres::Store;
use tributary_gateway::store::view::{ChartLevel, ChartPoints};
use tributary_gateway::store::{Batch, Item, Ledger, Level, Roll as _};

use crate::batches::{MINUTE, NOW, batch, batch_of, column, now, record};
use crate::postgres::Server;
use crate::{ask, fresh, of_origin, reckoned, roll, told, unset};

/// Commits that meet within few minutes: corrections, readings without a clock, and then the clock; thirds, whose sums
/// depend on the order in which they are added.
fn commits() -> Vec<Vec<Item>> {
    let mut commits = Vec::new();
    for number in 1..=60_u64 {
        let reading = |index: u64| {
            let record = Origin { id: format!("{}", index % 5), revision: number % 11, change: Change::Replace };
            let tenths = i64::try_from((number * 131 + index * 97) % 9_000).unwrap();
            (tenths, Value::Number((number * index) as f64 / 3.0), index.is_multiple_of(4).then_some(record))
        };
        let readings: Vec<_> = (0..15).map(reading).collect();
        commits.push(vec![Item::Batch(of_origin(number, &readings))]);
    }
    for (boot, number) in (1..=3).zip(61..) {
        let readings: Vec<_> = (0..40).map(|tenths| (tenths * 7, Value::Number(tenths as f64 / 7.0))).collect();
        commits.push(vec![Item::Batch(unset(number, boot, &readings))]);
        let clock = Clock { boot: BootId([boot; 8]), offset_us: NOW + 30_000_000, quality: Quality::Synced };
        commits.push(vec![Item::Clock { device: crate::batches::meter(), clock }]);
    }
    commits
}

#[test]
fn postgresql_has_the_same_sums_as_sqlite_whatever_came_first() {
    let Some(server) = Server::start(&["fsync=on"]) else { return };
    let settings = server.database("sums");
    let mut postgres = Store::open(&settings, now).unwrap();
    let (_folder, mut sqlite, mut roller) = fresh();
    for (number, commit) in commits().into_iter().enumerate() {
        record(&mut sqlite.writer, commit.clone());
        postgres.writer.record(&commit).unwrap();
        if number % 7 == 0 {
            roll(&mut roller);
        }
        if number % 5 == 0 {
            roll(&mut postgres.roller);
        }
    }
    roll(&mut roller);
    roll(&mut postgres.roller);
    assert_eq!(told(&postgres), reckoned(&postgres));
    assert_eq!(told(&postgres), told(&sqlite));
}

#[test]
fn in_postgresql_too_old_readings_go_and_late_ones_are_added_once() {
    let Some(server) = Server::start(&[]) else { return };
    let settings = server.database("old");
    let mut store = Store::open(&settings, now).unwrap();
    let readings = (0..2_500).map(|second| (NOW + second * 1_000_000, Value::Number(second as f64 / 3.0)));
    let first = batch_of(1, vec![column(Basis::Source, readings)]);
    store.writer.record(&[Item::Batch(first), Item::Batch(batch(2, &[(NOW + 5_000 * 1_000_000, 1.0)]))]).unwrap();
    roll(&mut store.roller);
    let before = told(&store);
    let raw = ask(&store, |view| view.chart(1, (NOW, NOW + MINUTE), 100));
    assert_eq!((raw.level, raw.readings_in_range), (ChartLevel::Raw, 60));
    let days = ask(&store, |view| view.days(1, &jiff::tz::TimeZone::UTC));
    assert_eq!(days.iter().map(|day| day.readings).collect::<Vec<_>>(), [2_501]);
    let mut removed = 0;
    loop {
        let step = store.roller.remove(NOW + 60 * MINUTE).unwrap();
        removed += step.removed;
        if !step.is_behind {
            break;
        }
    }
    assert_eq!((removed, told(&store)), (2_500, before));
    assert_eq!(server.sql("old", "select count(*) from reading"), ["1"]);
    store.writer.record(&[Item::Batch(batch(3, &[(NOW + 1, -7.0)]))]).unwrap();
    // Before the roller has reached it, and after.
    for _ in 0..2 {
        let chart = ask(&store, |view| view.chart(1, (NOW, NOW + MINUTE), 100));
        let ChartPoints::Spans(spans) = chart.points else { panic!("{:?}", chart.level) };
        let numbers = spans[0].bucket.numbers.unwrap();
        assert_eq!((chart.level, numbers.n, numbers.min), (ChartLevel::Minute, 61, -7.0));
        roll(&mut store.roller);
    }
}

#[test]
fn two_gateways_on_one_server_sum_up_each_reading_once() {
    let Some(server) = Server::start(&[]) else { return };
    let settings = server.database("two");
    let mut stores = [Store::open(&settings, now).unwrap(), Store::open(&settings, now).unwrap()];
    std::thread::scope(|scope| {
        for (place, Store { writer, roller, .. }) in stores.iter_mut().enumerate() {
            scope.spawn(move || {
                for number in (1 + place as u64..=80).step_by(2) {
                    let at = |index: i64| NOW + (i64::try_from(number).unwrap() * 37 + index * 11) % 600 * 1_000_000;
                    let readings: Vec<_> = (0..10).map(|index| (at(index), index as f64 / 3.0)).collect();
                    let arrived = Instant(NOW);
                    writer.record(&[Item::Batch(Batch { arrived, ..batch(number, &readings) })]).unwrap();
                    roller.step().unwrap();
                }
            });
        }
    });
    let [first, second] = &mut stores;
    roll(&mut first.roller);
    assert_eq!(roll(&mut second.roller).rows, 0, "nothing is left for the other");
    assert_eq!(told(first), reckoned(first));
    let hours = ask(first, |view| view.buckets(1, Level::Hour, (i64::MIN, i64::MAX)));
    assert_eq!(hours.iter().map(|(_, bucket)| bucket.readings()).sum::<i64>(), 800);
}
