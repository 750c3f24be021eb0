//! Long spans, answered by sums that are up to date.

use jiff::tz::TimeZone;
use tributary_gateway::store::sqlite::Store;
use tributary_gateway::store::view::{Chart, ChartLevel, ChartPoints, Span};
use tributary_gateway::store::{Item, Roll as _};

use crate::batches::{MINUTE, NOW, batch, record};
use crate::{ask, fresh, roll};

const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Readings every 5 minutes for some days, up to `end`.
fn fill(store: &mut Store, days: i64, end: i64) -> Vec<(i64, f64)> {
    let readings: Vec<(i64, f64)> =
        (0..days * 288).map(|place| (end - days * DAY + place * 5 * MINUTE, 100.0 + (place % 71) as f64)).collect();
    for (number, some) in (1..).zip(readings.chunks(20_000)) {
        record(&mut store.writer, [Item::Batch(batch(number, some))]);
    }
    readings
}

fn chart(store: &Store, range: (i64, i64), points: usize) -> Chart {
    ask(store, |view| view.chart(1, range, points))
}

fn spans(chart: &Chart) -> &[Span] {
    let ChartPoints::Spans(spans) = &chart.points else { panic!("{:?} has no spans", chart.level) };
    spans
}

/// Whether `spans` say of `readings` what is to be said, each reading once.
fn tell(spans: &[Span], readings: &[(i64, f64)]) {
    assert!(spans.is_sorted_by(|left, right| left.to_us <= right.from_us));
    let mut told = 0;
    for Span { from_us, to_us, bucket } in spans {
        let before = |end: i64| readings.partition_point(|(time, _)| *time < end);
        let of: Vec<f64> = readings[before(*from_us)..before(*to_us)].iter().map(|(_, value)| *value).collect();
        let numbers = bucket.numbers.unwrap();
        assert_eq!(numbers.n, i64::try_from(of.len()).unwrap());
        assert_eq!(numbers.min, of.iter().copied().fold(f64::INFINITY, f64::min));
        assert_eq!(numbers.max, of.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        assert_eq!((numbers.sum, Some(&numbers.first), Some(&numbers.last)), (of.iter().sum(), of.first(), of.last()));
        told += of.len();
    }
    assert_eq!(told, readings.len());
}

#[test]
fn few_readings_answer_themselves_and_many_by_the_longest_sums_that_serve() {
    let (_folder, mut store, mut roller) = fresh();
    let readings = fill(&mut store, 80, NOW);
    roll(&mut roller);
    assert_eq!(chart(&store, (NOW - DAY, NOW), 1_000).level, ChartLevel::Raw);
    assert_eq!(chart(&store, (NOW - 30 * DAY, NOW), 1_000).level, ChartLevel::MinMax);
    for (points, level) in [(100, ChartLevel::Hour), (1_000, ChartLevel::Hour), (4_000, ChartLevel::Quarter)] {
        let chart = chart(&store, (i64::MIN, i64::MAX), points);
        assert_eq!((chart.level, chart.readings_in_range), (level, 23_040));
        let spans = spans(&chart);
        assert!((points / 2..=points).contains(&spans.len()), "{} spans where {points} were asked for", spans.len());
        tell(spans, &readings);
    }
}

#[test]
fn what_has_not_been_summed_up_yet_is_in_the_answer() {
    let (_folder, mut store, mut roller) = fresh();
    let mut readings = fill(&mut store, 80, NOW);
    // Nothing has been summed up: there is more than is looked through, so what is newest is looked for.
    tell(spans(&chart(&store, (NOW - DAY * 200, NOW), 1_000)), &readings[readings.len() - 20_000..]);
    roll(&mut roller);
    // Late, in the middle of others, and newer than all.
    for (number, reading) in (90..).zip([(NOW - 40 * DAY + 7, -5.0), (NOW + 3 * MINUTE, 999.0)]) {
        record(&mut store.writer, [Item::Batch(batch(number, &[reading]))]);
        readings.push(reading);
    }
    readings.sort_by_key(|(time, _)| *time);
    let newest = chart(&store, (i64::MIN, i64::MAX), 1_000);
    tell(spans(&newest), &readings);
    assert_eq!(newest.readings_in_range, 23_042);
    roll(&mut roller);
    assert_eq!(chart(&store, (i64::MIN, i64::MAX), 1_000), newest, "the roller says the same");
}

#[test]
fn when_the_readings_have_gone_the_finest_sums_answer_for_them() {
    let (_folder, mut store, mut roller) = fresh();
    let readings = fill(&mut store, 10, NOW);
    roll(&mut roller);
    while roller.remove(NOW - 3 * DAY).unwrap().is_behind {}
    let day: Vec<(i64, f64)> =
        readings.iter().copied().filter(|(time, _)| (NOW - 6 * DAY..NOW - 5 * DAY).contains(time)).collect();
    let old = chart(&store, (NOW - 6 * DAY, NOW - 5 * DAY), 1_500);
    assert_eq!((old.level, spans(&old).len()), (ChartLevel::Minute, 288));
    tell(spans(&old), &day);
    tell(spans(&chart(&store, (i64::MIN, i64::MAX), 1_000)), &readings);
    assert_eq!(chart(&store, (NOW - 2 * DAY, NOW), 1_000).level, ChartLevel::Raw);
    let series = ask(&store, |view| view.one_series(1)).unwrap();
    assert_eq!(series.first_us, Some(readings[0].0), "it still begins where it began");
}

#[test]
fn days_are_counted_by_the_clock_on_the_wall_also_from_sums() {
    let (_folder, mut store, mut roller) = fresh();
    // 2026-03-01 less 120 days is 2025-11-01; 40 days before it is 2025-09-22.
    fill(&mut store, 40, NOW - 120 * DAY);
    let hours = |zone: &str, date: &str| {
        let zone = TimeZone::get(zone).unwrap();
        let days = ask(&store, |view| view.days(1, &zone));
        let day = days.iter().find(|day| day.date == date).unwrap();
        assert_eq!(day.readings * 5 * MINUTE, day.to_us - day.from_us, "a reading every five minutes");
        assert_eq!(days.iter().map(|day| day.readings).sum::<i64>(), 11_520, "each on one day");
        (day.to_us - day.from_us) / MINUTE
    };
    roll(&mut roller);
    assert_eq!(hours("Europe/Berlin", "2025-10-26"), 25 * 60);
    assert_eq!(hours("Europe/Berlin", "2025-10-27"), 24 * 60);
    assert_eq!(hours("Pacific/Auckland", "2025-09-28"), 23 * 60);
    assert_eq!(hours("Australia/Lord_Howe", "2025-10-05"), 23 * 60 + 30, "half an hour");
    assert_eq!(hours("Asia/Kathmandu", "2025-10-05"), 24 * 60, "5:45 east");
    while roller.remove(NOW - 122 * DAY).unwrap().is_behind {}
    assert_eq!(hours("Europe/Berlin", "2025-10-26"), 25 * 60);
}
