//! What ends the growth of the ledger.

use std::cell::Cell;

use gateway::store::{Batch, Item, Outcome, Pack, Quarantine};
use proto::message::{Refusal, Settlement};
use proto::{BodyHash, Channel, Instant};

use crate::backend::Backend;
use crate::batches::{EPOCH, MINUTE, NOW, all_series, batch, batch_of_series, gap, gaps, held, hello, meter, range};

const DAY: i64 = 1_440 * MINUTE;

pub(crate) fn batch_rows_of_a_device_that_never_says_hello_go_with_the_hello_of_another(backend: &dyn Backend) {
    thread_local!(static DAYS: Cell<i64> = const { Cell::new(0) });
    let later = || Instant(NOW + DAYS.get() * DAY);
    let mut bed = backend.fresh_at(later);
    let silent = |number| {
        let arrived = Instant(later().0);
        Item::Batch(Batch { device: "silent".parse().unwrap(), arrived, ..batch(number, &[(NOW, 1.0)]) })
    };
    bed.record([silent(1)]);
    for (day, rows) in [(80, 2), (91, 1)] {
        DAYS.set(day);
        if day == 80 {
            bed.record([silent(2)]);
        }
        bed.record([hello([])]);
        assert_eq!(bed.beside().count("batch"), rows, "after {day} days");
    }
    assert_eq!(bed.record([silent(1)]), [Outcome::Known], "the ranges know it all the same");
    let plan = bed.beside().plan("select epoch, number from batch where arrived_us < 1 order by arrived_us limit 1");
    assert!(plan.contains("batch_arrived"), "{plan}");
}

pub(crate) fn batch_rows_that_a_device_needs_no_more_go_a_few_with_each_hello(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let holds = |range| hello([held(EPOCH, &[range], 25_001)]);
    bed.record([holds((1, 25_000))]);
    let db = bed.beside();
    db.run(&format!(
        "with recursive place (n) as (select 1 union all select n + 1 from place where n < 25000)
         insert into batch (tenant, epoch, number, hash, lane, arrived_us, readings)
         select 1, (select id from epoch), n, {}, 0, {NOW}, 1 from place",
        db.bytes("00")
    ));
    for left in [15_000, 5_000, 100, 100] {
        // However often one commit brings it.
        bed.record([holds((12_001, 12_100)), holds((12_001, 12_100))]);
        assert_eq!(db.count("batch"), left);
    }
    assert_eq!(db.count("batch where number between 12001 and 12100"), 100, "what it holds it may send again");
}

pub(crate) fn epochs_beyond_the_bound_are_forgotten_when_nobody_can_have_their_batches(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record([hello([])]);
    // Closed long ago, in the middle of which a number was lost; the newest 5 were heard yesterday.
    let db = bed.beside();
    db.run(&format!(
        "with recursive place (n) as (select 1 union all select n + 1 from place where n < 20050)
         insert into epoch (tenant, device, epoch, first_arrival_us, last_arrival_us, next)
         select 1, (select id from device), {}, 0, case when n > 20045 then {} else 1 end, 4 from place",
        db.digits("n"),
        NOW - DAY
    ));
    for (state, number) in [(0, 1), (2, 2), (0, 3)] {
        db.run(&format!(
            "insert into settled (tenant, epoch, state, first, last)
             select 1, id, {state}, {number}, {number} from epoch"
        ));
    }
    db.run(
        "insert into gap (tenant, device, epoch, first, last, readings, reason)
         select 1, device, id, 2, 2, 7, 'evicted' from epoch",
    );
    let lost_before: i64 = bed.ledger().lost.iter().map(|lost| lost.numbers).sum();
    assert_eq!((db.count("epoch"), lost_before), (20_050, 20_050));
    bed.record([hello([])]);
    assert_eq!(db.count("epoch"), 20_000);
    assert_eq!(db.count("settled"), 60_000);
    assert_eq!(db.count(&format!("epoch where epoch = {}", db.digits("50"))), 0);
    assert_eq!(db.count(&format!("epoch where epoch = {}", db.digits("51"))), 1);
    let lost = &bed.ledger().lost;
    assert_eq!(lost.iter().map(|lost| (lost.numbers, lost.readings)).collect::<Vec<_>>(), [(20_050, 140_350)]);
    assert_eq!(db.count("device where epochs_forgotten = 50"), 1);
}

