//! What follows from what devices say they hold: what is lost, what came after all, and that a buffer was copied.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test that fails says so")]

use std::time::{Duration, Instant as Moment};

use proto::message::{Gap, GapReason, Held, Settlement};
use proto::{Epoch, Range};
use tempfile::TempDir;
use tributary_gateway::store::Ledger as _;
use tributary_gateway::store::sqlite::Store;
use tributary_gateway::store::view::{Ledger, LedgerCounts};
use tributary_gateway::store::{Item, Outcome, SettledRanges};

#[path = "support/batches.rs"]
#[allow(dead_code, reason = "others use the rest")]
mod batches;
use batches::{NOW, batch, meter, open, record};

/// Epochs in the order in which agents began them.
const A: Epoch = Epoch([1; 8]);
const B: Epoch = Epoch([2; 8]);
const C: Epoch = Epoch([3; 8]);

fn fresh() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    (folder, store)
}

fn of(epoch: Epoch, numbers: impl IntoIterator<Item = u64>) -> Vec<Item> {
    let numbered = |number| {
        let value = f64::from(u32::try_from(number).unwrap()) + f64::from(epoch.0[0]);
        Item::Batch(tributary_gateway::store::Batch { epoch, ..batch(number, &[(NOW, value)]) })
    };
    numbers.into_iter().map(numbered).collect()
}

fn held(epoch: Epoch, ranges: &[(u64, u64)], next: u64) -> Held {
    Held { epoch, ranges: ranges.iter().map(|&(first, last)| range(first, last)).collect(), next }
}

fn hello<const N: usize>(held: [Held; N]) -> Item {
    Item::Held { device: meter(), held: held.into() }
}

fn part<const N: usize>(held: [Held; N]) -> Item {
    Item::HeldPart { device: meter(), held: held.into() }
}

fn gone(epoch: Epoch, (first, last): (u64, u64), reason: GapReason) -> Item {
    let (epoch, range) = (Some(epoch), Some(range(first, last)));
    let gap = Gap { epoch, range, source: None, from: None, until: None, boot: None, count: Some(7), reason };
    Item::Gaps { device: meter(), gaps: vec![gap] }
}

fn range(first: u64, last: u64) -> Range {
    Range::new(first, last).unwrap()
}

/// What a receipt would say.
fn told(store: &mut Store, epoch: Epoch) -> Vec<(u64, u64, Settlement)> {
    let SettledRanges(ranges) = store.writer.settled(&meter(), epoch).unwrap();
    ranges.into_iter().map(|(range, state)| (range.first, range.last, state)).collect()
}

fn ledger(store: &Store) -> Ledger {
    let deadline = Moment::now() + Duration::from_secs(10);
    store.reader.view(deadline, |view| view.ledger("meter-7")).unwrap().unwrap()
}

fn alarms(store: &Store) -> Vec<(String, i64)> {
    let mut raised: Vec<_> = ledger(store).alarms.into_iter().map(|alarm| (alarm.kind, alarm.count)).collect();
    raised.sort();
    raised
}

/// Reason and numbers of each gap, ascending.
fn gaps(store: &Store) -> Vec<(String, u64, u64)> {
    let mut gaps: Vec<_> =
        ledger(store).gaps.into_iter().map(|gap| (gap.reason, gap.first.unwrap_or(0), gap.last.unwrap_or(0))).collect();
    gaps.sort_by_key(|gap| gap.1);
    gaps
}

fn alarm(kind: &str, count: i64) -> (String, i64) {
    (kind.to_owned(), count)
}

fn unexplained(first: u64, last: u64) -> (String, u64, u64) {
    ("unexplained".to_owned(), first, last)
}

#[test]
fn what_was_given_away_and_is_nowhere_becomes_an_unexplained_gap_with_the_hello_that_shows_it() {
    let (_folder, mut store) = fresh();
    record(&mut store.writer, of(A, [1, 4]));
    record(&mut store.writer, [gone(A, (5, 5), GapReason::Evicted), hello([held(A, &[(3, 4)], 8)])]);
    assert_eq!(gaps(&store), [unexplained(2, 2), ("evicted".into(), 5, 5), unexplained(6, 7)]);
    assert_eq!(alarms(&store), [alarm("unexplained_gap", 1)]);
    let counts = LedgerCounts { stored: 2, waiting: 1, lost: 4, ..LedgerCounts::default() };
    assert_eq!((ledger(&store).totals, ledger(&store).epochs[0].counts), (counts, counts));
    record(&mut store.writer, [hello([held(A, &[(3, 4)], 8)])]);
    assert_eq!(alarms(&store), [alarm("unexplained_gap", 1)], "said again, it is nothing new");
}

