//! A clock under a wall clock that the test sets.

use std::cell::Cell;

use super::*;

thread_local! {
    static WALL_US: Cell<i64> = const { Cell::new(0) };
}

const YEAR_US: i64 = 365 * 86_400_000_000;
const TODAY_US: i64 = WALL_CLOCK_FLOOR_US + YEAR_US;
/// How long a device without a battery lay in a drawer.
const DRAWER_US: i64 = 90 * 86_400_000_000;

/// A clock on a device whose wall clock shows `wall_us`, with the file that says whether it is disciplined.
fn device(wall_us: i64) -> (BootClock, tempfile::TempDir) {
    WALL_US.set(wall_us);
    let folder = tempfile::tempdir().unwrap();
    let wall = WallClock { now_us: || WALL_US.get(), synchronized_file: folder.path().join("synchronized") };
    (BootClock::with(BootId([1; 8]), wall), folder)
}

/// As if a while had passed, so that the system's clock is looked at again.
fn later(clock: &BootClock) -> Clock {
    clock.known.lock().unwrap().looked_at_us = i64::MIN;
    clock.clock()
}

fn is_about(clock: Clock, wall_us: i64) -> bool {
    (clock.offset_us + since_boot_us() - wall_us).abs() < 60_000_000
}

#[test]
fn a_boot_id_is_the_first_half_of_the_kernels() {
    let kernel = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\n";
    assert_eq!(boot_id(kernel), Some([0x0f, 0x1e, 0x2d, 0x3c, 0x4b, 0x5a, 0x69, 0x78]));
    assert_eq!(boot_id(""), None);
}

#[test]
fn a_device_without_time_learns_it_once_from_a_receipt() {
    let (clock, _folder) = device(0);
    assert_eq!(clock.wall_clock(), None);
    clock.learn(clock.now(), Instant(5));
    assert_eq!(clock.wall_clock(), None, "a gateway that has no time either teaches none");
    clock.learn(clock.now(), Instant(TODAY_US));
    let learned = clock.clock();
    assert!(is_about(learned, TODAY_US));
    clock.learn(clock.now(), Instant(TODAY_US + YEAR_US));
    WALL_US.set(TODAY_US + YEAR_US);
    assert_eq!(later(&clock), learned, "a clock that is known is not moved");
}

#[test]
fn a_wall_clock_that_is_set_while_the_agent_runs_is_noticed() {
    let (clock, folder) = device(3_600_000_000);
    assert_eq!(clock.clock().quality, Quality::Unset);
    WALL_US.set(TODAY_US);
    let held = later(&clock);
    assert_eq!(held.quality, Quality::Held);
    assert!(is_about(held, TODAY_US));
    // Not told to anybody yet: a disciplined clock is better in both respects.
    WALL_US.set(TODAY_US + 300_000_000);
    std::fs::write(folder.path().join("synchronized"), "").unwrap();
    let synced = later(&clock);
    assert_eq!(synced.quality, Quality::Synced);
    assert!(is_about(synced, TODAY_US + 300_000_000));
}

#[test]
fn an_offset_that_was_told_stays_whatever_the_wall_clock_does_and_only_its_quality_rises() {
    let (clock, folder) = device(TODAY_US);
    let told = clock.for_sending();
    assert_eq!(told.quality, Quality::Held);
    for step in [-10 * YEAR_US, 10 * YEAR_US, -100 * YEAR_US] {
        WALL_US.set(TODAY_US + step);
        assert_eq!(later(&clock), told, "{step}");
    }
    WALL_US.set(TODAY_US + 300_000_000);
    std::fs::write(folder.path().join("synchronized"), "").unwrap();
    assert_eq!(later(&clock), told, "it is off by minutes: no disciplined clock");
    WALL_US.set(TODAY_US);
    assert_eq!(later(&clock), Clock { quality: Quality::Synced, ..told });
}

#[test]
fn the_answer_to_the_first_hello_puts_a_held_clock_right_before_anything_is_told() {
    // Also one that an earlier start of this boot held.
    for resumed in [false, true] {
        let (clock, _folder) = device(TODAY_US - DRAWER_US);
        let held = clock.clock();
        assert_eq!(held.quality, Quality::Held);
        if resumed {
            clock.resume(held);
        }
        clock.learn(clock.now(), Instant(TODAY_US));
        let told = clock.for_sending();
        assert!(is_about(told, TODAY_US) && told.quality == Quality::Synced, "{told:?}");
        clock.learn(clock.now(), Instant(TODAY_US + YEAR_US));
        assert_eq!(later(&clock), told, "what was told stays");
    }
}

#[test]
fn a_held_clock_that_was_told_or_is_disciplined_by_now_is_not_moved_by_an_answer() {
    let (clock, _folder) = device(TODAY_US);
    let told = clock.for_sending();
    clock.learn(clock.now(), Instant(TODAY_US + YEAR_US));
    assert_eq!(clock.clock(), told);
    let (disciplined, folder) = device(TODAY_US);
    std::fs::write(folder.path().join("synchronized"), "").unwrap();
    let own = later(&disciplined);
    assert_eq!(own.quality, Quality::Synced);
    disciplined.learn(disciplined.now(), Instant(TODAY_US + YEAR_US));
    assert_eq!(disciplined.clock(), own);
}

#[test]
fn what_the_way_of_an_answer_allows_for_is_not_moved() {
    let (clock, _folder) = device(TODAY_US);
    let held = clock.clock();
    let asked_a_minute_ago = Instant(clock.now().0 - 60_000_000);
    for way_us in [500_000, -30_000_000, -59_000_000] {
        clock.learn(asked_a_minute_ago, Instant(TODAY_US + way_us));
        assert_eq!(clock.clock(), held, "{way_us}");
    }
    clock.learn(asked_a_minute_ago, Instant(TODAY_US - 70_000_000));
    assert_ne!(clock.clock(), held);
}

#[test]
fn a_restart_in_the_same_boot_goes_on_with_what_was_known() {
    let (clock, _folder) = device(0);
    let kept = Clock { boot: BootId([1; 8]), offset_us: 77, quality: Quality::Synced };
    clock.resume(Clock { boot: BootId([2; 8]), ..kept });
    assert_eq!(clock.clock().quality, Quality::Unset, "that was another boot");
    clock.resume(kept);
    WALL_US.set(TODAY_US);
    assert_eq!(later(&clock), kept);
}

#[test]
fn readings_that_went_out_without_a_time_are_owed_one() {
    let (clock, _folder) = device(0);
    assert_eq!(clock.for_sending().quality, Quality::Unset);
    assert_eq!(clock.owed(), None, "there is none yet");
    clock.learn(clock.now(), Instant(TODAY_US));
    assert_eq!(clock.owed(), Some(clock.clock()));
    let (punctual, _folder) = device(TODAY_US);
    let _ = punctual.for_sending();
    assert_eq!(punctual.owed(), None);
}