pub(crate) fn a_conflict_that_quarantine_has_no_room_for_is_said_to_be_one_that_was_not_kept(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record((1..=1_000).map(aside));
    bed.record([Item::Batch(batch(2_000, &[(NOW, 1.0)]))]);
    let second = Item::Batch(batch(2_000, &[(NOW, 2.0)]));
    assert_eq!(bed.record([second]), [Outcome::Refused(Refusal::Conflict)]);
    let kinds: Vec<_> = bed.alarms().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["conflict", "conflict_not_kept", "quarantine_full"]);
}

pub(crate) fn a_device_at_its_series_has_what_names_another_kept_aside_however_often_it_comes(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record(all_series());
    let one_more = batch_of_series(5, 4_096..4_097);
    let batch = Item::Batch(one_more.clone());
    assert_eq!(bed.record([batch.clone()]), [Outcome::Recorded]);
    // Its receipt was lost. What its device holds no more must be here.
    assert_eq!(bed.record([batch]), [Outcome::Known]);
    let aside = "quarantine where channel = 'batch' and size_bytes > 0";
    assert_eq!(
        (bed.settled(), bed.beside().count(aside)),
        (vec![(1, 4, Settlement::Stored), (5, 5, Settlement::Quarantined)], 1)
    );
    let pack = Item::Pack(Pack {
        device: meter(),
        hash: BodyHash([1; 16]),
        absolute: true,
        packet_id: None,
        resent: false,
        arrived: Instant(NOW),
        columns: one_more.columns,
        payload: b"one too many".as_slice().into(),
    });
    assert_eq!(bed.record([pack.clone()]), [Outcome::Recorded], "refused, it would come first for ever");
    assert_eq!(bed.record([pack]), [Outcome::Known]);
    assert_eq!(bed.beside().count("quarantine where channel = 'senml'"), 1);
}

pub(crate) fn a_gap_stays_while_what_came_for_it_has_no_room_anywhere(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record(all_series());
    bed.record([gaps([gap(Some(range(7, 7)), None, None)])]);
    bed.record((1_000..2_000).map(aside));
    let late = Item::Batch(batch_of_series(7, 4_096..4_097));
    assert_eq!(bed.record([late]), [Outcome::Refused(Refusal::QuarantineFull)]);
    assert_eq!(bed.gaps(), [("evicted".to_owned(), 7, 7)]);
}

pub(crate) fn gaps_of_more_readings_than_can_be_counted_are_taken_in(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record([hello([])]);
    let db = bed.beside();
    // As many as there may be, each of an epoch of its own, and what others have become already.
    db.run(&format!(
        "with recursive place (n) as (select 1 union all select n + 1 from place where n < 10000)
         insert into epoch (tenant, device, epoch, first_arrival_us, last_arrival_us, next)
         select 1, (select id from device), {}, 0, {NOW}, 4 from place",
        db.digits("n")
    ));
    db.run(
        "insert into gap (tenant, device, epoch, first, last, readings, reason)
         select 1, device, id, 2, 2, 9223372036854775807, 'evicted' from epoch",
    );
    db.run(
        "insert into gap (tenant, device, numbers, readings, reason)
         select 1, id, 9223372036854775807, 9223372036854775807, 'evicted' from device",
    );
    bed.record([gaps([gap(Some(range(7, 7)), None, None)])]);
    assert_eq!(db.count("gap where epoch is null"), 1);
    assert!(bed.ledger().lost.iter().all(|lost| lost.reason == "evicted"));
}

/// A body that could not be read, under this number.
fn aside(number: u64) -> Item {
    let bytes = number.to_be_bytes().to_vec();
    let identity = Some((EPOCH, number, BodyHash::of(&bytes)));
    let (channel, reason, arrived) = (Channel::Batch, "cut".into(), Instant(NOW));
    Item::Quarantine(Quarantine { device: meter(), channel, identity, arrived, reason, bytes: bytes.into() })
}
