//! The store as the pipeline and the API use it.

#![allow(missing_docs, clippy::unwrap_used, clippy::cast_precision_loss, reason = "a test that fails says so")]

use bytes::Bytes;
use std::time::{Duration, Instant as Moment};

use proptest::prelude::*;
use proto::message::{Gap, GapReason, Held, Refusal, Settlement};
use proto::{Basis, BodyHash, Change, Channel, Clock, Instant, Lane, Origin, Quality, Range, Reading, State, Value};
use tempfile::TempDir;
use tributary_gateway::store::sqlite::Store;
use tributary_gateway::store::view::{Reading as Kept, TimeQuality};
use tributary_gateway::store::{Item, Outcome, Pack, Place, Quarantine, SettledRanges};
use tributary_gateway::store::{Ledger as _, ReadError, StoreError, View};

#[path = "support/batches.rs"]
mod batches;
use batches::{BOOT, EPOCH, MINUTE, NOW, batch, batch_of, column, glucose, meter, now, open, record, synced};

/// Opens an empty store in a folder of its own.
fn fresh() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    (folder, store)
}

fn ask<T>(store: &Store, ask: impl FnOnce(View<'_>) -> Result<T, ReadError>) -> T {
    store.reader.view(Moment::now() + Duration::from_secs(10), ask).unwrap()
}

/// All readings of the first series, in the order of time.
fn readings(store: &Store) -> Vec<Kept> {
    ask(store, |view| {
        let Some(series) = view.series(None)?.into_iter().next() else { return Ok(Vec::new()) };
        Ok(view.excerpt(series.id, (i64::MIN, i64::MAX), 10_000)?.readings)
    })
}

fn numbers(store: &Store) -> Vec<(i64, f64)> {
    let number = |reading: Kept| match reading.value {
        Value::Number(number) => (reading.time_us, number),
        other => panic!("{other:?} is no number"),
    };
    readings(store).into_iter().map(number).collect()
}

fn settled(store: &mut Store) -> Vec<(u64, u64, Settlement)> {
    let SettledRanges(ranges) = store.writer.settled(&meter(), EPOCH).unwrap();
    ranges.into_iter().map(|(range, state)| (range.first, range.last, state)).collect()
}

fn range(first: u64, last: u64) -> Range {
    Range::new(first, last).unwrap()
}

fn unreadable(number: u64, bytes: &[u8]) -> Quarantine {
    Quarantine {
        device: meter(),
        channel: Channel::Batch,
        identity: Some((EPOCH, number, BodyHash::of(bytes))),
        arrived: Instant(NOW),
        reason: "malformed series head".into(),
        bytes: bytes.to_vec().into(),
    }
}

fn gap(range: Option<Range>, from: Option<i64>, until: Option<i64>) -> Gap {
    Gap {
        epoch: range.map(|_| EPOCH),
        range,
        source: None,
        from: from.map(Instant),
        until: until.map(Instant),
        boot: None,
        count: Some(5),
        reason: GapReason::Evicted,
    }
}

fn gaps(gaps: impl IntoIterator<Item = Gap>) -> Item {
    Item::Gaps { device: meter(), gaps: gaps.into_iter().collect() }
}

fn holds(ranges: &[Range], next: u64) -> Item {
    Item::Held { device: meter(), held: vec![Held { epoch: EPOCH, ranges: ranges.to_vec(), next }] }
}

#[test]
fn the_same_batch_twice_changes_nothing() {
    let (_folder, mut store) = fresh();
    let first = batch(1, &[(NOW - MINUTE, 104.0)]);
    assert_eq!(record(&mut store.writer, [Item::Batch(first.clone())]), [Outcome::Recorded]);
    assert_eq!(
        record(&mut store.writer, [Item::Batch(first.clone()), Item::Batch(first)]),
        [Outcome::Known, Outcome::Known]
    );
    assert_eq!(numbers(&store), [(NOW - MINUTE, 104.0)]);
    assert_eq!(settled(&mut store), [(1, 1, Settlement::Stored)]);
    let device = ask(&store, |view| view.device("meter-7")).unwrap();
    assert_eq!((device.readings, device.batches), (1, 1));
}

#[test]
fn another_body_under_the_same_identity_is_refused_kept_aside_and_alarmed() {
    let (_folder, mut store) = fresh();
    let second = batch(1, &[(NOW, 99.0)]);
    record(&mut store.writer, [Item::Batch(batch(1, &[(NOW, 98.0)]))]);
    let refused = [Outcome::Refused(Refusal::Conflict)];
    assert_eq!(record(&mut store.writer, [Item::Batch(second.clone())]), refused);
    assert_eq!(record(&mut store.writer, [Item::Batch(second)]), refused);
    assert_eq!(numbers(&store), [(NOW, 98.0)]);
    assert_eq!(settled(&mut store), [(1, 1, Settlement::Stored)]);
    assert_eq!(ask(&store, |view| view.quarantined(None)).len(), 1, "once, however often it comes");
    let alarms = ask(&store, |view| view.alarms());
    assert_eq!(alarms.iter().map(|alarm| (&*alarm.kind, alarm.count)).collect::<Vec<_>>(), [("conflict", 2)]);
}

#[test]
fn a_batch_whose_row_was_collapsed_is_known_whatever_its_hash() {
    let (_folder, mut store) = fresh();
    record(&mut store.writer, [1, 2].map(|number| Item::Batch(batch(number, &[(NOW, 98.0)]))));
    record(&mut store.writer, [holds(&[range(2, 2)], 3)]);
    let (freed, held) = (batch(1, &[(NOW, 5.0)]), batch(2, &[(NOW, 5.0)]));
    assert_eq!(
        record(&mut store.writer, [Item::Batch(freed), Item::Batch(held)]),
        [Outcome::Known, Outcome::Refused(Refusal::Conflict)]
    );
}

#[test]
fn every_order_of_delivery_ends_in_the_same_ledger_and_the_same_readings() {
    let all =
        [1_u64, 2, 3, 4].map(|number| batch(number, &[(NOW - MINUTE * number.cast_signed(), 100.0 + number as f64)]));
    let mut seen = Vec::new();
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]] {
        let (_folder, mut store) = fresh();
        for place in order {
            record(&mut store.writer, [Item::Batch(all[place].clone())]);
        }
        seen.push((numbers(&store), settled(&mut store)));
    }
    assert_eq!(seen[0].1, [(1, 4, Settlement::Stored)]);
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
}

