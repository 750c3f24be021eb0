//! The thread that records: what has come meanwhile is one commit, tried until the store takes it, and answered after it.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant as Moment};

use proto::DeviceId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{Barrier, Given, Judged, Message, Now};
use crate::ingest::heart::Rounds;
use crate::ingest::judge::Answer;
use crate::ingest::record::record;
use crate::ingest::signing::ReceiptKey;
use crate::ingest::totals::Totals;
use crate::ingest::{ConnectionId, Link};
use crate::seeded::Bug;
use crate::store::{Item, Ledger, Outcome};

/// Messages in one commit.
const COMMIT_MESSAGES_MAX: usize = 256;
/// Readings in one commit, about: more would make others wait long for their receipt.
const COMMIT_READINGS_MAX: usize = 100_000;
/// How long to wait before an unavailable store is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What a recorder has: its store, and who is there.
pub(super) struct Recording<L> {
    pub(super) ledger: L,
    pub(super) links: HashMap<DeviceId, Link>,
    /// Those among them who were cut off: they seem to be gone, though a broker lets them in still.
    pub(super) hidden: HashSet<DeviceId>,
    pub(super) now: Now,
    pub(super) totals: &'static Totals,
    pub(super) key: Option<Arc<ReceiptKey>>,
    pub(super) barrier: Barrier,
    pub(super) hopeless: CancellationToken,
    /// Whether the store took nothing the last time.
    pub(super) is_failing: bool,
    /// Commits, failed tries, and pulses while there is nothing to be done.
    pub(super) rounds: Rounds,
}

impl<L: Ledger> Recording<L> {
    /// Until the way to it is dropped, or the store takes nothing and there is no more hope.
    pub(super) fn run(mut self, mut inbox: mpsc::Receiver<Given>) {
        let mut waiting = Vec::with_capacity(COMMIT_MESSAGES_MAX);
        while let Some(first) = inbox.blocking_recv() {
            let (mut readings, mut next) = (0, Some(first));
            // Idle: one message is one commit, at once. Busy: whatever has come meanwhile shares the next one.
            while let Some(given) = next {
                if let Given::Judged(judged) = given {
                    readings += judged.readings();
                    waiting.push(judged);
                }
                let has_room = waiting.len() < COMMIT_MESSAGES_MAX && readings < COMMIT_READINGS_MAX;
                next = if has_room { inbox.try_recv().ok() } else { None };
            }
            if !waiting.is_empty() && self.commit(&mut waiting).is_none() {
                return;
            }
            self.rounds.come_round();
        }
    }

    /// Commits what waits, and answers it. `None` if the store took nothing until there was no more hope.
    fn commit(&mut self, waiting: &mut Vec<Judged>) -> Option<()> {
        let mut gathered = self.gather(waiting);
        if Bug::ReceiptFirst.is_on() {
            self.promise(&gathered.messages);
        }
        let mut outcomes = Vec::with_capacity(gathered.items.len());
        loop {
            // Each time anew: a store may be away for longer than a device has its certificate.
            self.barrier.sift(&mut gathered, outcomes.len(), self.totals);
            if self.record(&gathered.items, &mut outcomes) {
                break;
            }
            if self.hopeless.is_cancelled() {
                return None;
            }
            thread::sleep(RETRY_AFTER);
        }
        let Gathered { items, messages, closed } = gathered;
        self.totals.committed(&items, &outcomes);
        self.tell_of_misnamed(&items, &outcomes);
        self.send_receipts(&items, &outcomes, &messages);
        for (message, range) in messages {
            let verdict = self.verdict(&message, outcomes.get(range).unwrap_or_default());
            message.ticket.settle(verdict);
        }
        // Not before: what they had sent may have come together with their end.
        closed.into_iter().for_each(|connection| self.barrier.forget(connection));
        Some(())
    }