#[test]
fn what_comes_after_all_ends_its_gap_and_counts_as_repaired() {
    let (_folder, mut store) = fresh();
    record(&mut store.writer, [hello([held(A, &[], 6)])]);
    assert_eq!(record(&mut store.writer, of(A, [3])), [Outcome::Recorded]);
    assert_eq!(gaps(&store), [unexplained(1, 2), unexplained(4, 5)]);
    record(&mut store.writer, of(A, [3, 4]));
    let counts = LedgerCounts { stored: 2, repaired: 2, lost: 3, ..LedgerCounts::default() };
    assert_eq!(ledger(&store).epochs[0].counts, counts);
    assert_eq!(ledger(&store).totals, counts);
}

#[test]
fn a_reason_that_is_told_later_takes_the_place_of_none() {
    let (_folder, mut store) = fresh();
    record(&mut store.writer, [hello([held(A, &[], 6)])]);
    assert_eq!(record(&mut store.writer, [gone(A, (2, 3), GapReason::Damaged)]), [Outcome::Recorded]);
    assert_eq!(record(&mut store.writer, [gone(A, (2, 3), GapReason::Damaged)]), [Outcome::Known]);
    assert_eq!(gaps(&store), [unexplained(1, 1), ("damaged".into(), 2, 3), unexplained(4, 5)]);
}

#[test]
fn part_of_a_hello_concludes_nothing_about_epochs_that_it_does_not_name() {
    let (_folder, mut store) = fresh();
    record(&mut store.writer, [hello([held(A, &[(1, 4)], 5)])]);
    record(&mut store.writer, [part([held(B, &[(2, 2)], 3)])]);
    assert_eq!(gaps(&store), [unexplained(1, 1)], "of B, which it names");
    assert_eq!(ledger(&store).totals.waiting, 5);
    record(&mut store.writer, [part([held(A, &[(1, 4)], 5)]), part([held(B, &[(2, 2)], 3)])]);
    assert_eq!(alarms(&store), [alarm("unexplained_gap", 1)]);
}

#[test]
fn an_epoch_that_a_whole_hello_names_no_more_and_that_no_later_one_hides_is_lost() {
    let (_folder, mut store) = fresh();
    record(&mut store.writer, [hello([held(A, &[(1, 4)], 5)])]);
    record(&mut store.writer, of(A, [2]));
    record(&mut store.writer, [hello([held(B, &[(1, 1)], 2)])]);
    assert_eq!(gaps(&store), [unexplained(1, 1), unexplained(3, 4)]);
    assert_eq!(alarms(&store), [alarm("unexplained_gap", 1)], "a new buffer is no copy");
}

#[test]
fn the_only_copy_of_what_a_gap_names_is_never_called_settled() {
    let (_folder, mut store) = fresh();
    record(&mut store.writer, [gone(A, (1, 3), GapReason::Evicted)]);
    assert_eq!(told(&mut store, A), [(1, 3, Settlement::Gap)]);
    // Another agent of the same disk image still has one of them.
    record(&mut store.writer, [hello([held(A, &[(2, 2)], 4)])]);
    assert_eq!(told(&mut store, A), [(1, 1, Settlement::Gap), (3, 3, Settlement::Gap)]);
    let counts = ledger(&store).totals;
    assert_eq!((counts.lost, counts.waiting), (2, 1));
    // The one that evicted them says so again: what it says is what it holds.
    record(&mut store.writer, [gone(A, (1, 3), GapReason::Evicted)]);
    assert_eq!(told(&mut store, A), [(1, 3, Settlement::Gap)]);
    record(&mut store.writer, [hello([held(A, &[(2, 2)], 4)])]);
    record(&mut store.writer, of(A, [2]));
    assert_eq!(told(&mut store, A)[1], (2, 2, Settlement::Stored));
    assert_eq!(ledger(&store).totals.repaired, 1);
}

#[test]
fn losses_between_ranges_that_a_full_hello_had_to_join_stay_losses() {
    let (_folder, mut store) = fresh();
    let lost = |number| gone(A, (number, number), GapReason::Evicted);
    record(&mut store.writer, [2, 4, 6].map(lost));
    let joined = [(1, 7)].into_iter().chain((0..63).map(|place| (9 + 2 * place, 9 + 2 * place)));
    let ranges: Vec<(u64, u64)> = joined.collect();
    record(&mut store.writer, [hello([held(A, &ranges, 134)])]);
    // The even ones from 8 to 132 are nowhere; the odd ones are held.
    let even: Vec<_> = (1..=66).map(|place| (2 * place, 2 * place, Settlement::Gap)).collect();
    assert_eq!(told(&mut store, A), even);
    let counts = LedgerCounts { waiting: 67, lost: 66, ..LedgerCounts::default() };
    assert_eq!(ledger(&store).totals, counts);
    // What the agent did hold comes all the same.
    record(&mut store.writer, of(A, [4]));
    let counts = LedgerCounts { stored: 1, waiting: 67, lost: 65, repaired: 1, ..counts };
    assert_eq!(ledger(&store).totals, counts);
    // With fewer ranges nothing was joined: it means what it says.
    record(&mut store.writer, [hello([held(A, &ranges[..63], 134)])]);
    assert_eq!(told(&mut store, A)[..2], [(4, 4, Settlement::Stored), (8, 8, Settlement::Gap)]);
}

