//! By time.

use super::*;

#[tokio::test]
async fn an_old_site_is_read_from_where_it_was_left_and_nothing_twice() {
    let mut world = World::open("");
    world.site.store().has_v3 = false;
    let data = emulators::nightscout::cgm();
    let shift = NOW_MS - data[1_900].0;
    for (at, mg_dl) in &data[..1_900] {
        world.site.store().write_v1(Kind::Entries, at + shift, sgv(*mg_dl));
    }
    world.look().await;
    // Seven days: those before are left alone.
    let begin = NOW_MS - 7 * 1_440 * MINUTE_MS;
    let within = data[..1_900].iter().filter(|(at, _)| at + shift >= begin);
    let expected: Vec<String> = within.map(|(_, mg_dl)| mg_dl.to_string()).collect();
    assert!((1_500..1_900).contains(&expected.len()), "{}", expected.len());
    assert_eq!(world.values("glucose"), expected);
    assert_eq!(world.look().await, 0);
    world.restart();
    assert_eq!(world.look().await, 0);
    world.site.store().write_v1(Kind::Entries, NOW_MS + MINUTE_MS, sgv(99));
    world.site.store().now_ms += 2 * MINUTE_MS;
    assert_eq!(world.look().await, 2);
    world.assert_once();
}

#[tokio::test]
async fn edits_and_what_comes_late_are_found_within_the_overlap() {
    let mut world = World::open("overlap_h = 3");
    let id = world.site.store().write_v1(Kind::Treatments, NOW_MS - 60 * MINUTE_MS, note("one"));
    world.site.store().write_v1(Kind::Entries, NOW_MS, sgv(100));
    assert_eq!(world.look().await, 3);
    world.site.store().edit(Kind::Treatments, &id, "notes", json!("two"));
    world.site.store().write_v1(Kind::Entries, NOW_MS - 170 * MINUTE_MS, sgv(101));
    world.site.store().write_v1(Kind::Entries, NOW_MS - 190 * MINUTE_MS, sgv(102));
    assert_eq!(world.look().await, 3);
    assert_eq!(world.values("glucose"), ["100", "101"], "three hours are looked over");
    world.restart();
    world.site.store().edit(Kind::Treatments, &id, "notes", json!("three"));
    assert_eq!(world.look().await, 1);
    assert_eq!(world.look().await, 0);
    world.assert_once();
    let changes = world.taken.iter().filter(|sample| sample.series.name.as_str() == "treatment");
    let changes: Vec<(Change, u64)> = changes
        .map(|sample| sample.reading.origin.as_ref().map(|origin| (origin.change, origin.revision)).unwrap())
        .collect();
    assert_eq!(changes, [(Change::Add, 0), (Change::Replace, 1), (Change::Replace, 2)]);
}

#[tokio::test]
async fn a_bad_record_is_told_of_once_and_costs_no_other() {
    let mut world = World::open("collections = [\"entries\"]");
    world.site.store().write_v1(Kind::Entries, NOW_MS, json!({"type": "sgv", "sgv": "n/a"}));
    world.site.store().write_v1(Kind::Entries, NOW_MS - MINUTE_MS, sgv(100));
    assert_eq!(world.look().await, 2);
    assert_eq!(world.rejects, ["entries record 1: `sgv` is no number"]);
    assert_eq!(world.look().await, 0);
    world.restart();
    assert_eq!(world.look().await, 0);
    assert_eq!(world.rejects.len(), 1);
}

#[tokio::test]
async fn many_records_of_little_time_come_in_smaller_slices() {
    let mut world = World::open("collections = [\"entries\"]\nhistory_days = 1");
    // One a second for most of an hour: more than any answer holds.
    for step in 0..3_000 {
        world.site.store().write_v1(Kind::Entries, NOW_MS - step * 1_000, sgv(100));
    }
    assert_eq!(world.look().await, 6_000);
    assert_eq!(world.look().await, 0);
    world.assert_once();
    assert_eq!(world.rejects, [""; 0]);
}

#[tokio::test]
async fn a_clock_that_is_wrong_on_either_side_costs_nothing() {
    for skew in [-30 * 1_440 * MINUTE_MS, -61 * MINUTE_MS, 61 * MINUTE_MS, 2 * 1_440 * MINUTE_MS] {
        for token in [false, true] {
            let mut world = if token { World::with_token("") } else { World::open("") };
            world.site.store().now_ms = NOW_MS + skew;
            let write = |world: &World, at: i64| {
                if token {
                    world.site.store().write_v3(Kind::Entries, at, sgv(100))
                } else {
                    world.site.store().write_v1(Kind::Entries, at, sgv(100))
                }
            };
            for step in 0..5 {
                write(&world, NOW_MS + step * 5 * MINUTE_MS);
                world.site.store().now_ms += 5 * MINUTE_MS;
                assert_eq!(world.look().await, 2, "skew {skew}, step {step}");
            }
            // An app whose clock is a year ahead must not hide what others write.
            write(&world, NOW_MS + 365 * 1_440 * MINUTE_MS);
            assert_eq!(world.look().await, 2);
            write(&world, NOW_MS + 30 * MINUTE_MS);
            assert_eq!(world.look().await, 2, "skew {skew}");
            world.assert_once();
        }
    }
}

#[tokio::test]
async fn between_sweeps_only_the_newest_half_hour_is_asked_for() {
    let mut world = World::open("collections = [\"entries\"]");
    let settings = world.settings.clone();
    let (outlet, intakes) = Outlet::new(64);
    let (clock, stop) = (SourceClock::new(Still), CancellationToken::new());
    world.reader = Reader::new(&settings, Memory::default(), clock, SourceName::from("site"), outlet, stop).unwrap();
    world.intakes = intakes;
    world.site.store().write_v1(Kind::Entries, NOW_MS, sgv(100));
    world.look().await;
    let _ = world.site.asked();
    world.site.store().write_v1(Kind::Entries, NOW_MS - 20 * MINUTE_MS, sgv(101));
    world.site.store().write_v1(Kind::Entries, NOW_MS - 40 * MINUTE_MS, sgv(102));
    assert_eq!(world.look().await, 2);
    let asked: Vec<String> = world.site.asked().into_iter().map(|asked| asked.target).collect();
    let from = NOW_MS - 30 * MINUTE_MS;
    assert_eq!(asked, [format!("/api/v1/entries.json?find%5Bdate%5D%5B$gte%5D={from}&count=1000")]);
    world.reader.sweep_always();
    assert_eq!(world.look().await, 2);
    world.assert_once();
}

#[tokio::test]
async fn a_first_look_goes_back_no_further_than_it_is_told_and_later_ones_neither() {
    let mut world = World::open("history_days = 0");
    for kind in [Kind::Entries, Kind::Treatments] {
        world.site.store().write_v1(kind, NOW_MS - MINUTE_MS, sgv(100));
    }
    for _ in 0..3 {
        assert_eq!(world.look().await, 0);
        world.restart();
    }
    world.site.store().now_ms += MINUTE_MS;
    world.site.store().write_v1(Kind::Entries, NOW_MS + MINUTE_MS, sgv(101));
    assert_eq!(world.look().await, 2);
    assert_eq!(world.look().await, 0);
}
