//! Between those who have something to tell and the thread that writes it: nobody waits here but that thread.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Moment};

use super::denials::{Denial, Denials};
use super::entry::Entry;

/// Entries that wait to be written: some 2 MiB. Beyond it they are dropped and counted.
pub(super) const WAITING_MAX: usize = 4_096;
/// Of those, entries about denials: what devices do keeps out nothing that was decided here.
const DENIALS_WAITING_MAX: usize = 1_024;
/// Entries of one transaction.
pub(super) const BATCH_MAX: usize = 256;

/// A bounded queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    denials: Denials,
    /// Entries that were lost since one has said so.
    dropped: u64,
    end: End,
}

/// Whether more is to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// Yes.
    #[default]
    Open,
    /// What is there is to be written.
    Closing,
    /// Not even that.
    GivenUp,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Whoever panicked with it left at most one entry out.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an entry in. Answers whether it will be told of.
    pub(super) fn put(&self, entry: Entry, now: Moment) -> bool {
        let mut waiting = self.waiting();
        let is_taken = waiting.end == End::Open && waiting.put(entry, now);
        if !is_taken {
            waiting.dropped = waiting.dropped.saturating_add(1);
        }
        drop(waiting);
        self.news.notify_one();
        is_taken
    }

    /// The next entries to be written together: as soon as there is one, or none after `patience`, or when more is not
    /// to come.
    pub(super) fn take(&self, patience: Duration) -> Vec<Entry> {
        let waiting = self.waiting();
        let is_idle = |waiting: &mut Waiting| waiting.entries.is_empty() && waiting.end == End::Open;
        let woken = self.news.wait_timeout_while(waiting, patience, is_idle);
        woken.unwrap_or_else(PoisonError::into_inner).0.take(Moment::now())
    }

    /// Waits for `time`, or until nothing is to be waited for any more.
    pub(super) fn rest(&self, time: Duration, until: End) {
        let is_resting = |waiting: &mut Waiting| waiting.end < until;
        drop(self.news.wait_timeout_while(self.waiting(), time, is_resting));
    }

    pub(super) fn end(&self) -> End {
        self.waiting().end
    }

    /// Lets nothing more in, or gives up what is there.
    pub(super) fn set_end(&self, end: End) {
        let mut waiting = self.waiting();
        waiting.end = waiting.end.max(end);
        drop(waiting);
        self.news.notify_all();
    }

    /// Entries that are not written yet, or will never be: waiting, and dropped since one has said so.
    pub(super) fn unwritten(&self) -> (usize, u64) {
        let waiting = self.waiting();
        (waiting.entries.len(), waiting.dropped)
    }
}

impl Waiting {
    fn put(&mut self, entry: Entry, now: Moment) -> bool {
        if !entry.event.is_denial() {
            let has_room = self.entries.len() < WAITING_MAX;
            if has_room {
                self.entries.push_back(entry);
            }
            return has_room;
        }
        match self.denials.take(entry, self.entries.len() < DENIALS_WAITING_MAX, now) {
            Denial::First(entry) => self.entries.push_back(entry),
            Denial::Repeat => {}
            Denial::Lost => return false,
        }
        true
    }

    fn take(&mut self, now: Moment) -> Vec<Entry> {
        let room = DENIALS_WAITING_MAX.saturating_sub(self.entries.len());
        self.entries.extend(self.denials.over(room, self.end != End::Open, now));
        let count = self.entries.len().min(BATCH_MAX);
        let mut batch: Vec<_> = self.entries.drain(..count).collect();
        if let Some(first) = batch.first_mut().filter(|_| self.dropped > 0) {
            let detail = std::mem::take(&mut first.detail);
            first.detail = detail.number("dropped_before", std::mem::take(&mut self.dropped));
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use proto::Instant;

    use super::super::entry::{Actor, Detail, Event};
    use super::*;

    fn entry(event: Event, number: usize) -> Entry {
        let detail = Detail::none().number("number", number);
        Entry { time: Instant(0), actor: Actor::Gateway, event, subject: None, detail }
    }

    #[test]
    fn a_full_queue_drops_and_the_next_entry_says_how_many_were_dropped() {
        let (queue, now) = (Queue::default(), Moment::now());
        let put = |number| queue.put(entry(Event::Revoked, number), now);
        assert!((0..WAITING_MAX).all(put) && !(0..7).any(put));
        assert_eq!(queue.unwritten(), (WAITING_MAX, 7));
        let batch = queue.take(Duration::ZERO);
        assert_eq!(batch.len(), BATCH_MAX);
        assert_eq!(batch[0].detail.to_json(), r#"{"number":0,"dropped_before":7}"#);
        assert_eq!(batch[1].detail.to_json(), r#"{"number":1}"#);
        assert_eq!(queue.unwritten(), (WAITING_MAX - BATCH_MAX, 0));
        assert!(put(0), "there is room again");
    }

    #[test]
    fn devices_that_are_denied_keep_out_nothing_that_was_decided_here() {
        let (queue, now) = (Queue::default(), Moment::now());
        for number in 0..10_000_usize {
            let device = format!("meter-{number}").parse().unwrap();
            queue.put(Entry { subject: Some(device), ..entry(Event::DeniedPublish, 0) }, now);
        }
        assert_eq!(queue.unwritten().0, DENIALS_WAITING_MAX);
        assert!((0..WAITING_MAX - DENIALS_WAITING_MAX).all(|number| queue.put(entry(Event::Revoked, number), now)));
    }

    #[test]
    fn at_the_end_what_was_counted_is_told_and_nothing_more_is_let_in() {
        let (queue, now) = (Queue::default(), Moment::now());
        assert!((0..3).all(|_| queue.put(entry(Event::DeniedConnect, 1), now)));
        assert_eq!(queue.take(Duration::ZERO).len(), 1);
        assert_eq!(queue.take(Duration::ZERO).len(), 0, "its minute is not over");
        queue.set_end(End::Closing);
        let last = queue.take(Duration::from_secs(60));
        assert_eq!(last.len(), 1);
        assert!(last[0].detail.to_json().contains(r#""count":2"#));
        assert!(!queue.put(entry(Event::Revoked, 0), now));
        assert_eq!(queue.unwritten(), (0, 1));
    }
}