#[test]
fn every_bit_of_every_value_is_kept() {
    let (_folder, mut store) = fresh();
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
    record(&mut store.writer, [Item::Batch(batch_of(1, vec![column(Basis::Source, timed)]))]);
    drop(store.writer);
    let store = open(&_folder);
    let kept = readings(&store);
    assert_eq!(kept.len(), values.len());
    for (kept, value) in kept.iter().zip(&values) {
        assert!(kept.value.same_bits(value), "{:?} is not {value:?}", kept.value);
    }
}

#[test]
fn readings_of_one_instant_are_ranked_across_batches_and_commits() {
    let (_folder, mut store) = fresh();
    let (early, late) = (NOW - 10 * MINUTE, NOW - MINUTE);
    record(&mut store.writer, [Item::Batch(batch(1, &[(late, 1.0), (late, 2.0)]))]);
    record(&mut store.writer, [Item::Batch(batch(2, &[(late, 3.0)])), Item::Batch(batch(3, &[(early, 4.0)]))]);
    drop(store.writer);
    let mut store = open(&_folder);
    record(&mut store.writer, [Item::Batch(batch(4, &[(early, 5.0), (late, 6.0), (early, 7.0)]))]);
    let ranks: Vec<_> = readings(&store).iter().map(|kept| (kept.time_us, kept.ordinal)).collect();
    assert_eq!(ranks, [(early, 0), (early, 1), (early, 2), (late, 0), (late, 1), (late, 2), (late, 3)]);
    let values: Vec<_> = numbers(&store).iter().map(|(_, number)| *number).collect();
    assert_eq!(values, [4.0, 5.0, 7.0, 1.0, 2.0, 3.0, 6.0]);
}

#[test]
fn a_batch_that_spans_many_readings_is_ranked_all_the_same() {
    let (_folder, mut store) = fresh();
    let many: Vec<(i64, f64)> = (0..200).map(|place| (NOW - 1_000 + place, 1.0)).collect();
    record(&mut store.writer, [Item::Batch(batch(1, &many))]);
    record(&mut store.writer, [Item::Batch(batch(2, &[(NOW - 1_000, 2.0), (NOW - 900, 2.0), (NOW - 100, 2.0)]))]);
    let ranked: Vec<_> =
        readings(&store).into_iter().filter(|kept| kept.ordinal > 0).map(|kept| kept.time_us).collect();
    assert_eq!(ranked, [NOW - 1_000, NOW - 900]);
}

