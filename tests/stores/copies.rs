//! Buffers that were copied, agents that run twice, and databases that were put back.

use std::cell::Cell;

use gateway::store::Item;
use gateway::store::view::LedgerCounts;
use proto::message::{GapReason, Held, Settlement};
use proto::{Epoch, Instant};

use crate::backend::Backend;
use crate::batches::{NOW, alarm, gone, held, hello, meter, of, part, range, unexplained};

/// Epochs in the order in which agents began them.
const A: Epoch = Epoch([1; 8]);
const B: Epoch = Epoch([2; 8]);
const C: Epoch = Epoch([3; 8]);

pub(crate) fn an_epoch_that_a_whole_hello_names_no_more_and_that_no_later_one_hides_is_lost(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record([hello([held(A, &[(1, 4)], 5)])]);
    bed.record(of(A, [2]));
    bed.record([hello([held(B, &[(1, 1)], 2)])]);
    assert_eq!(bed.gaps(), [unexplained(1, 1), unexplained(3, 4)]);
    assert_eq!(bed.alarms(), [alarm("unexplained_gap", 1)], "a new buffer is no copy");
}

pub(crate) fn the_only_copy_of_what_a_gap_names_is_never_called_settled(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record([gone(A, (1, 3), GapReason::Evicted)]);
    assert_eq!(bed.told(A), [(1, 3, Settlement::Gap)]);
    // Another agent of the same disk image still has one of them.
    bed.record([hello([held(A, &[(2, 2)], 4)])]);
    assert_eq!(bed.told(A), [(1, 1, Settlement::Gap), (3, 3, Settlement::Gap)]);
    let counts = bed.ledger().totals;
    assert_eq!((counts.lost, counts.waiting), (2, 1));
    // The one that evicted them says so again: what it says is what it holds.
    bed.record([gone(A, (1, 3), GapReason::Evicted)]);
    assert_eq!(bed.told(A), [(1, 3, Settlement::Gap)]);
    bed.record([hello([held(A, &[(2, 2)], 4)])]);
    bed.record(of(A, [2]));
    assert_eq!(bed.told(A)[1], (2, 2, Settlement::Stored));
    assert_eq!(bed.ledger().totals.repaired, 1);
}

pub(crate) fn a_next_number_that_went_back_is_a_copied_buffer_and_makes_nothing_lost(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record(of(A, 1..=2));
    bed.record([hello([held(A, &[(1, 9)], 10)])]);
    bed.record([hello([held(A, &[(1, 4)], 5)])]);
    bed.record([hello([held(A, &[(1, 4)], 5), held(B, &[(1, 1)], 2)])]);
    assert_eq!(bed.alarms(), [alarm("buffer_copied", 1)], "once, however often it says so");
    assert!(bed.ledger().epochs.iter().any(|epoch| epoch.is_astray));
    assert_eq!((bed.gaps(), bed.ledger().totals.waiting), (vec![], 8), "3 to 9 of A, 1 of B");
    assert!(bed.told(A).iter().all(|(.., state)| *state == Settlement::Stored));
}

pub(crate) fn two_agents_of_one_disk_image_lose_nothing_and_are_noticed(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let image = || held(A, &[(1, 3)], 4);
    let (one, other) = (
        |last| hello([image(), held(B, &[(1, last)], last + 1)]),
        |last| hello([image(), held(C, &[(1, last)], last + 1)]),
    );
    bed.record([hello([image()]), one(2)]);
    assert_eq!(bed.alarms(), [], "one agent and its restart");
    for round in 2..6 {
        bed.record([other(round), one(round)]);
        bed.reopen();
    }
    assert_eq!(bed.gaps(), [], "what the one does not hold, the other does");
    let raised = bed.alarms();
    assert!(raised.len() == 1 && raised[0].0 == "buffer_copied", "{raised:?}");
    for (epoch, last) in [(A, 3), (B, 5), (C, 5)] {
        assert_eq!(bed.told(epoch), [], "{epoch:?} is still to come");
        bed.record(of(epoch, 1..=last));
    }
    let counts = bed.ledger().totals;
    assert_eq!((counts.stored, counts.lost, counts.repaired), (13, 0, 0));
}

