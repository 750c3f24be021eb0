//! What readers are shown.

use std::time::{Duration, Instant as Moment};

use gateway::store::{Batch, Item, Place, ReadError, StoreError, SubjectSeed};
use proto::{Basis, Change, Lane, State, Value};

use crate::backend::Backend;
use crate::batches::{EPOCH, MINUTE, NOW, batch, batch_of, column, held, hello, now};
use crate::values::{edited, revision};

pub(crate) fn a_reading_from_the_far_future_is_kept_and_flagged_but_is_not_the_newest(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record([Item::Batch(batch(1, &[(NOW, 1.0), (NOW + 6 * MINUTE, 2.0), (NOW + 4 * MINUTE, 3.0)]))]);
    let flagged: Vec<_> = bed.readings().iter().map(|kept| kept.is_future).collect();
    assert_eq!(flagged, [false, false, true]);
    let series = bed.ask(|view| view.series(None)).remove(0);
    assert_eq!(series.latest.unwrap().time_us, NOW + 4 * MINUTE);
    assert_eq!(bed.device().last_reading_us, Some(NOW + 4 * MINUTE));
}

pub(crate) fn thinning_keeps_extremes_and_counts_low_and_high_among_them(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let value = |minute: i64| match minute {
        500 => Value::State(State::Low(39)),
        501 => Value::Number(40.0),
        700 => Value::Number(333.0),
        900 => Value::State(State::High(401)),
        901 => Value::Number(f64::NAN),
        _ => Value::Number(100.0 + (minute % 7) as f64),
    };
    let day = (0..1_440).map(|minute| (NOW - (1_440 - minute) * MINUTE, value(minute)));
    bed.record([Item::Batch(batch_of(1, vec![column(Basis::Source, day)]))]);
    let series = bed.series().unwrap();
    let excerpt = bed.ask(|view| view.excerpt(series, (i64::MIN, i64::MAX), 100));
    assert!(excerpt.is_thinned && excerpt.readings.len() <= 100 && excerpt.readings_in_range == 1_440);
    assert!(excerpt.readings.windows(2).all(|pair| pair[0].time_us < pair[1].time_us), "in the order of time");
    for extreme in [Value::State(State::Low(39)), Value::Number(333.0), Value::State(State::High(401))] {
        assert!(excerpt.readings.iter().any(|kept| kept.value == extreme), "{extreme:?} was lost");
    }
    let raw = bed.ask(|view| view.excerpt(series, (NOW - 10 * MINUTE, NOW), 100));
    assert!(!raw.is_thinned && raw.readings.len() == 10);
}

pub(crate) fn days_are_those_of_the_zone_with_23_24_or_25_hours(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let hour = 60 * MINUTE;
    // Noon UTC on both sides of the changes of 2025 in Berlin: 30 March and 26 October.
    let noon = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let times = ["2025-03-29T12:00:00Z", "2025-03-30T12:00:00Z", "2025-10-26T12:00:00Z", "2025-10-26T22:59:59Z"];
    let readings: Vec<(i64, f64)> = times.iter().map(|time| (noon(time), 1.0)).collect();
    bed.record([Item::Batch(batch(1, &readings))]);
    let berlin = jiff::tz::TimeZone::get("Europe/Berlin").unwrap();
    let series = bed.series().unwrap();
    let days = bed.ask(|view| view.days(series, &berlin));
    let seen: Vec<_> = days.iter().map(|day| (&*day.date, (day.to_us - day.from_us) / hour, day.readings)).collect();
    assert_eq!(seen, [("2025-03-29", 24, 1), ("2025-03-30", 23, 1), ("2025-10-26", 25, 2)]);
}

pub(crate) fn a_question_that_takes_too_long_is_given_up(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let many: Vec<(i64, f64)> = (0..60_000).map(|place| (NOW - place, 1.0)).collect();
    bed.record([Item::Batch(batch(1, &many))]);
    let series = bed.series().unwrap();
    let late = bed.store().reader.view(Moment::now(), |view| view.excerpt(series, (i64::MIN, i64::MAX), 10));
    assert!(matches!(late, Err(ReadError::Late)));
    assert!(!bed.readings().is_empty(), "and the connection serves the next one");
}