#[test]
fn an_unreadable_batch_is_settled_as_quarantined_and_moves_when_it_can_be_read() {
    let (_folder, mut store) = fresh();
    let good = batch(1, &[(NOW, 98.0)]);
    let aside = unreadable(1, &good.body);
    assert_eq!(record(&mut store.writer, [Item::Quarantine(aside.clone())]), [Outcome::Recorded]);
    assert_eq!(record(&mut store.writer, [Item::Quarantine(aside)]), [Outcome::Known]);
    assert_eq!(settled(&mut store), [(1, 1, Settlement::Quarantined)]);
    let shown = ask(&store, |view| view.quarantined(Some("meter-7")));
    assert_eq!((&*shown[0].topic, shown[0].number), ("trib/1/meter-7/batch", Some(1)));

    assert_eq!(record(&mut store.writer, [Item::Batch(good)]), [Outcome::Recorded]);
    assert_eq!(settled(&mut store), [(1, 1, Settlement::Stored)]);
    assert!(ask(&store, |view| view.quarantined(None)).is_empty());
    assert_eq!(numbers(&store), [(NOW, 98.0)]);
}

#[test]
fn quarantine_has_a_quota_beyond_which_a_batch_is_refused_and_not_settled() {
    let (_folder, mut store) = fresh();
    let items = (1..=1_001).map(|number| Item::Quarantine(unreadable(number, &number.to_be_bytes())));
    let outcomes = record(&mut store.writer, items);
    assert!(outcomes[..1_000].iter().all(|outcome| *outcome == Outcome::Recorded));
    assert_eq!(outcomes[1_000], Outcome::Refused(Refusal::QuarantineFull));
    assert_eq!(settled(&mut store), [(1, 1_000, Settlement::Quarantined)]);

    let (_folder, mut store) = fresh();
    let mebibytes = (1..=17).map(|number: u8| {
        let bytes = vec![number; 1 << 20];
        Item::Quarantine(Quarantine { identity: None, ..unreadable(0, &bytes) })
    });
    let outcomes = record(&mut store.writer, mebibytes);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Recorded).count(), 16);
}

#[test]
fn a_gap_settles_what_is_open_and_gives_way_to_what_comes_after_all() {
    let (_folder, mut store) = fresh();
    record(&mut store.writer, [Item::Batch(batch(5, &[(NOW, 1.0)]))]);
    assert_eq!(record(&mut store.writer, [gaps([gap(Some(range(1, 4)), None, None)])]), [Outcome::Recorded]);
    assert_eq!(record(&mut store.writer, [gaps([gap(Some(range(2, 5)), None, None)])]), [Outcome::Known]);
    record(&mut store.writer, [gaps([gap(Some(range(5, 8)), None, None)])]);
    let gap_and_stored = [(1, 4, Settlement::Gap), (5, 5, Settlement::Stored), (6, 8, Settlement::Gap)];
    assert_eq!(settled(&mut store), gap_and_stored);

    assert_eq!(record(&mut store.writer, [Item::Batch(batch(2, &[(NOW, 2.0)]))]), [Outcome::Recorded]);
    let ledger = ask(&store, |view| view.ledger("meter-7")).unwrap();
    let mut left: Vec<_> = ledger.gaps.iter().map(|gap| (gap.first, gap.last, gap.count)).collect();
    left.sort_unstable();
    assert_eq!(left, [(Some(1), Some(1), None), (Some(3), Some(4), None), (Some(6), Some(8), None)]);
    assert_eq!(settled(&mut store)[1], (2, 2, Settlement::Stored));
}

#[test]
fn neighbouring_gaps_are_one_and_a_repeated_one_counts_once() {
    let (_folder, mut store) = fresh();
    record(&mut store.writer, [gaps([gap(Some(range(1, 2)), Some(10), Some(20))])]);
    record(&mut store.writer, [gaps([gap(Some(range(3, 4)), Some(20), Some(30))])]);
    let spans = [gap(None, Some(100), Some(200)), gap(None, Some(200), Some(300)), gap(None, Some(120), Some(180))];
    assert_eq!(record(&mut store.writer, [gaps(spans.clone())]), [Outcome::Recorded]);
    assert_eq!(record(&mut store.writer, [gaps(spans)]), [Outcome::Known]);
    let ledger = ask(&store, |view| view.ledger("meter-7")).unwrap();
    let seen: Vec<_> = ledger.gaps.iter().map(|gap| (gap.first, gap.last, gap.from_us, gap.to_us, gap.count)).collect();
    assert_eq!(seen, [(None, None, Some(100), Some(300), Some(10)), (Some(1), Some(4), Some(10), Some(30), Some(10))]);
}