    /// What is to be recorded of what waits.
    fn gather(&mut self, waiting: &mut Vec<Judged>) -> Gathered {
        let mut gathered = Gathered { items: Vec::new(), messages: Vec::new(), closed: Vec::new() };
        for judged in waiting.drain(..) {
            match judged {
                Judged::Opened(link) => gathered.items.extend(self.opened(link)),
                Judged::Closed(device, connection) => {
                    gathered.closed.push(connection);
                    gathered.items.extend(self.closed(device, connection));
                }
                Judged::Barred(device) => {
                    if self.links.contains_key(&device) && self.hidden.insert(device.clone()) {
                        gathered.items.push(Item::Presence { device, connected: false });
                    }
                }
                Judged::Contested(device) => gathered.items.push(Item::Contested { device }),
                Judged::Message(message) => self.message(message, &mut gathered),
            }
        }
        gathered
    }

    /// That a device is there, unless it is cut off.
    fn opened(&mut self, link: Link) -> Option<Item> {
        let device = link.device.clone();
        self.hidden.remove(&device);
        self.links.insert(device.clone(), link);
        if self.barrier.is_barred(&device) {
            self.hidden.insert(device); // a broker lets it in still
            return None;
        }
        Some(Item::Presence { device, connected: true })
    }

    /// That a device is gone, unless it seemed to be so, or a later connection of it has taken over already.
    fn closed(&mut self, device: DeviceId, connection: ConnectionId) -> Option<Item> {
        if self.links.get(&device).is_none_or(|link| link.connection != connection) {
            return None;
        }
        self.links.remove(&device);
        (!self.hidden.remove(&device)).then_some(Item::Presence { device, connected: false })
    }

    fn message(&mut self, mut message: Message, gathered: &mut Gathered) {
        // It was taken back, and a broker need not say again that it is there.
        if self.hidden.contains(&message.device) && !self.barrier.is_barred(&message.device) {
            self.hidden.remove(&message.device);
            gathered.items.push(Item::Presence { device: message.device.clone(), connected: true });
        }
        self.fence(&mut message);
        let first = gathered.items.len();
        gathered.items.append(&mut message.judgement.items);
        gathered.messages.push((message, first..gathered.items.len()));
    }

    /// What a device held when it had an earlier connection says nothing of what it holds now: such a hello is neither
    /// believed nor answered. Batches and gaps are as good as ever.
    fn fence(&self, message: &mut Message) {
        let is_current = |link: &Link| link.connection == message.connection;
        if matches!(message.judgement.answer, Answer::Everything(_))
            && !self.links.get(&message.device).is_none_or(is_current)
        {
            message.judgement.items.clear();
            message.judgement.answer = Answer::Nothing;
        }
    }

    /// Records what has no outcome yet, and answers whether all has one now. Only an unavailable store holds everybody up; what
    /// fails by itself is quarantined by [`record`].
    fn record(&mut self, items: &[Item], outcomes: &mut Vec<Outcome>) -> bool {
        let left = items.get(outcomes.len()..).unwrap_or_default();
        match record(&mut self.ledger, left, (self.now)(), outcomes) {
            Ok(()) => {
                if let Some(time) = self.totals.store.works(&mut self.is_failing, Moment::now()) {
                    info!(after_s = time.as_secs(), "the store takes readings again");
                }
                true
            }
            Err(unavailable) => {
                self.totals.store_failures.add(1);
                self.rounds.come_round();
                if self.totals.store.failed(&mut self.is_failing, &unavailable.to_string(), Moment::now()) {
                    error!(error = %unavailable, "the store takes nothing; devices keep what they have");
                }
                false
            }
        }
    }
}

/// What is recorded together, and of which message it is: for each, its items in their places.
pub(super) struct Gathered {
    pub(super) items: Vec<Item>,
    pub(super) messages: Vec<(Message, Range<usize>)>,
    /// Connections that ended behind these messages.
    pub(super) closed: Vec<ConnectionId>,
}
