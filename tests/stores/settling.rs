//! How numbers end: stored, quarantined, or in a gap.

use std::collections::BTreeSet;

use gateway::store::{Item, Outcome, Quarantine};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use proto::message::{Refusal, Settlement};

use crate::backend::Backend;
use crate::batches::{EPOCH, NOW, batch, gap, gaps, held, part, range, unreadable};

pub(crate) fn an_unreadable_batch_is_settled_as_quarantined_and_moves_when_it_can_be_read(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let good = batch(1, &[(NOW, 98.0)]);
    let aside = unreadable(1, &good.body);
    assert_eq!(bed.record([Item::Quarantine(aside.clone())]), [Outcome::Recorded]);
    assert_eq!(bed.record([Item::Quarantine(aside)]), [Outcome::Known]);
    assert_eq!(bed.settled(), [(1, 1, Settlement::Quarantined)]);
    let shown = bed.ask(|view| view.quarantined(Some("meter-7")));
    assert_eq!((&*shown[0].topic, shown[0].number), ("trib/1/meter-7/batch", Some(1)));

    assert_eq!(bed.record([Item::Batch(good)]), [Outcome::Recorded]);
    assert_eq!(bed.settled(), [(1, 1, Settlement::Stored)]);
    assert!(bed.ask(|view| view.quarantined(None)).is_empty());
    assert_eq!(bed.numbers(), [(NOW, 98.0)]);
}

pub(crate) fn quarantine_has_a_quota_beyond_which_a_batch_is_refused_and_not_settled(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    let items = (1..=1_001).map(|number| Item::Quarantine(unreadable(number, &number.to_be_bytes())));
    let outcomes = bed.record(items);
    assert!(outcomes[..1_000].iter().all(|outcome| *outcome == Outcome::Recorded));
    assert_eq!(outcomes[1_000], Outcome::Refused(Refusal::QuarantineFull));
    assert_eq!(bed.settled(), [(1, 1_000, Settlement::Quarantined)]);

    let mut bed = backend.fresh();
    let mebibytes = (1..=17).map(|number: u8| {
        let bytes = vec![number; 1 << 20];
        Item::Quarantine(Quarantine { identity: None, ..unreadable(0, &bytes) })
    });
    let outcomes = bed.record(mebibytes);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Recorded).count(), 16);
}

pub(crate) fn a_gap_settles_what_is_open_and_gives_way_to_what_comes_after_all(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record([Item::Batch(batch(5, &[(NOW, 1.0)]))]);
    assert_eq!(bed.record([gaps([gap(Some(range(1, 4)), None, None)])]), [Outcome::Recorded]);
    assert_eq!(bed.record([gaps([gap(Some(range(2, 5)), None, None)])]), [Outcome::Known]);
    bed.record([gaps([gap(Some(range(5, 8)), None, None)])]);
    let gap_and_stored = [(1, 4, Settlement::Gap), (5, 5, Settlement::Stored), (6, 8, Settlement::Gap)];
    assert_eq!(bed.settled(), gap_and_stored);

    assert_eq!(bed.record([Item::Batch(batch(2, &[(NOW, 2.0)]))]), [Outcome::Recorded]);
    let ledger = bed.ledger();
    let mut left: Vec<_> = ledger.gaps.iter().map(|gap| (gap.first, gap.last, gap.count)).collect();
    left.sort_unstable();
    assert_eq!(left, [(Some(1), Some(1), None), (Some(3), Some(4), None), (Some(6), Some(8), None)]);
    assert_eq!(bed.settled()[1], (2, 2, Settlement::Stored));
}

pub(crate) fn neighbouring_gaps_are_one_and_a_repeated_one_counts_once(backend: &dyn Backend) {
    let mut bed = backend.fresh();
    bed.record([gaps([gap(Some(range(1, 2)), Some(10), Some(20))])]);
    bed.record([gaps([gap(Some(range(3, 4)), Some(20), Some(30))])]);
    let spans = [gap(None, Some(100), Some(200)), gap(None, Some(200), Some(300)), gap(None, Some(120), Some(180))];
    assert_eq!(bed.record([gaps(spans.clone())]), [Outcome::Recorded]);
    assert_eq!(bed.record([gaps(spans)]), [Outcome::Known]);
    let ledger = bed.ledger();
    let seen: Vec<_> = ledger.gaps.iter().map(|gap| (gap.first, gap.last, gap.from_us, gap.to_us, gap.count)).collect();
    assert_eq!(seen, [(None, None, Some(100), Some(300), Some(10)), (Some(1), Some(4), Some(10), Some(30), Some(10))]);
}