#[test]
fn the_first_clock_of_a_boot_that_knows_the_time_serves_all_its_batches() {
    let (_folder, mut store) = fresh();
    let at_boot = |number, clock| {
        let mut batch = batch_of(number, vec![column(Basis::Boot, [(1_000, Value::Number(number as f64))])]);
        batch.clock = clock;
        Item::Batch(batch)
    };
    let offset = NOW - MINUTE;
    let held = Clock { quality: Quality::Held, ..synced(offset) };
    record(&mut store.writer, [at_boot(1, held), at_boot(2, synced(offset + 77)), at_boot(3, Clock::default())]);
    let mine = |store: &Store| -> Vec<_> {
        let kept = readings(store).into_iter();
        kept.map(|kept| (kept.time_us, kept.ordinal, kept.quality)).collect()
    };
    // The third is of another boot (the default one), which never knew the time.
    let unset = (1_000, 0, TimeQuality::Unset);
    let placed = [(offset + 1_000, 0, TimeQuality::Held), (offset + 1_000, 1, TimeQuality::Held)];
    assert_eq!(mine(&store), [&[unset], &placed[..]].concat());
}

#[test]
fn a_clock_that_is_learned_later_moves_what_was_placed_without_one_and_nothing_else() {
    let (_folder, mut store) = fresh();
    let unset = Clock { boot: BOOT, offset_us: 500, quality: Quality::Unset };
    let timeless = |number, readings: [(i64, f64); 2]| {
        let boot = column(Basis::Boot, readings.map(|(time, value)| (time, Value::Number(value))));
        let source = column(Basis::Source, [(NOW - MINUTE, Value::Number(-1.0))]);
        let mut batch = batch_of(number, vec![boot, source]);
        batch.clock = unset;
        Item::Batch(batch)
    };
    record(&mut store.writer, [timeless(1, [(10, 1.0), (20, 2.0)])]);
    record(&mut store.writer, [timeless(2, [(20, 3.0), (30, 4.0)])]);
    assert_eq!(ask(&store, |view| view.device("meter-7")).unwrap().last_reading_us, Some(NOW - MINUTE));
    let learned = Item::Clock { device: meter(), clock: synced(NOW - 1_000) };
    assert_eq!(record(&mut store.writer, [learned.clone()]), [Outcome::Recorded]);
    assert_eq!(record(&mut store.writer, [learned]), [Outcome::Known]);
    let kept = readings(&store);
    let seen: Vec<_> = kept.iter().map(|kept| (kept.time_us - NOW, kept.ordinal, kept.quality)).collect();
    let (source, synced) = (TimeQuality::Source, TimeQuality::Synced);
    assert_eq!(
        seen,
        [
            (-MINUTE, 0, source),
            (-MINUTE, 1, source),
            (-990, 0, synced),
            (-980, 0, synced),
            (-980, 1, synced),
            (-970, 0, synced)
        ]
    );
    assert_eq!(ask(&store, |view| view.device("meter-7")).unwrap().last_reading_us, Some(NOW - 970));
    // What comes next is ranked behind what was moved.
    record(&mut store.writer, [Item::Batch(batch(3, &[(NOW - 970, 9.0)]))]);
    assert_eq!(readings(&store).last().unwrap().ordinal, 1);
}

fn edited(time: i64, value: Value, revision: u64, change: Change) -> Reading {
    let origin = Some(Box::new(Origin { id: "treatment-1".into(), revision, change }));
    Reading { origin, ..Reading::new(Instant(time), value) }
}

fn revision(number: u64, reading: Reading) -> Item {
    Item::Batch(batch_of(
        number,
        vec![proto::Column { series: glucose(), basis: Basis::Source, readings: vec![reading] }],
    ))
}

#[test]
fn the_newest_revision_counts_in_whatever_order_they_come() {
    let revisions = [
        edited(NOW - 30, Value::Number(1.0), 1, Change::Add),
        edited(NOW - 20, Value::Number(2.0), 2, Change::Replace),
        edited(NOW - 10, Value::Number(3.0), 3, Change::Replace),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
        let (_folder, mut store) = fresh();
        for place in order {
            record(&mut store.writer, [revision(place as u64 + 1, revisions[place].clone())]);
        }
        assert_eq!(numbers(&store), [(NOW - 10, 3.0)], "{order:?}");
        let series = ask(&store, |view| view.series(None)).remove(0);
        assert_eq!((series.readings, series.first_us), (1, Some(NOW - 10)), "{order:?}");
    }
}

#[test]
fn a_retraction_hides_its_record_even_if_it_comes_first() {
    let add = edited(NOW, Value::Number(1.0), 0, Change::Add);
    let retract = edited(NOW, Value::Absent, 0, Change::Retract);
    for (first, second) in [(&add, &retract), (&retract, &add)] {
        let (_folder, mut store) = fresh();
        record(&mut store.writer, [revision(1, first.clone()), revision(2, second.clone())]);
        assert_eq!(readings(&store), []);
        assert_eq!(ask(&store, |view| view.readings_total()), 0);
        assert_eq!(settled(&mut store), [(1, 2, Settlement::Stored)]);
    }
}

