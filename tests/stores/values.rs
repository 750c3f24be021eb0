//! What was sent is what is kept: every bit, every reading of an instant, and the newest revision of a record.

use gateway::store::Item;
use proto::message::Settlement;
use proto::{Basis, Change, Column, Instant, Origin, Reading, State, Value};

use crate::backend::Backend;
use crate::batches::{MINUTE, NOW, all_series, batch, batch_of, batch_of_series, column, glucose};

pub(crate) fn edited(time: i64, value: Value, revision: u64, change: Change) -> Reading {
    let origin = Some(Box::new(Origin { id: "treatment-1".into(), revision, change }));
    Reading { origin, ..Reading::new(Instant(time), value) }
}

pub(crate) fn revision(number: u64, reading: Reading) -> Item {
    Item::Batch(batch_of(number, vec![Column { series: glucose(), basis: Basis::Source, readings: vec![reading] }]))
}

pub(crate) fn every_bit_of_every_value_is_kept(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let odd_nan = f64::from_bits(0x7ff8_0000_dead_beef);
    let negative_nan = f64::from_bits(0xfff0_0000_0000_0001);
    let values = [
        Value::Number(-0.0),
        Value::Number(0.0),
        Value::Number(odd_nan),
        Value::Number(negative_nan),
        Value::Number(f64::INFINITY),
        Value::Number(f64::NEG_INFINITY),
        Value::Number(5e-324),
        Value::Number(0.1 + 0.2),
        Value::Number(9_007_199_254_740_993.0),
        Value::Number(-1e300),
        Value::Bool(true),
        Value::Bool(false),
        Value::Text("caf\u{e9} \u{0} end".into()),
        Value::Json(r#"{"eventType":"Bolus"}"#.into()),
        Value::State(State::Low(39)),
        Value::State(State::High(401)),
        Value::State(State::WarmingUp),
        Value::State(State::SensorError(-9)),
        Value::State(State::Control(108)),
        Value::State(State::CalibrationNeeded),
        Value::State(State::Other(i32::MIN)),
        Value::Absent,
    ];
    let timed = (0..).map(|place| NOW - 100 + place).zip(values.iter().cloned());
    bed.record([Item::Batch(batch_of(1, vec![column(Basis::Source, timed)]))]);
    bed.reopen();
    let kept = bed.readings();
    assert_eq!(kept.len(), values.len());
    for (kept, value) in kept.iter().zip(&values) {
        assert!(kept.value.same_bits(value), "{:?} is not {value:?}", kept.value);
    }
}

pub(crate) fn readings_of_one_instant_are_ranked_across_batches_and_commits(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let (early, late) = (NOW - 10 * MINUTE, NOW - MINUTE);
    bed.record([Item::Batch(batch(1, &[(late, 1.0), (late, 2.0)]))]);
    bed.record([Item::Batch(batch(2, &[(late, 3.0)])), Item::Batch(batch(3, &[(early, 4.0)]))]);
    bed.reopen();
    bed.record([Item::Batch(batch(4, &[(early, 5.0), (late, 6.0), (early, 7.0)]))]);
    let ranks: Vec<_> = bed.readings().iter().map(|kept| (kept.time_us, kept.ordinal)).collect();
    assert_eq!(ranks, [(early, 0), (early, 1), (early, 2), (late, 0), (late, 1), (late, 2), (late, 3)]);
    let values: Vec<_> = bed.numbers().iter().map(|(_, number)| *number).collect();
    assert_eq!(values, [4.0, 5.0, 7.0, 1.0, 2.0, 3.0, 6.0]);
}

pub(crate) fn a_batch_that_spans_many_readings_is_ranked_all_the_same(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let many: Vec<(i64, f64)> = (0..200).map(|place| (NOW - 1_000 + place, 1.0)).collect();
    bed.record([Item::Batch(batch(1, &many))]);
    bed.record([Item::Batch(batch(2, &[(NOW - 1_000, 2.0), (NOW - 900, 2.0), (NOW - 100, 2.0)]))]);
    let ranked: Vec<_> = bed.readings().into_iter().filter(|kept| kept.ordinal > 0).map(|kept| kept.time_us).collect();
    assert_eq!(ranked, [NOW - 1_000, NOW - 900]);
}

pub(crate) fn the_newest_revision_counts_in_whatever_order_they_come(backend: &dyn Backend) {
    let revisions = [
        edited(NOW - 30, Value::Number(1.0), 1, Change::Add),
        edited(NOW - 20, Value::Number(2.0), 2, Change::Replace),
        edited(NOW - 10, Value::Number(3.0), 3, Change::Replace),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
        let mut bed = backend.fresh();
        for place in order {
            bed.record([revision(place as u64 + 1, revisions[place].clone())]);
        }
        assert_eq!(bed.numbers(), [(NOW - 10, 3.0)], "{order:?}");
        let series = bed.ask(|view| view.series(None)).remove(0);
        assert_eq!((series.readings, series.first_us), (1, Some(NOW - 10)), "{order:?}");
    }
}

pub(crate) fn a_retraction_hides_its_record_even_if_it_comes_first(backend: &dyn Backend) {
    let add = edited(NOW, Value::Number(1.0), 0, Change::Add);
    let retract = edited(NOW, Value::Absent, 0, Change::Retract);
    for (first, second) in [(&add, &retract), (&retract, &add)] {
        let mut bed = backend.fresh();
        bed.record([revision(1, first.clone()), revision(2, second.clone())]);
        assert_eq!(bed.readings(), []);
        assert_eq!(bed.ask(|view| view.readings_total()), 0);
        assert_eq!(bed.settled(), [(1, 2, Settlement::Stored)]);
    }
}

pub(crate) fn what_a_source_reads_twice_counts_once_but_two_readings_of_one_record_both_count(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let add = edited(NOW - 10, Value::Number(1.0), 4, Change::Add);
    let sibling = edited(NOW - 5, Value::Number(1.0), 4, Change::Add);
    bed.record([revision(1, add.clone()), revision(2, sibling), revision(3, add)]);
    assert_eq!(bed.numbers(), [(NOW - 10, 1.0), (NOW - 5, 1.0)]);
}

pub(crate) fn a_device_that_makes_a_series_of_every_value_is_stopped(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record(all_series());
    bed.record([(5, 4_096..4_097), (6, 0..3)].map(|(number, series)| Item::Batch(batch_of_series(number, series))));
    let states = [(1, 4, Settlement::Stored), (5, 5, Settlement::Quarantined), (6, 6, Settlement::Stored)];
    assert_eq!(bed.settled(), states);
}
