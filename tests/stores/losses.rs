//! What follows from what devices say they hold: what is lost, and what came after all.

use gateway::store::view::LedgerCounts;
use gateway::store::{Item, Outcome};
use proto::Epoch;
use proto::message::{GapReason, Settlement};

use crate::backend::Backend;
use crate::batches::{alarm, gone, held, hello, meter, of, part, unexplained};
use crate::bed::Bed;

/// Epochs in the order in which agents began them.
const A: Epoch = Epoch([1; 8]);
const B: Epoch = Epoch([2; 8]);

pub(crate) fn what_was_given_away_and_is_nowhere_becomes_an_unexplained_gap_with_the_hello_that_shows_it(
    backend: &dyn Backend,
) {
    let mut bed = backend.fresh();
    bed.record(of(A, [1, 4]));
    bed.record([gone(A, (5, 5), GapReason::Evicted), hello([held(A, &[(3, 4)], 8)])]);
    assert_eq!(bed.gaps(), [unexplained(2, 2), ("evicted".into(), 5, 5), unexplained(6, 7)]);
    assert_eq!(bed.alarms(), [alarm("unexplained_gap", 1)]);
    let counts = LedgerCounts { stored: 2, waiting: 1, lost: 4, ..LedgerCounts::default() };
    assert_eq!((bed.ledger().totals, bed.ledger().epochs[0].counts), (counts, counts));
    bed.record([hello([held(A, &[(3, 4)], 8)])]);
    assert_eq!(bed.alarms(), [alarm("unexplained_gap", 1)], "said again, it is nothing new");
}

pub(crate) fn what_comes_after_all_ends_its_gap_and_counts_as_repaired(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record([hello([held(A, &[], 6)])]);
    assert_eq!(bed.record(of(A, [3])), [Outcome::Recorded]);
    assert_eq!(bed.gaps(), [unexplained(1, 2), unexplained(4, 5)]);
    bed.record(of(A, [3, 4]));
    let counts = LedgerCounts { stored: 2, repaired: 2, lost: 3, ..LedgerCounts::default() };
    assert_eq!(bed.ledger().epochs[0].counts, counts);
    assert_eq!(bed.ledger().totals, counts);
}

pub(crate) fn a_reason_that_is_told_later_takes_the_place_of_none(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record([hello([held(A, &[], 6)])]);
    assert_eq!(bed.record([gone(A, (2, 3), GapReason::Damaged)]), [Outcome::Recorded]);
    assert_eq!(bed.record([gone(A, (2, 3), GapReason::Damaged)]), [Outcome::Known]);
    assert_eq!(bed.gaps(), [unexplained(1, 1), ("damaged".into(), 2, 3), unexplained(4, 5)]);
}

pub(crate) fn part_of_a_hello_concludes_nothing_about_epochs_that_it_does_not_name(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record([hello([held(A, &[(1, 4)], 5)])]);
    bed.record([part([held(B, &[(2, 2)], 3)])]);
    assert_eq!(bed.gaps(), [unexplained(1, 1)], "of B, which it names");
    assert_eq!(bed.ledger().totals.waiting, 5);
    bed.record([part([held(A, &[(1, 4)], 5)]), part([held(B, &[(2, 2)], 3)])]);
    assert_eq!(bed.alarms(), [alarm("unexplained_gap", 1)]);
}

pub(crate) fn losses_between_ranges_that_a_full_hello_had_to_join_stay_losses(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let lost = |number| gone(A, (number, number), GapReason::Evicted);
    bed.record([2, 4, 6].map(lost));
    let joined = [(1, 7)].into_iter().chain((0..63).map(|place| (9 + 2 * place, 9 + 2 * place)));
    let ranges: Vec<(u64, u64)> = joined.collect();
    bed.record([hello([held(A, &ranges, 134)])]);
    // The even ones from 8 to 132 are nowhere; the odd ones are held.
    let even: Vec<_> = (1..=66).map(|place| (2 * place, 2 * place, Settlement::Gap)).collect();
    assert_eq!(bed.told(A), even);
    let counts = LedgerCounts { waiting: 67, lost: 66, ..LedgerCounts::default() };
    assert_eq!(bed.ledger().totals, counts);
    // What the agent did hold comes all the same.
    bed.record(of(A, [4]));
    let counts = LedgerCounts { stored: 1, waiting: 67, lost: 65, repaired: 1, ..counts };
    assert_eq!(bed.ledger().totals, counts);
    // With fewer ranges nothing was joined: it means what it says.
    bed.record([hello([held(A, &ranges[..63], 134)])]);
    assert_eq!(bed.told(A)[..2], [(4, 4, Settlement::Stored), (8, 8, Settlement::Gap)]);
}

pub(crate) fn ten_thousand_gaps_become_fewer_and_still_count_each_number_once(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let every_other = |places: std::ops::RangeInclusive<u64>| {
        let gap = |place| match gone(A, (2 * place, 2 * place), GapReason::Evicted) {
            Item::Gaps { gaps, .. } => gaps[0].clone(),
            other => panic!("{other:?}"),
        };
        Item::Gaps { device: meter(), gaps: places.map(gap).collect() }
    };
    bed.record([every_other(1..=10_000)]);
    assert_eq!(bed.alarms(), []);
    let of_reason =
        |bed: &Bed| bed.ledger().lost.into_iter().map(|lost| (lost.gaps, lost.numbers, lost.readings)).next();
    assert_eq!(of_reason(&bed), Some((10_000, 10_000, 70_000)));
    bed.record([every_other(10_001..=10_010)]);
    let (rows, numbers, readings) = of_reason(&bed).unwrap();
    assert!(rows < 9_100 && (numbers, readings) == (10_010, 70_070), "{rows} {numbers} {readings}");
    // One of those that became one comes after all, and one that did not.
    bed.record(of(A, [4, 20_020]));
    let counts = bed.ledger().totals;
    assert_eq!((counts.stored, counts.repaired, counts.lost), (2, 2, 10_008));
    assert_eq!(of_reason(&bed).unwrap().1, 10_008);
    assert_eq!(bed.told(A)[0], (2, 2, Settlement::Gap), "number by number, nothing has changed");
}