#[test]
fn what_a_source_reads_twice_counts_once_but_two_readings_of_one_record_both_count() {
    let (_folder, mut store) = fresh();
    let add = edited(NOW - 10, Value::Number(1.0), 4, Change::Add);
    let sibling = edited(NOW - 5, Value::Number(1.0), 4, Change::Add);
    record(&mut store.writer, [revision(1, add.clone()), revision(2, sibling), revision(3, add)]);
    assert_eq!(numbers(&store), [(NOW - 10, 1.0), (NOW - 5, 1.0)]);
}

#[test]
fn a_pack_is_known_by_its_hash_or_by_its_packet_among_the_last_64() {
    let (_folder, mut store) = fresh();
    let pack = |content: u8, packet_id, resent, absolute| {
        Item::Pack(Pack {
            device: meter(),
            hash: BodyHash([content; 16]),
            absolute,
            packet_id,
            resent,
            arrived: Instant(NOW),
            columns: vec![column(Basis::Source, [(NOW, Value::Number(1.0))])],
            payload: Bytes::new(),
        })
    };
    let (recorded, known) = (Outcome::Recorded, Outcome::Known);
    assert_eq!(
        record(&mut store.writer, [pack(1, None, false, true), pack(1, Some(9), false, true)]),
        [recorded, known]
    );
    assert_eq!(
        record(
            &mut store.writer,
            [(2, false), (2, true), (3, true)].map(|(content, again)| pack(content, Some(1), again, false))
        ),
        [recorded, known, recorded]
    );
    let same = [pack(2, Some(1), false, false)];
    assert_eq!(
        record(&mut store.writer, same),
        [recorded],
        "not said to be a resend: a client that connects anew each time"
    );
    record(&mut store.writer, (10..74).map(|packet_id| pack(4, Some(packet_id), false, false)));
    assert_eq!(record(&mut store.writer, [pack(2, Some(1), true, false)]), [recorded], "65 packs ago");
    assert_eq!(
        record(&mut store.writer, [pack(5, None, false, false), pack(5, None, false, false)]),
        [recorded, recorded]
    );
}

#[test]
fn a_reading_from_the_far_future_is_kept_and_flagged_but_is_not_the_newest() {
    let (_folder, mut store) = fresh();
    record(&mut store.writer, [Item::Batch(batch(1, &[(NOW, 1.0), (NOW + 6 * MINUTE, 2.0), (NOW + 4 * MINUTE, 3.0)]))]);
    let flagged: Vec<_> = readings(&store).iter().map(|kept| kept.is_future).collect();
    assert_eq!(flagged, [false, false, true]);
    let series = ask(&store, |view| view.series(None)).remove(0);
    assert_eq!(series.latest.unwrap().time_us, NOW + 4 * MINUTE);
    assert_eq!(ask(&store, |view| view.device("meter-7")).unwrap().last_reading_us, Some(NOW + 4 * MINUTE));
}

#[test]
fn thinning_keeps_extremes_and_counts_low_and_high_among_them() {
    let (_folder, mut store) = fresh();
    let value = |minute: i64| match minute {
        500 => Value::State(State::Low(39)),
        501 => Value::Number(40.0),
        700 => Value::Number(333.0),
        900 => Value::State(State::High(401)),
        901 => Value::Number(f64::NAN),
        _ => Value::Number(100.0 + (minute % 7) as f64),
    };
    let day = (0..1_440).map(|minute| (NOW - (1_440 - minute) * MINUTE, value(minute)));
    record(&mut store.writer, [Item::Batch(batch_of(1, vec![column(Basis::Source, day)]))]);
    let excerpt = ask(&store, |view| view.excerpt(1, (i64::MIN, i64::MAX), 100));
    assert!(excerpt.is_thinned && excerpt.readings.len() <= 100 && excerpt.readings_in_range == 1_440);
    assert!(excerpt.readings.windows(2).all(|pair| pair[0].time_us < pair[1].time_us), "in the order of time");
    for extreme in [Value::State(State::Low(39)), Value::Number(333.0), Value::State(State::High(401))] {
        assert!(excerpt.readings.iter().any(|kept| kept.value == extreme), "{extreme:?} was lost");
    }
    let raw = ask(&store, |view| view.excerpt(1, (NOW - 10 * MINUTE, NOW), 100));
    assert!(!raw.is_thinned && raw.readings.len() == 10);
}

