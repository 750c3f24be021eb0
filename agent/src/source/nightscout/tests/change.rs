//! By order of change.

use super::*;

#[tokio::test]
async fn all_pages_come_once_and_later_only_what_is_new() {
    let mut world = World::with_token("");
    let data = emulators::nightscout::cgm();
    let shift = NOW_MS - data[2_100].0;
    for (at, mg_dl) in &data[..2_100] {
        world.site.store().write_v3(Kind::Entries, at + shift, sgv(*mg_dl));
    }
    assert_eq!(world.look().await, 4_200);
    let expected: Vec<String> = data[..2_100].iter().map(|(_, mg_dl)| mg_dl.to_string()).collect();
    assert_eq!(world.values("glucose"), expected);
    world.assert_once();
    let pages = world.site.asked().iter().filter(|asked| asked.target.contains("/entries/history/")).count();
    assert_eq!(pages, 3);
    assert_eq!(world.look().await, 0);
    // A killed agent goes on from what was committed.
    world.restart();
    assert_eq!(world.look().await, 0);
    world.site.store().write_v3(Kind::Entries, NOW_MS, sgv(99));
    assert_eq!(world.look().await, 2);
    world.assert_once();
}

#[tokio::test]
async fn edits_and_deletions_come_in_order_with_the_sites_name_and_count() {
    let mut world = World::with_token("");
    let entry = world.site.store().write_v3(Kind::Entries, NOW_MS, sgv(110));
    let treatment = world.site.store().write_v3(Kind::Treatments, NOW_MS, note("one"));
    world.look().await;
    world.site.store().edit(Kind::Entries, &entry, "sgv", json!(112));
    world.site.store().edit(Kind::Treatments, &treatment, "notes", json!("two"));
    world.look().await;
    world.site.store().delete(Kind::Entries, &entry);
    world.look().await;
    let changes = |name: &str| -> Vec<(Change, u64, String)> {
        let ours = world.taken.iter().filter(|sample| sample.series.name.as_str() == name);
        ours.map(|sample| {
            let origin = sample.reading.origin.as_ref().unwrap();
            assert!([&entry, &treatment].contains(&&origin.id));
            (origin.change, origin.revision, value(sample))
        })
        .collect()
    };
    let now = NOW_MS.cast_unsigned();
    let glucose = changes("glucose");
    assert_eq!(
        glucose,
        [
            (Change::Add, now, "110".into()),
            (Change::Replace, now + 2, "112".into()),
            (Change::Retract, now + 4, "absent".into())
        ]
    );
    assert_eq!(changes("glucose.direction").len(), 3);
    let treatments = changes("treatment");
    assert!(treatments[1].2.contains("\"notes\":\"two\"") && treatments[1].0 == Change::Replace, "{treatments:?}");
    assert_eq!(world.counting().len(), 1, "only the treatment is left");
}

#[tokio::test]
async fn what_comes_late_is_taken_however_old_it_is() {
    let mut world = World::with_token("api = \"v3\"");
    world.site.store().write_v3(Kind::Entries, NOW_MS, sgv(110));
    assert_eq!(world.look().await, 2);
    // A sensor that had lost its signal sends three days.
    world.site.store().now_ms += 10 * MINUTE_MS;
    for step in 1..=864 {
        world.site.store().write_v3(Kind::Entries, NOW_MS - step * 5 * MINUTE_MS, sgv(120));
    }
    assert_eq!(world.look().await, 2 * 864);
    world.assert_once();
    assert!(world.site.asked().iter().all(|asked| !asked.target.contains("/api/v1/")), "by order of change alone");
}

#[tokio::test]
async fn changes_of_one_moment_are_not_lost_between_pages() {
    let mut world = World::with_token("collections = [\"treatments\"]");
    for number in 0..250 {
        // Pages have 100: the first ends in the middle of 60, and then 150 are more than one page.
        let modified = NOW_MS
            + if number < 60 {
                0
            } else if number < 120 {
                1
            } else {
                2
            };
        let _ = world.site.store().write_v3_at(Kind::Treatments, NOW_MS, note(&number.to_string()), modified);
    }
    assert_eq!(world.look().await, 250);
    for _ in 0..250 {
        world.site.store().write_v3_at(Kind::Treatments, NOW_MS, note("x"), NOW_MS + 10_000);
    }
    assert_eq!(world.look().await, 250, "a moment of more than a page");
    assert_eq!(world.look().await, 0);
    world.assert_once();
    assert_eq!(world.rejects, [""; 0]);
}