pub(crate) fn an_older_buffer_copied_back_is_noticed_even_if_all_had_arrived(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record(of(A, 1..=3).into_iter().chain(of(B, 1..=3)));
    bed.record([hello([held(A, &[(1, 3)], 4)]), hello([held(A, &[(1, 3)], 4), held(B, &[(1, 3)], 4)])]);
    assert_eq!(bed.alarms(), []);
    bed.record([hello([held(A, &[(1, 3)], 4), held(C, &[(1, 1)], 2)])]);
    assert_eq!(bed.alarms(), [alarm("buffer_copied", 1)]);
    assert_eq!(bed.gaps(), []);
}

pub(crate) fn an_epoch_that_began_under_a_connection_is_later_than_those_its_hello_named(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record(of(A, 1..=3).into_iter().chain(of(B, 1..=3)));
    bed.record([hello([held(A, &[(1, 3)], 4)]), part([held(B, &[(1, 3)], 4)])]);
    bed.record([hello([held(A, &[(1, 3)], 4)])]);
    assert_eq!(bed.alarms(), [alarm("buffer_copied", 1)]);
    let mut bed = backend.fresh();
    bed.record([part([held(B, &[(1, 3)], 4)]), part([held(A, &[(1, 3)], 4)])]);
    bed.record(of(A, 1..=3).into_iter().chain(of(B, 1..=3)));
    bed.record([hello([held(B, &[(1, 3)], 4)])]);
    assert_eq!(bed.alarms(), [], "parts may come in any order");
}

pub(crate) fn what_a_copy_held_that_is_never_heard_of_again_is_lost_in_the_end(backend: &dyn Backend) {
    thread_local!(static DAYS: Cell<i64> = const { Cell::new(0) });
    let later = || Instant(NOW + DAYS.get() * 86_400_000_000);
    let mut bed = backend.fresh_at(later);
    let both = || hello([held(A, &[(1, 1)], 2), held(B, &[(1, 2)], 3)]);
    bed.record([hello([held(A, &[(1, 1)], 2)]), both()]);
    for (day, gaps_then) in [(1, 0), (89, 0), (91, 1)] {
        DAYS.set(day);
        bed.record([hello([held(A, &[(1, 1)], 2)])]);
        assert_eq!(bed.gaps().len(), gaps_then, "after {day} days");
    }
    assert_eq!(bed.alarms(), [alarm("buffer_copied", 1), alarm("unexplained_gap", 1)]);
}

pub(crate) fn a_healthy_agent_that_starts_again_and_again_raises_nothing(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let epoch = |place: u8| Epoch([place + 10; 8]);
    let all = |held| Item::Held { device: meter(), held };
    for newest in 0..100_u8 {
        // What was settled leaves from the oldest on; the newest batch never does.
        let oldest = newest.saturating_sub(newest % 7);
        let named: Vec<Held> = (oldest..=newest).map(|place| held(epoch(place), &[(2, 3)], 4)).collect();
        bed.record([all(named.iter().map(|held| Held { ranges: vec![range(1, 3)], ..held.clone() }).collect())]);
        bed.record(of(epoch(newest), 1..=3));
        bed.record([all(named)]);
    }
    assert_eq!((bed.alarms(), bed.gaps()), (vec![], vec![]));
    assert_eq!(bed.ledger().totals.stored, 300);
}

pub(crate) fn a_ledger_restored_from_an_older_copy_gets_again_what_agents_hold_and_names_the_rest(
    backend: &dyn Backend,
) {
    let mut bed = backend.fresh();
    bed.record(of(A, 1..=4));
    bed.record([hello([held(A, &[(1, 4)], 5)])]);
    bed.back_up();
    bed.record(of(A, 5..=9));
    bed.restore();
    // The agent let go of 1 to 6 on the word of the gateway that was lost.
    bed.record([hello([held(A, &[(7, 9)], 10)])]);
    assert_eq!(bed.told(A), [(1, 4, Settlement::Stored), (5, 6, Settlement::Gap)], "so 7 to 9 are sent again");
    assert_eq!(bed.alarms(), [alarm("unexplained_gap", 1)]);
    bed.record(of(A, 7..=9));
    assert_eq!(bed.ledger().totals, LedgerCounts { stored: 7, lost: 2, ..LedgerCounts::default() });
}