#[test]
fn days_are_those_of_the_zone_with_23_24_or_25_hours() {
    let (_folder, mut store) = fresh();
    let hour = 60 * MINUTE;
    // Noon UTC on both sides of the changes of 2025 in Berlin: 30 March and 26 October.
    let noon = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let times = ["2025-03-29T12:00:00Z", "2025-03-30T12:00:00Z", "2025-10-26T12:00:00Z", "2025-10-26T22:59:59Z"];
    let readings: Vec<(i64, f64)> = times.iter().map(|time| (noon(time), 1.0)).collect();
    record(&mut store.writer, [Item::Batch(batch(1, &readings))]);
    let berlin = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    let days = ask(&store, |view| view.days(1, &berlin));
    let seen: Vec<_> = days.iter().map(|day| (&*day.date, (day.to_us - day.from_us) / hour, day.readings)).collect();
    assert_eq!(seen, [("2025-03-29", 24, 1), ("2025-03-30", 23, 1), ("2025-10-26", 25, 2)]);
}

#[test]
fn a_restart_keeps_everything_and_takes_all_devices_for_disconnected() {
    let (folder, mut store) = fresh();
    let presence = Item::Presence { device: meter(), connected: true };
    record(
        &mut store.writer,
        [presence, Item::Batch(batch(1, &[(NOW, 1.0)])), gaps([gap(Some(range(3, 3)), None, None)])],
    );
    record(&mut store.writer, [holds(&[range(1, 1)], 5)]);
    assert!(ask(&store, |view| view.device("meter-7")).unwrap().connected);
    let (before, ledger) = (settled(&mut store), ask(&store, |view| view.ledger("meter-7")).unwrap());
    drop(store);
    let mut store = open(&folder);
    let after = ask(&store, |view| view.ledger("meter-7")).unwrap();
    assert_eq!((settled(&mut store), &after.epochs, &after.gaps), (before, &ledger.epochs, &ledger.gaps));
    assert!(!after.connected);
    assert_eq!(numbers(&store), [(NOW, 1.0)]);
    let end = ask(&store, |view| view.feed_end());
    assert!(store.writer.subscribe().borrow().end == end && end > Place::default());
    assert_eq!(record(&mut store.writer, [Item::Batch(batch(1, &[(NOW, 1.0)]))]), [Outcome::Known]);
}

#[test]
fn a_newer_schema_is_refused_and_so_is_a_second_writer() {
    let (folder, store) = fresh();
    let path = folder.path().join("gateway.db");
    let second = Store::open(&path, now).err().unwrap();
    assert!(matches!(second, StoreError::Locked { .. }) && second.to_string().contains("another gateway"), "{second}");
    drop(store);
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let newer = Store::open(&path, now).err().unwrap();
    assert!(matches!(newer, StoreError::NewerSchema { found: 99, .. }), "{newer}");
}

#[test]
fn a_transaction_that_fails_leaves_nothing_behind() {
    let (folder, mut store) = fresh();
    record(&mut store.writer, [Item::Batch(batch(1, &[(NOW, 1.0)]))]);
    let saboteur = rusqlite::Connection::open(folder.path().join("gateway.db")).unwrap();
    let trigger = "create trigger refuse before insert on reading when new.value = 666
                   begin select raise(abort, 'refused'); end";
    saboteur.execute_batch(trigger).unwrap();
    let items = [Item::Batch(batch(2, &[(NOW, 2.0)])), Item::Batch(batch(3, &[(NOW, 3.0), (NOW, 666.0)]))];
    let error = store.writer.record(&items).unwrap_err();
    assert!(!error.is_unavailable(), "{error}: it comes from what was to be written");
    assert_eq!(settled(&mut store), [(1, 1, Settlement::Stored)]);
    assert_eq!(numbers(&store), [(NOW, 1.0)]);
    assert_eq!(record(&mut store.writer, items.into_iter().take(1)), [Outcome::Recorded]);
    assert_eq!(settled(&mut store), [(1, 2, Settlement::Stored)]);
    assert_eq!(readings(&store).iter().map(|kept| (kept.id, kept.ordinal)).collect::<Vec<_>>(), [(1, 0), (2, 1)]);
}

#[test]
fn a_question_that_takes_too_long_is_given_up() {
    let (_folder, mut store) = fresh();
    let many: Vec<(i64, f64)> = (0..60_000).map(|place| (NOW - place, 1.0)).collect();
    record(&mut store.writer, [Item::Batch(batch(1, &many))]);
    let late = store.reader.view(Moment::now(), |view| view.excerpt(1, (i64::MIN, i64::MAX), 10));
    assert!(matches!(late, Err(ReadError::Late)));
    assert!(!readings(&store).is_empty(), "and the connection serves the next one");
}

