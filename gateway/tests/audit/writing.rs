//! The thread that writes, and a store that does not take what it is given.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant as Moment};

use proto::Instant;
use tributary_gateway::audit::chain::Head;
use tributary_gateway::audit::checkpoint::Checkpoints;
use tributary_gateway::audit::entry::{Actor, Detail, Entry, Event};
use tributary_gateway::audit::trim::{Cut, Keep};
use tributary_gateway::audit::{self, Auditor, Keeper, Settings};
use tributary_gateway::store::StoreError;
use tributary_gateway::store::audit::{Ask, Found, Trail};

use crate::trail::{Bed, entry, now};

const PATIENCE: Duration = Duration::from_secs(20);

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Moment::now() + PATIENCE;
    while !is_so() {
        assert!(Moment::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn start(bed: &Bed, trail: Box<dyn Trail>, checkpoint_every: Duration) -> (Auditor, Keeper) {
    let checkpoints = Checkpoints::open(&bed.checkpoints()).unwrap();
    audit::start(trail, checkpoints, Settings { checkpoint_every, ..Settings::default() }, now).unwrap()
}

fn note(auditor: &Auditor, number: i64) {
    auditor.note(Event::Issued, Actor::Operator, None, Detail::none().number("number", number));
}

/// The numbers that entries were given, in the order of the chain.
fn numbers(bed: &Bed) -> Vec<i64> {
    details(bed).iter().map(|detail| detail["number"].as_i64().unwrap()).collect()
}

fn details(bed: &Bed) -> Vec<serde_json::Value> {
    let found = bed.trail().page(&Ask { after: Some(0), subject: None, entries_max: 10_000 }).unwrap();
    let detail = |found| match found {
        Found::Link(link) => serde_json::from_str(&link.detail).unwrap(),
        other => panic!("{other:?}"),
    };
    found.into_iter().map(detail).collect()
}

/// A stand-in for a store that fails, or answers nothing, until it is told to work; then it is the real one.
struct Moody {
    real: Box<dyn Trail>,
    mood: Arc<Mood>,
}

#[derive(Default)]
struct Mood {
    /// Appends that fail.
    failures: AtomicUsize,
    is_stalled: Mutex<bool>,
    works: Condvar,
    /// Appends that were begun.
    tried: AtomicUsize,
}

impl Mood {
    fn stall(&self, is_stalled: bool) {
        *self.is_stalled.lock().unwrap() = is_stalled;
        self.works.notify_all();
    }
}

impl Trail for Moody {
    fn append(&mut self, entries: &[Entry]) -> Result<Head, StoreError> {
        self.mood.tried.fetch_add(1, Ordering::SeqCst);
        drop(self.mood.works.wait_while(self.mood.is_stalled.lock().unwrap(), |is_stalled| *is_stalled).unwrap());
        let fails = |left: usize| left.checked_sub(1);
        if self.mood.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
            return Err(StoreError::Unfit("the store is in a bad mood".to_owned()));
        }
        self.real.append(entries)
    }

    fn head(&mut self) -> Result<Head, StoreError> {
        self.real.head()
    }

    fn page(&mut self, ask: &Ask) -> Result<Vec<Found>, StoreError> {
        self.real.page(ask)
    }

    fn cut(&mut self, keep: Keep, now: Instant) -> Result<Option<Cut>, StoreError> {
        self.real.cut(keep, now)
    }

    fn trim(&mut self, cut: &Cut, now: Instant) -> Result<Head, StoreError> {
        self.real.trim(cut, now)
    }
}

fn moody(bed: &Bed) -> (Box<dyn Trail>, Arc<Mood>) {
    let mood = Arc::<Mood>::default();
    (Box::new(Moody { real: bed.trail(), mood: Arc::clone(&mood) }), mood)
}

#[test]
fn while_the_store_fails_entries_are_kept_and_then_written_once_in_their_order() {
    let bed = Bed::new();
    let (trail, mood) = moody(&bed);
    mood.failures.store(3, Ordering::SeqCst);
    let (auditor, keeper) = start(&bed, trail, Duration::from_secs(60));
    (0..600).for_each(|number| note(&auditor, number));
    until("the store to be tried", || mood.tried.load(Ordering::SeqCst) >= 3);
    (600..700).for_each(|number| note(&auditor, number));
    until("all to be there", || bed.trail().head().unwrap().sequence == 700);
    assert_eq!(numbers(&bed), (0..700).collect::<Vec<_>>());
    let totals = auditor.totals();
    assert_eq!((totals.entries.get(), totals.failures.get(), totals.dropped.get()), (700, 3, 0));
    keeper.stop(PATIENCE);
    assert_eq!(bed.verify().unwrap().entries, 700);
}

#[test]
fn a_stalled_store_makes_nobody_wait_and_what_found_no_room_is_told_by_the_next_entry() {
    let bed = Bed::new();
    let (trail, mood) = moody(&bed);
    mood.stall(true);
    let (auditor, keeper) = start(&bed, trail, Duration::from_secs(60));
    note(&auditor, -1);
    until("the store to be at it", || mood.tried.load(Ordering::SeqCst) == 1);
    let began = Moment::now();
    (0..10_000).for_each(|number| note(&auditor, number));
    // On a machine with other work as well: they are no more than pushed.
    assert!(began.elapsed() < Duration::from_secs(2), "10 000 entries took {:?}", began.elapsed());
    let dropped = auditor.totals().dropped.get();
    assert_eq!(dropped, 10_000 - 4_096);
    mood.stall(false);
    until("what had room", || bed.trail().head().unwrap().sequence == 1 + 4_096);
    let details = details(&bed);
    assert_eq!(details[1]["dropped_before"], dropped, "the next one says so");
    assert!(details[2..].iter().all(|detail| detail.get("dropped_before").is_none()), "once");
    keeper.stop(PATIENCE);
}

#[test]
fn at_the_end_all_that_came_in_is_written_and_a_checkpoint_has_seen_it() {
    let bed = Bed::new();
    let store = bed.store();
    let (auditor, keeper) = start(&bed, Box::new(store.writer.trail()), Duration::from_secs(3_600));
    (0..1_000).for_each(|number| note(&auditor, number));
    keeper.stop(PATIENCE);
    let whole = bed.verify().unwrap();
    assert_eq!((whole.entries, whole.checkpoints), (1_000, 1));
    note(&auditor, 0);
    assert_eq!(auditor.totals().dropped.get(), 1, "what comes after the end is counted");
}

#[test]
fn a_store_that_never_answers_holds_the_end_up_no_longer_than_its_grace() {
    let bed = Bed::new();
    let (trail, mood) = moody(&bed);
    mood.stall(true);
    let (auditor, keeper) = start(&bed, trail, Duration::from_secs(60));
    note(&auditor, 0);
    until("the store to be at it", || mood.tried.load(Ordering::SeqCst) == 1);
    (1..4).for_each(|number| note(&auditor, number));
    let began = Moment::now();
    keeper.stop(Duration::from_millis(200));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(auditor.totals().dropped.get(), 3, "what waited is lost, and counted");
    mood.stall(false);
}

#[test]
fn a_checkpoint_follows_whoever_appended_and_only_when_there_is_something_new() {
    let bed = Bed::new();
    let store = bed.store();
    let (_auditor, keeper) = start(&bed, Box::new(store.writer.trail()), Duration::from_millis(20));
    let lines = || std::fs::read_to_string(bed.checkpoints()).unwrap().lines().count();
    bed.trail().append(&[entry(1)]).unwrap();
    until("a checkpoint of what a command appended", || lines() == 1);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(lines(), 1, "nothing new");
    bed.trail().append(&[entry(2)]).unwrap();
    until("another", || lines() == 2);
    keeper.stop(PATIENCE);
    assert_eq!(lines(), 2);
    assert_eq!(bed.verify().unwrap().checkpoints, 2);
}

#[test]
fn a_command_whose_entry_cannot_be_written_fails() {
    let bed = Bed::new();
    let (mut trail, mood) = moody(&bed);
    mood.failures.store(1, Ordering::SeqCst);
    let error = audit::append(&mut *trail, entry(1)).unwrap_err();
    assert!(format!("{error:#}").contains("nothing was done"), "{error:#}");
    assert_eq!(audit::append(&mut *trail, entry(1)).unwrap().sequence, 1);
    assert_eq!(bed.trail().head().unwrap().sequence, 1);
}

#[test]
fn a_gateway_lets_the_oldest_entries_go_by_itself_and_its_checkpoints_know_it() {
    const DAY_US: i64 = 86_400_000_000;
    let bed = Bed::new();
    let old = |number: i64| Entry { time: Instant(now().0 - (2_000 - number) * DAY_US), ..entry(number) };
    bed.trail().append(&(1..=2_000).map(old).collect::<Vec<_>>()).unwrap();
    let keep = Keep { days: 500, entries_max: 10_000 };
    let settings = Settings { checkpoint_every: Duration::from_millis(20), keep };
    let checkpoints = Checkpoints::open(&bed.checkpoints()).unwrap();
    let (auditor, keeper) = audit::start(bed.trail(), checkpoints, settings, now).unwrap();
    until("the oldest to go", || bed.trail().head().unwrap().sequence == 2_001);
    note(&auditor, 7);
    until("the next entry", || bed.trail().head().unwrap().sequence == 2_002);
    keeper.stop(PATIENCE);
    let whole = bed.verify().unwrap();
    assert_eq!((whole.trimmed, whole.entries, whole.head.sequence), (1_499, 503, 2_002), "in one lot, once");
    assert_eq!(whole.span_us.map(|(first, _)| first), Some(now().0 - 500 * DAY_US));
    // Somebody who can write the store, and not the checkpoints, cuts off more and says that it was the rule.
    let cut = bed.trail().cut(Keep { days: 480, ..keep }, now()).unwrap();
    assert_eq!(cut, None, "twenty are not worth it yet");
    let cut = bed.trail().cut(Keep { days: 100, ..keep }, now()).unwrap().unwrap();
    bed.trail().trim(&cut, now()).unwrap();
    let told = bed.verify().unwrap_err().to_string();
    assert!(told.starts_with("entries up to 1899 are not there") && told.contains("no checkpoint"), "{told}");
}