#[test]
fn a_next_number_that_went_back_is_a_copied_buffer_and_makes_nothing_lost() {
    let (_folder, mut store) = fresh();
    record(&mut store.writer, of(A, 1..=2));
    record(&mut store.writer, [hello([held(A, &[(1, 9)], 10)])]);
    record(&mut store.writer, [hello([held(A, &[(1, 4)], 5)])]);
    record(&mut store.writer, [hello([held(A, &[(1, 4)], 5), held(B, &[(1, 1)], 2)])]);
    assert_eq!(alarms(&store), [alarm("buffer_copied", 1)], "once, however often it says so");
    assert!(ledger(&store).epochs.iter().any(|epoch| epoch.is_astray));
    assert_eq!((gaps(&store), ledger(&store).totals.waiting), (vec![], 8), "3 to 9 of A, 1 of B");
    assert!(told(&mut store, A).iter().all(|(.., state)| *state == Settlement::Stored));
}

#[test]
fn two_agents_of_one_disk_image_lose_nothing_and_are_noticed() {
    let (folder, mut store) = fresh();
    let image = || held(A, &[(1, 3)], 4);
    let (one, other) = (
        |last| hello([image(), held(B, &[(1, last)], last + 1)]),
        |last| hello([image(), held(C, &[(1, last)], last + 1)]),
    );
    record(&mut store.writer, [hello([image()]), one(2)]);
    assert_eq!(alarms(&store), [], "one agent and its restart");
    for round in 2..6 {
        record(&mut store.writer, [other(round), one(round)]);
        store = {
            drop(store);
            open(&folder)
        };
    }
    assert_eq!(gaps(&store), [], "what the one does not hold, the other does");
    let raised = alarms(&store);
    assert!(raised.len() == 1 && raised[0].0 == "buffer_copied", "{raised:?}");
    for (epoch, last) in [(A, 3), (B, 5), (C, 5)] {
        assert_eq!(told(&mut store, epoch), [], "{epoch:?} is still to come");
        record(&mut store.writer, of(epoch, 1..=last));
    }
    let counts = ledger(&store).totals;
    assert_eq!((counts.stored, counts.lost, counts.repaired), (13, 0, 0));
}

#[test]
fn an_older_buffer_copied_back_is_noticed_even_if_all_had_arrived() {
    let (_folder, mut store) = fresh();
    record(&mut store.writer, of(A, 1..=3).into_iter().chain(of(B, 1..=3)));
    record(&mut store.writer, [hello([held(A, &[(1, 3)], 4)]), hello([held(A, &[(1, 3)], 4), held(B, &[(1, 3)], 4)])]);
    assert_eq!(alarms(&store), []);
    record(&mut store.writer, [hello([held(A, &[(1, 3)], 4), held(C, &[(1, 1)], 2)])]);
    assert_eq!(alarms(&store), [alarm("buffer_copied", 1)]);
    assert_eq!(gaps(&store), []);
}

#[test]
fn an_epoch_that_began_under_a_connection_is_later_than_those_its_hello_named() {
    let (_folder, mut store) = fresh();
    record(&mut store.writer, of(A, 1..=3).into_iter().chain(of(B, 1..=3)));
    record(&mut store.writer, [hello([held(A, &[(1, 3)], 4)]), part([held(B, &[(1, 3)], 4)])]);
    record(&mut store.writer, [hello([held(A, &[(1, 3)], 4)])]);
    assert_eq!(alarms(&store), [alarm("buffer_copied", 1)]);
    let (_folder, mut store) = fresh();
    record(&mut store.writer, [part([held(B, &[(1, 3)], 4)]), part([held(A, &[(1, 3)], 4)])]);
    record(&mut store.writer, of(A, 1..=3).into_iter().chain(of(B, 1..=3)));
    record(&mut store.writer, [hello([held(B, &[(1, 3)], 4)])]);
    assert_eq!(alarms(&store), [], "parts may come in any order");
}