pub(crate) fn ranges_merge_in_any_order_in_memory_and_on_the_disk(backend: &dyn Backend) {
    let steps = prop::collection::vec((0_u8..3, 1_u64..40, 0_u64..4), 1..30);
    let cases = Config { cases: backend.cases(), failure_persistence: None, ..Config::default() };
    let held = TestRunner::new(cases).run(&(steps, 1_usize..6), |(steps, at_once)| {
        let mut bed = backend.fresh();
        for some in steps.chunks(at_once) {
            bed.record(some.iter().flat_map(|&(what, first, more)| items(what, first, first + more)));
        }
        prop_assert_eq!(bed.settled(), model_of(&steps));
        let settled = bed.settled();
        let stored = settled.iter().filter(|(.., state)| *state == Settlement::Stored);
        let stored: u64 = stored.map(|(first, last, _)| last - first + 1).sum();
        prop_assert_eq!(bed.readings().len() as u64, stored);
        bed.reopen();
        prop_assert_eq!(bed.settled(), model_of(&steps));
        Ok(())
    });
    held.unwrap_or_else(|why| panic!("{why}"));
}

/// Batches (0), unreadable batches (1), or a gap. Every copy of a number has the same bytes, whether they can be read or
/// not.
fn items(what: u8, first: u64, last: u64) -> Vec<Item> {
    let same = |number: u64| batch(number, &[(NOW, f64::from(u32::try_from(number).unwrap()))]);
    match what {
        0 => (first..=last).map(|number| Item::Batch(same(number))).collect(),
        1 => (first..=last).map(|number| Item::Quarantine(unreadable(number, &same(number).body))).collect(),
        _ => vec![gaps([gap(Some(range(first, last)), None, None)])],
    }
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

pub(crate) fn what_is_settled_here_and_there_is_in_the_database_and_told_as_a_plain_map_has_it(backend: &dyn Backend) {
    let steps = prop::collection::vec((any::<bool>(), 1_u64..60, 0_u64..5), 1..40);
    let cases = Config { cases: backend.cases(), failure_persistence: None, ..Config::default() };
    let held = TestRunner::new(cases).run(&(steps, (0_u64..66, 0_u64..9)), |(steps, around)| {
        let (mut bed, mut stored) = (backend.fresh(), BTreeSet::new());
        for (is_batch, first, more) in steps {
            bed.record(items(if is_batch { 0 } else { 2 }, first, first + more));
            stored.extend((first..=first + more).filter(|_| is_batch));
        }
        // Of 20 and of 40 to 42 the device says in the end that it has the only copies; the rest is nowhere.
        bed.record([part([held(EPOCH, &[(20, 20), (40, 42)], 80)])]);
        let is_told = |number: &u64| stored.contains(number) || !(*number == 20 || (40..=42).contains(number));
        let state = |number| if stored.contains(&number) { Settlement::Stored } else { Settlement::Gap };
        let plain: Vec<_> = (1..80).filter(is_told).map(|number| (number, state(number))).collect();
        let all = bed.settled();
        let each = all.iter().flat_map(|&(first, last, state)| (first..=last).map(move |number| (number, state)));
        prop_assert_eq!(each.collect::<Vec<_>>(), plain);
        let around = range(around.0, around.0 + around.1);
        let whole = all.iter().map(|&(first, last, state)| (range(first, last), state));
        let near: Vec<_> = whole.filter(|(range, _)| range.intersect(around).is_some()).collect();
        prop_assert_eq!(bed.settled_around(around), near);
        bed.reopen();
        prop_assert_eq!(bed.settled(), all, "as the database has it");
        Ok(())
    });
    held.unwrap_or_else(|why| panic!("{why}"));
}