#[tokio::test]
async fn a_change_that_shows_late_in_the_order_is_not_overlooked() {
    let mut world = World::with_token("api = \"v3\"\ncollections = [\"entries\"]");
    world.site.store().write_v3_at(Kind::Entries, NOW_MS, sgv(100), NOW_MS);
    assert_eq!(world.look().await, 2);
    world.site.store().write_v3_at(Kind::Entries, NOW_MS, sgv(101), NOW_MS - 3_000);
    world.restart();
    assert_eq!(world.look().await, 2);
    assert_eq!(world.look().await, 0);
    world.assert_once();
}

#[tokio::test]
async fn what_apps_write_the_older_way_is_taken_too_and_nothing_twice() {
    let mut world = World::with_token("");
    for step in 0..50 {
        let at = NOW_MS - (50 - step) * 5 * MINUTE_MS;
        world.site.store().write_v1(Kind::Entries, at, sgv(100));
        world.site.store().write_v3(Kind::Entries, at + MINUTE_MS, sgv(101));
        world.site.store().write_v3(Kind::Treatments, at, note("new"));
        world.site.store().write_v1(Kind::Treatments, at, note("old"));
        world.site.store().write_v1(Kind::Devicestatus, at, json!({"device": "loop", "uploader": {"battery": 50}}));
    }
    world.site.store().write_v1(Kind::Profile, NOW_MS - 400 * 1_440 * MINUTE_MS, json!({"store": {}}));
    assert_eq!(world.look().await, 50 * (2 + 2 + 1 + 1 + 1) + 1);
    assert_eq!(world.look().await, 0);
    world.restart();
    assert_eq!(world.look().await, 0);
    world.assert_once();
}

#[tokio::test]
async fn what_has_no_place_in_the_order_is_rejected_once_and_costs_no_other() {
    let mut world = World::with_token("api = \"v3\"\ncollections = [\"entries\"]");
    let page = r#"{"status":200,"result":[
        {"identifier":"a","type":"sgv","sgv":101,"date":1772300000000,"srvModified":1772300000001},
        {"sgv":1,"sgv":2,"srvModified":1772300000002},
        {"identifier":"b","type":"sgv","sgv":102,"date":1772300000000,"srvModified":"soon"},
        {"identifier":"c","type":"sgv","sgv":103,"date":1772300000000,"srvModified":1772300000003}]}"#;
    for _ in 0..2 {
        assert_eq!(world.look().await, 0); // which gets the pass
        world.site.spoil([Fault::Body(page)]);
        world.look().await;
        world.restart();
    }
    assert_eq!(world.values("glucose"), ["101", "103"]);
    let reasons = ["is no object with each field once", "has no `srvModified` that is a time"];
    assert_eq!(world.rejects.len(), 2, "{:?}", world.rejects);
    assert!(world.rejects.iter().zip(reasons).all(|(said, why)| said.contains(why)), "{:?}", world.rejects);
}

#[tokio::test]
async fn a_collection_that_may_not_be_read_costs_no_other() {
    let mut world = World::with_token("api = \"v3\"\ncollections = [\"treatments\", \"entries\"]");
    world.site.store().denied = Some("treatments");
    world.site.store().write_v3(Kind::Entries, NOW_MS, sgv(100));
    assert_eq!(world.try_look().await, Err(Problem::Forbidden("treatments")));
    assert_eq!(world.values("glucose"), ["100"]);
}

#[tokio::test]
async fn a_site_that_tells_less_at_once_is_asked_for_less() {
    let mut world = World::with_token("api = \"v3\"\ncollections = [\"entries\"]");
    world.site.store().limit_max = 50;
    for step in 0..130 {
        world.site.store().write_v3(Kind::Entries, NOW_MS - step * MINUTE_MS, sgv(100));
    }
    assert_eq!(world.look().await, 260);
    world.assert_once();
}

#[tokio::test]
async fn a_deletion_is_told_though_the_site_seemed_older_for_a_moment() {
    let mut world = World::with_token("collections = [\"treatments\"]");
    let id = world.site.store().write_v3(Kind::Treatments, NOW_MS, note("x"));
    assert_eq!(world.look().await, 1);
    world.restart();
    world.site.store().delete(Kind::Treatments, &id);
    // The pass, and then the version: it seems to have none.
    world.site.spoil([Fault::None, Fault::Status(404, None)]);
    assert_eq!(world.look().await, 1);
    assert_eq!(world.counting().len(), 0);
    assert_eq!(world.look().await, 0);
}