#[test]
fn what_a_copy_held_that_is_never_heard_of_again_is_lost_in_the_end() {
    use std::sync::atomic::{AtomicI64, Ordering};
    static DAYS: AtomicI64 = AtomicI64::new(0);
    let folder = TempDir::new().unwrap();
    let later = || proto::Instant(NOW + DAYS.load(Ordering::Relaxed) * 86_400_000_000);
    let mut store = Store::open(&folder.path().join("gateway.db"), later).unwrap();
    let both = || hello([held(A, &[(1, 1)], 2), held(B, &[(1, 2)], 3)]);
    record(&mut store.writer, [hello([held(A, &[(1, 1)], 2)]), both()]);
    for (day, gaps_then) in [(1, 0), (89, 0), (91, 1)] {
        DAYS.store(day, Ordering::Relaxed);
        record(&mut store.writer, [hello([held(A, &[(1, 1)], 2)])]);
        assert_eq!(gaps(&store).len(), gaps_then, "after {day} days");
    }
    assert_eq!(alarms(&store), [alarm("buffer_copied", 1), alarm("unexplained_gap", 1)]);
}

#[test]
fn a_healthy_agent_that_starts_again_and_again_raises_nothing() {
    let (_folder, mut store) = fresh();
    let epoch = |place: u8| Epoch([place + 10; 8]);
    for newest in 0..100_u8 {
        // What was settled leaves from the oldest on; the newest batch never does.
        let oldest = newest.saturating_sub(newest % 7);
        let named: Vec<Held> = (oldest..=newest).map(|place| held(epoch(place), &[(2, 3)], 4)).collect();
        record(
            &mut store.writer,
            [Item::Held {
                device: meter(),
                held: named.iter().map(|held| Held { ranges: vec![range(1, 3)], ..held.clone() }).collect(),
            }],
        );
        record(&mut store.writer, of(epoch(newest), 1..=3));
        record(&mut store.writer, [Item::Held { device: meter(), held: named }]);
    }
    assert_eq!((alarms(&store), gaps(&store)), (vec![], vec![]));
    assert_eq!(ledger(&store).totals.stored, 300);
}

#[test]
fn a_ledger_restored_from_an_older_copy_gets_again_what_agents_hold_and_names_the_rest() {
    let (folder, mut store) = fresh();
    let path = |name: &str| folder.path().join(name);
    record(&mut store.writer, of(A, 1..=4));
    record(&mut store.writer, [hello([held(A, &[(1, 4)], 5)])]);
    let backup = rusqlite::Connection::open(path("gateway.db")).unwrap();
    backup.execute("vacuum into ?", [path("older").to_str().unwrap()]).unwrap();
    record(&mut store.writer, of(A, 5..=9));
    drop((store, backup));
    for beside in ["gateway.db-wal", "gateway.db-shm"] {
        let _ = std::fs::remove_file(path(beside)); // may be gone with the last connection
    }
    std::fs::copy(path("older"), path("gateway.db")).unwrap();
    let mut store = open(&folder);
    // The agent let go of 1 to 6 on the word of the gateway that was lost.
    record(&mut store.writer, [hello([held(A, &[(7, 9)], 10)])]);
    assert_eq!(told(&mut store, A), [(1, 4, Settlement::Stored), (5, 6, Settlement::Gap)], "so 7 to 9 are sent again");
    assert_eq!(alarms(&store), [alarm("unexplained_gap", 1)]);
    record(&mut store.writer, of(A, 7..=9));
    assert_eq!(ledger(&store).totals, LedgerCounts { stored: 7, lost: 2, ..LedgerCounts::default() });
}

#[test]
fn ten_thousand_gaps_become_fewer_and_still_count_each_number_once() {
    let (_folder, mut store) = fresh();
    let every_other = |places: std::ops::RangeInclusive<u64>| {
        let gap = |place| match gone(A, (2 * place, 2 * place), GapReason::Evicted) {
            Item::Gaps { gaps, .. } => gaps[0].clone(),
            other => panic!("{other:?}"),
        };
        Item::Gaps { device: meter(), gaps: places.map(gap).collect() }
    };
    record(&mut store.writer, [every_other(1..=10_000)]);
    assert_eq!(alarms(&store), []);
    let of_reason =
        |store: &Store| ledger(store).lost.into_iter().map(|lost| (lost.gaps, lost.numbers, lost.readings)).next();
    assert_eq!(of_reason(&store), Some((10_000, 10_000, 70_000)));
    record(&mut store.writer, [every_other(10_001..=10_010)]);
    let (rows, numbers, readings) = of_reason(&store).unwrap();
    assert!(rows < 9_100 && (numbers, readings) == (10_010, 70_070), "{rows} {numbers} {readings}");
    // One of those that became one comes after all, and one that did not.
    record(&mut store.writer, of(A, [4, 20_020]));
    let counts = ledger(&store).totals;
    assert_eq!((counts.stored, counts.repaired, counts.lost), (2, 2, 10_008));
    assert_eq!(of_reason(&store).unwrap().1, 10_008);
    assert_eq!(told(&mut store, A)[0], (2, 2, Settlement::Gap), "number by number, nothing has changed");
}