#[test]
fn the_feed_gives_readings_in_the_order_of_commits_and_only_those_that_count() {
    let (_folder, mut store) = fresh();
    let mut feed = store.writer.subscribe();
    assert!(!feed.has_changed().unwrap());
    record(&mut store.writer, [Item::Batch(batch(2, &[(NOW, 2.0)])), Item::Batch(batch(1, &[(NOW - MINUTE, 1.0)]))]);
    record(&mut store.writer, [revision(3, edited(NOW, Value::Absent, 0, Change::Retract))]);
    let tick = feed.borrow_and_update().end;
    let (first, on) = ask(&store, |view| view.readings_after(Place::default(), 1));
    let (rest, end) = ask(&store, |view| view.readings_after(on, 10));
    let values: Vec<_> = first.iter().chain(&rest).map(|kept| kept.value.clone()).collect();
    assert_eq!((values, end), (vec![Value::Number(2.0), Value::Number(1.0)], tick));
}

#[test]
fn a_subject_of_the_settings_has_what_its_devices_measure() {
    let (_folder, mut store) = fresh();
    record(&mut store.writer, [Item::Batch(batch(1, &[(NOW, 1.0)]))]);
    let seed = |id: &str, devices: &[&str]| tributary_gateway::store::SubjectSeed {
        id: id.into(),
        display_name: id.to_uppercase(),
        zone: "Europe/Berlin".into(),
        devices: devices.iter().map(|device| device.parse().unwrap()).collect(),
    };
    for seed in [seed("ada", &["meter-7", "meter-8"]), seed("ada", &["meter-7"]), seed("home", &["meter-8"])] {
        store.ensure_subject(&seed).unwrap();
    }
    let subjects = ask(&store, |view| view.subjects());
    let seen: Vec<_> = subjects.iter().map(|subject| (&*subject.id, &*subject.zone, subject.series.len())).collect();
    assert_eq!(seen, [("ada", "Europe/Berlin", 1), ("home", "Europe/Berlin", 0)]);
    store.ensure_subject(&seed("home", &["meter-7"])).unwrap();
    assert_eq!(ask(&store, |view| view.subject("ada")).unwrap().series, []);
    let wrong = tributary_gateway::store::SubjectSeed { zone: "Mars/Base".into(), ..seed("ada", &[]) };
    assert!(matches!(store.ensure_subject(&wrong), Err(StoreError::Zone { .. })));
}

#[test]
fn a_device_that_makes_a_series_of_every_value_is_stopped() {
    let (_folder, mut store) = fresh();
    let of = |number: u64, names: std::ops::Range<usize>| {
        let named = |name: usize| proto::Column {
            series: proto::Series { name: format!("s{name}").parse().unwrap(), ..glucose() },
            ..column(Basis::Source, [(NOW, Value::Number(1.0))])
        };
        Item::Batch(batch_of(number, names.map(named).collect()))
    };
    record(&mut store.writer, (0..4).map(|part| of(part as u64 + 1, part * 1_024..(part + 1) * 1_024)));
    record(&mut store.writer, [of(5, 4_096..4_097), of(6, 0..3)]);
    let states = [(1, 4, Settlement::Stored), (5, 5, Settlement::Quarantined), (6, 6, Settlement::Stored)];
    assert_eq!(settled(&mut store), states);
}