pub(crate) fn the_feed_gives_readings_in_the_order_of_commits_and_only_those_that_count(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let mut feed = bed.store().feed.clone();
    assert!(!feed.has_changed().unwrap());
    bed.record([Item::Batch(batch(2, &[(NOW, 2.0)])), Item::Batch(batch(1, &[(NOW - MINUTE, 1.0)]))]);
    bed.record([revision(3, edited(NOW, Value::Absent, 0, Change::Retract))]);
    assert!(feed.has_changed().unwrap());
    let (mut on, mut values) = (Place::default(), Vec::new());
    // A transaction of somebody else on the same server may hold the end of the feed back for a moment.
    harness::wait_for("all of the feed", Duration::from_secs(20), || {
        let (readings, end) = bed.ask(|view| view.readings_after(on, 1));
        on = end;
        values.extend(readings.into_iter().map(|kept| kept.value));
        (values.len() == 2 && on == feed.borrow_and_update().end).then_some(())
    });
    assert_eq!(values, [Value::Number(2.0), Value::Number(1.0)]);
}

pub(crate) fn a_subject_of_the_settings_has_what_its_devices_measure(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record([Item::Batch(batch(1, &[(NOW, 1.0)]))]);
    let seed = |id: &str, devices: &[&str]| SubjectSeed {
        id: id.into(),
        display_name: id.to_uppercase(),
        zone: "Europe/Berlin".into(),
        devices: devices.iter().map(|device| device.parse().unwrap()).collect(),
    };
    let seeds = [seed("ada", &["meter-7", "meter-8"]), seed("ada", &["meter-7"]), seed("home", &["meter-8"])];
    bed.reopen_with(&seeds).unwrap();
    let subjects = bed.ask(|view| view.subjects());
    let seen: Vec<_> = subjects.iter().map(|subject| (&*subject.id, &*subject.zone, subject.series.len())).collect();
    assert_eq!(seen, [("ada", "Europe/Berlin", 1), ("home", "Europe/Berlin", 0)]);
    bed.reopen_with(&[seed("home", &["meter-7"])]).unwrap();
    assert_eq!(bed.ask(|view| view.subject("ada")).unwrap().series, []);
    let wrong = SubjectSeed { zone: "Mars/Base".into(), ..seed("ada", &[]) };
    assert!(matches!(bed.reopen_with(&[wrong]), Err(StoreError::Zone { .. })));
}

pub(crate) fn the_newest_live_reading_tells_how_far_a_device_lags(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let late = Batch { lane: Lane::Backfill, ..batch(1, &[(NOW - 60 * MINUTE, 1.0)]) };
    bed.record([Item::Batch(late), Item::Batch(batch(2, &[(NOW - 2 * MINUTE, 1.0)]))]);
    let device = bed.device();
    assert_eq!((device.lag_us, device.last_reading_us), (Some(2 * MINUTE), Some(NOW - 2 * MINUTE)));
}

pub(crate) fn a_device_that_left_more_than_a_day_ago_is_silent_unless_it_was_revoked_since(backend: &dyn Backend) {
    const DAY: i64 = 24 * 60 * MINUTE;
    let mut bed = backend.fresh();
    let presence = |device: &str, connected| Item::Presence { device: device.parse().unwrap(), connected };
    let left = ["gone", "revoked", "came-back", "just-left"].map(|device| presence(device, false));
    bed.record([presence("there", true)].into_iter().chain(left));
    bed.record([Item::Batch(batch(1, &[(NOW, 1.0)])), hello([held(EPOCH, &[], 9)])]);
    let beside = bed.beside();
    beside.run(&format!("update device set last_seen_us = {} where name <> 'just-left'", NOW - DAY - 1));
    let cut = |device: &str, at_us: i64| {
        format!("insert into cut_off (device, tenant, cut_us, times) values ('{device}', 1, {at_us}, 1)")
    };
    // It was cut off while it was connected: that it left was noted a moment later.
    beside.run(&cut("revoked", NOW - DAY - MINUTE));
    beside.run(&cut("came-back", NOW - 3 * DAY));
    drop(beside);
    let fleet = bed.ask(|view| view.fleet(now()));
    // meter-7 has sent something, and nobody said that it is connected.
    assert_eq!((fleet.devices, fleet.connected, fleet.silent), (6, 1, 3), "gone, came-back and meter-7");
    assert_eq!((fleet.readings, fleet.quarantined, fleet.gaps), (1, 0, 1));
    assert_eq!(fleet.alarms.into_iter().collect::<Vec<_>>(), [("unexplained_gap".to_owned(), 1)]);
}
