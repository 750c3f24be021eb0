//! Whose clock counts, and what no clock may do.

use std::cell::Cell;

use gateway::store::view::TimeQuality;
use gateway::store::{Item, Outcome};
use proto::message::Settlement;
use proto::{Basis, Clock, Instant, Lane, Quality, Value};

use crate::backend::Backend;
use crate::batches::{BOOT, EPOCH, MINUTE, NOW, batch, batch_of, column, held, hello, meter, synced};

const YEAR: i64 = 365 * 1_440 * MINUTE;

pub(crate) fn the_first_clock_of_a_boot_that_knows_the_time_serves_all_its_batches(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let at_boot = |number, clock| {
        let mut batch = batch_of(number, vec![column(Basis::Boot, [(1_000, Value::Number(number as f64))])]);
        batch.clock = clock;
        Item::Batch(batch)
    };
    let offset = NOW - MINUTE;
    let held = Clock { quality: Quality::Held, ..synced(offset) };
    bed.record([at_boot(1, held), at_boot(2, synced(offset + 77)), at_boot(3, Clock::default())]);
    let mine: Vec<_> = bed.readings().into_iter().map(|kept| (kept.time_us, kept.ordinal, kept.quality)).collect();
    // The third is of another boot (the default one), which never knew the time.
    let unset = (1_000, 0, TimeQuality::Unset);
    let placed = [(offset + 1_000, 0, TimeQuality::Held), (offset + 1_000, 1, TimeQuality::Held)];
    assert_eq!(mine, [&[unset], &placed[..]].concat());
}

pub(crate) fn a_clock_that_is_learned_later_moves_what_was_placed_without_one_and_nothing_else(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let unset = Clock { boot: BOOT, offset_us: 500, quality: Quality::Unset };
    let timeless = |number, readings: [(i64, f64); 2]| {
        let boot = column(Basis::Boot, readings.map(|(time, value)| (time, Value::Number(value))));
        let source = column(Basis::Source, [(NOW - MINUTE, Value::Number(-1.0))]);
        let mut batch = batch_of(number, vec![boot, source]);
        batch.clock = unset;
        Item::Batch(batch)
    };
    bed.record([timeless(1, [(10, 1.0), (20, 2.0)])]);
    bed.record([timeless(2, [(20, 3.0), (30, 4.0)])]);
    assert_eq!(bed.device().last_reading_us, Some(NOW - MINUTE));
    let learned = Item::Clock { device: meter(), clock: synced(NOW - 1_000) };
    assert_eq!(bed.record([learned.clone()]), [Outcome::Recorded]);
    assert_eq!(bed.record([learned]), [Outcome::Known]);
    let kept = bed.readings();
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
    assert_eq!(bed.device().last_reading_us, Some(NOW - 970));
    // What comes next is ranked behind what was moved.
    bed.record([Item::Batch(batch(3, &[(NOW - 970, 9.0)]))]);
    assert_eq!(bed.readings().last().unwrap().ordinal, 1);
}

pub(crate) fn clocks_that_step_by_years_either_way_lose_reorder_and_expire_nothing(backend: &dyn Backend) {
    thread_local!(static CLOCK: Cell<i64> = const { Cell::new(NOW) });
    let stepped = || Instant(CLOCK.get());
    let mut bed = backend.fresh_at(stepped);
    // One reading of each batch on the device's clock, at the tenth second of its boot, and one that its source timed.
    let of = |number: u64, offset_us: i64| {
        let on_boot = column(Basis::Boot, [(10_000_000, Value::Number(1.0))]);
        let by_source = column(Basis::Source, [(NOW - MINUTE, Value::Number(2.0))]);
        let clock =
            Clock { boot: proto::BootId([u8::try_from(number).unwrap(); 8]), offset_us, quality: Quality::Synced };
        let mut batch = batch_of(number, vec![on_boot, by_source]);
        (batch.clock, batch.arrived, batch.lane) = (clock, stepped(), Lane::Live);
        Item::Batch(batch)
    };
    let steps = [0, 40 * YEAR, -50 * YEAR, 3_000 * YEAR, 5 * YEAR];
    let all: Vec<Item> = (1..).zip(steps).map(|(number, step)| of(number, NOW + step)).collect();
    bed.record(all.clone());
    let kept = bed.readings();
    let mut on_boot: Vec<_> = kept.iter().filter(|kept| kept.time_us != NOW - MINUTE).collect();
    on_boot.sort_by_key(|kept| kept.id);
    let seen: Vec<_> = on_boot.iter().map(|kept| (kept.time_us - NOW - 10_000_000, kept.is_future)).collect();
    assert_eq!(seen, steps.map(|step| (step, step > 0)), "each where its clock said, the future ones flagged");
    assert_eq!(kept.len() - on_boot.len(), 5, "what its source timed is where it was");
    // The gateway's own clock goes wrong, years ahead and years back, and every copy comes once more.
    for step in [30 * YEAR, -30 * YEAR, 0] {
        CLOCK.set(NOW + step);
        bed.record([hello([held(EPOCH, &[(1, 5)], 6)])]);
        assert_eq!(bed.record(all.clone()), [Outcome::Known; 5]);
        assert_eq!(bed.readings(), kept, "{step}");
    }
    assert_eq!(bed.settled(), [(1, 5, Settlement::Stored)]);
    assert_eq!(bed.device().last_reading_us, Some(NOW + 10_000_000), "none of the future is the newest");
}