/// What the ledger should say, number by number.
fn model_of(steps: &[(u8, u64, u64)]) -> Vec<(u64, u64, Settlement)> {
    let mut state = [None; 64];
    for &(what, first, more) in steps {
        for number in first..=first + more {
            let place = &mut state[usize::try_from(number).unwrap()];
            match what {
                0 => *place = Some(Settlement::Stored),
                1 if place.is_none() || *place == Some(Settlement::Gap) => *place = Some(Settlement::Quarantined),
                2 if place.is_none() => *place = Some(Settlement::Gap),
                _ => {}
            }
        }
    }
    let mut ranges: Vec<(u64, u64, Settlement)> = Vec::new();
    for (number, state) in (0..).zip(state) {
        match (ranges.last_mut(), state) {
            (Some((_, last, same)), Some(state)) if *last + 1 == number && *same == state => *last = number,
            (_, Some(state)) => ranges.push((number, number, state)),
            _ => {}
        }
    }
    ranges
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn ranges_merge_in_any_order_in_memory_and_on_the_disk(
        steps in prop::collection::vec((0_u8..3, 1_u64..40, 0_u64..4), 1..30),
        at_once in 1_usize..6,
    ) {
        let (folder, mut store) = fresh();
        for some in steps.chunks(at_once) {
            let items = some.iter().flat_map(|&(what, first, more)| -> Vec<Item> {
                // Every copy of a number has the same bytes, whether they can be read or not.
                let same = |number| batch(number, &[(NOW, number as f64)]);
                match what {
                    0 => (first..=first + more).map(|number| Item::Batch(same(number))).collect(),
                    1 => (first..=first + more).map(|number| Item::Quarantine(unreadable(number, &same(number).body))).collect(),
                    _ => vec![gaps([gap(Some(range(first, first + more)), None, None)])],
                }
            });
            record(&mut store.writer, items);
        }
        prop_assert_eq!(settled(&mut store), model_of(&steps));
        let stored: u64 = settled(&mut store).iter().filter(|(.., state)| *state == Settlement::Stored).map(|(first, last, _)| last - first + 1).sum();
        prop_assert_eq!(readings(&store).len() as u64, stored);
        drop(store);
        prop_assert_eq!(settled(&mut open(&folder)), model_of(&steps));
    }
}

#[test]
fn only_what_is_settled_around_a_commit_is_told_after_it() {
    let (_folder, mut store) = fresh();
    record(&mut store.writer, [1, 2, 5, 9].map(|number| Item::Batch(batch(number, &[(NOW, 1.0)]))));
    let around = store.writer.settled_around(&meter(), EPOCH, range(2, 5)).unwrap();
    assert_eq!(around.0, [(range(1, 2), Settlement::Stored), (range(5, 5), Settlement::Stored)]);
    assert_eq!(store.writer.settled(&"nobody".parse().unwrap(), EPOCH).unwrap(), SettledRanges::default());
}

#[test]
fn the_newest_live_reading_tells_how_far_a_device_lags() {
    let (_folder, mut store) = fresh();
    let late = tributary_gateway::store::Batch { lane: Lane::Backfill, ..batch(1, &[(NOW - 60 * MINUTE, 1.0)]) };
    record(&mut store.writer, [Item::Batch(late), Item::Batch(batch(2, &[(NOW - 2 * MINUTE, 1.0)]))]);
    let device = ask(&store, |view| view.device("meter-7")).unwrap();
    assert_eq!((device.lag_us, device.last_reading_us), (Some(2 * MINUTE), Some(NOW - 2 * MINUTE)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_settled_here_and_there_is_in_the_database_and_told_as_a_plain_map_has_it(
        steps in prop::collection::vec((any::<bool>(), 1_u64..60, 0_u64..5), 1..40),
        around in (0_u64..66, 0_u64..9),
    ) {
        let (folder, mut store) = fresh();
        let mut stored = std::collections::BTreeSet::new();
        for (is_batch, first, more) in steps {
            if is_batch {
                let batches = (first..=first + more).map(|number| Item::Batch(batch(number, &[(NOW, number as f64)])));
                record(&mut store.writer, batches);
                stored.extend(first..=first + more);
            } else {
                record(&mut store.writer, [gaps([gap(Some(range(first, first + more)), None, None)])]);
            }
        }
        // Of 20 and of 40 to 42 the device says in the end that it has the only copies; the rest is nowhere.
        let held = Held { epoch: EPOCH, ranges: vec![range(20, 20), range(40, 42)], next: 80 };
        record(&mut store.writer, [Item::HeldPart { device: meter(), held: vec![held] }]);
        let is_told = |number: &u64| stored.contains(number) || !(*number == 20 || (40..=42).contains(number));
        let state = |number| if stored.contains(&number) { Settlement::Stored } else { Settlement::Gap };
        let plain: Vec<_> = (1..80).filter(is_told).map(|number| (number, state(number))).collect();
        let all = store.writer.settled(&meter(), EPOCH).unwrap().0;
        let told = |all: &[(Range, Settlement)]| -> Vec<(u64, Settlement)> {
            all.iter().flat_map(|(range, state)| (range.first..=range.last).map(|number| (number, *state))).collect()
        };
        prop_assert_eq!(told(&all), plain);
        let around = range(around.0, around.0 + around.1);
        let near: Vec<_> = all.iter().copied().filter(|(range, _)| range.intersect(around).is_some()).collect();
        prop_assert_eq!(store.writer.settled_around(&meter(), EPOCH, around).unwrap().0, near);
        drop(store);
        let mut again = open(&folder);
        prop_assert_eq!(again.writer.settled(&meter(), EPOCH).unwrap().0, all, "as the database has it");
    }
}
