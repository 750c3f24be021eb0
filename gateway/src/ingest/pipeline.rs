//! Receive, judge, record, answer. A task judges; a thread of its own records, as much at once as has come meanwhile.
//! Where the store takes several commits at once there are several recorders, and each has devices of its own.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant as Moment};

use proto::enrol::is_claim;
use proto::{Channel, DeviceId, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::heart::{Heart, Rounds};
use super::judge::{Answer, Judgement, judge};
use super::record::record;
use super::signing::ReceiptKey;
use super::totals::Totals;
use super::{ConnectionId, Event, Intake, Link, RefusalCode, Ticket, Verdict};
use crate::enrol::Desk;
use crate::seeded::Bug;
use crate::store::{Item, Ledger, Outcome};

mod answer;
mod barrier;

pub use barrier::{Barrier, CUT_OFF};

/// Judged messages that wait for the recorder. With the doors' own bounds, this is all that memory must hold.
const WAITING_MAX: usize = 256;
/// Messages in one commit.
const COMMIT_MESSAGES_MAX: usize = 256;
/// Readings in one commit, about: more would make others wait long for their receipt.
const COMMIT_READINGS_MAX: usize = 100_000;
/// Readings that were judged and wait for the recorder, with those in its hands. At some 64 bytes each, 32 MiB.
const WAITING_READINGS_MAX: u32 = 500_000;
/// How long to wait before an unavailable store is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Where the time comes from.
pub type Now = fn() -> Instant;

/// What a recorder is given.
pub(super) enum Given {
    /// By the judge.
    Judged(Judged),
    /// By the heart: nothing to be done but to come round.
    Pulse,
}

/// What goes from judge to recorder.
pub(super) enum Judged {
    Opened(Link),
    Closed(DeviceId, ConnectionId),
    Contested(DeviceId),
    Barred(DeviceId),
    Message(Message),
}

impl Judged {
    fn device(&self) -> &DeviceId {
        match self {
            Self::Opened(link) => &link.device,
            Self::Closed(device, _) | Self::Contested(device) | Self::Barred(device) => device,
            Self::Message(message) => &message.device,
        }
    }

    /// How many readings it brings.
    fn readings(&self) -> usize {
        if let Self::Message(message) = self { readings_of(&message.judgement.items) } else { 0 }
    }
}

/// A publish that was judged.
pub(super) struct Message {
    device: DeviceId,
    connection: ConnectionId,
    channel: Channel,
    judgement: Judgement,
    ticket: Ticket,
    /// Its share of what may wait; given back when it is dropped.
    _room: Option<OwnedSemaphorePermit>,
}

/// Judges events as they come, until the doors close. Ends when the recorder has ended.
pub async fn judge_all(mut events: mpsc::Receiver<Event>, recorder: Recorder, desk: Option<Desk>, now: Now) {
    let room = Arc::new(Semaphore::new(WAITING_READINGS_MAX as usize));
    while let Some(event) = events.recv().await {
        recorder.judge.come_round();
        let Some(event) = past_the_desk(desk.as_ref(), event) else { continue };
        let judged = match event {
            Event::Opened(link) => Judged::Opened(link),
            Event::Closed { device, connection, .. } => Judged::Closed(device, connection),
            Event::Contested { device } => Judged::Contested(device),
            Event::Pulse => continue,
            Event::Barred { device } => Judged::Barred(device),
            Event::Arrived(arrival) => {
                let judgement = judge(&arrival, now());
                let readings =
                    u32::try_from(readings_of(&judgement.items)).unwrap_or(u32::MAX).min(WAITING_READINGS_MAX);
                let _room = Arc::clone(&room).acquire_many_owned(readings).await.ok();
                let (device, channel, ticket) = (arrival.device, arrival.channel, arrival.ticket);
                let connection = arrival.connection;
                Judged::Message(Message { device, connection, channel, judgement, ticket, _room })
            }
        };
        let Some(lane) = recorder.lane(judged.device()) else { return };
        if lane.send(Given::Judged(judged)).await.is_err() {
            return;
        }
    }
}

/// What is not for the `desk` alone: it is told who is there, requests for certificates go to it, and sessions of claims
/// concern nobody else.
fn past_the_desk(desk: Option<&Desk>, event: Event) -> Option<Event> {
    match (&event, desk) {
        (Event::Opened(link), Some(desk)) => desk.opened(link),
        (Event::Closed { device, connection, .. }, Some(desk)) => desk.closed(device, *connection),
        _ => {}
    }
    match event {
        Event::Arrived(arrival) if arrival.channel == Channel::Enrol && desk.is_some() => {
            desk?.ask(arrival);
            None
        }
        // The listener lets none come so far; behind a broker, its access list should have.
        Event::Arrived(arrival) if is_claim(&arrival.device) => {
            tracing::warn!(device.id = %arrival.device, channel = arrival.channel.path(), "a claim may ask for a certificate, and nothing else");
            arrival.ticket.settle(Verdict::Refused(RefusalCode::NotAuthorized));
            None
        }
        Event::Opened(link) if is_claim(&link.device) => None,
        Event::Closed { ref device, .. } | Event::Contested { ref device } if is_claim(device) => None,
        other => Some(other),
    }
}

/// The way to the recorder, or to one of several: never none.
pub struct Recorder {
    lanes: Vec<(mpsc::Sender<Given>, Rounds)>,
    /// Those of the judge who gives them something.
    judge: Rounds,
}

impl Recorder {
    /// Both: what concerns one device goes to the same one, in its order.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.lanes.extend(other.lanes);
        self
    }

    /// Whether all of them get on, and the judge who is told by `events`.
    #[must_use]
    pub fn heart(&self, events: &Intake, totals: &'static Totals) -> Heart {
        let recorders = self.lanes.iter().map(|(lane, rounds)| (lane.downgrade(), rounds.clone()));
        Heart::new((events.downgrade(), self.judge.clone()), recorders.collect(), totals)
    }

    fn lane(&self, device: &DeviceId) -> Option<&mpsc::Sender<Given>> {
        let mut hasher = DefaultHasher::new();
        device.hash(&mut hasher);
        let place = hasher.finish() % self.lanes.len().max(1) as u64;
        self.lanes.get(usize::try_from(place).unwrap_or(0)).map(|(lane, _)| lane)
    }

    /// Gives `ledger` a thread that records into it. The thread ends when the way to it is dropped.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn spawn(
        ledger: impl Ledger + 'static,
        now: Now,
        totals: &'static Totals,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        Self::spawn_until(ledger, now, totals, None, Barrier::default(), CancellationToken::new())
    }

    /// As [`Recorder::spawn`]; receipts are signed with `key`, if there is one, and nothing passes the `barrier` of those who
    /// are cut off; its auditor hears too of devices that speak in another's name. And once `hopeless` is cancelled, a store
    /// that takes nothing is not tried again: the thread ends, what it has is dropped without a verdict, and devices keep it.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn spawn_until(
        ledger: impl Ledger + 'static,
        now: Now,
        totals: &'static Totals,
        key: Option<Arc<ReceiptKey>>,
        barrier: Barrier,
        hopeless: CancellationToken,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (sender, inbox) = mpsc::channel(WAITING_MAX);
        let (links, hidden, rounds) = (HashMap::new(), HashSet::new(), Rounds::default());
        let lanes = vec![(sender, rounds.clone())];
        let is_failing = false;
        let recording = Recording { ledger, links, hidden, now, totals, key, barrier, hopeless, is_failing, rounds };
        let thread = thread::Builder::new().name("recorder".into()).spawn(move || recording.run(inbox))?;
        Ok((Self { lanes, judge: Rounds::default() }, thread))
    }
}

struct Recording<L> {
    ledger: L,
    links: HashMap<DeviceId, Link>,
    /// Those among them who were cut off: they seem to be gone, though a broker lets them in still.
    hidden: HashSet<DeviceId>,
    now: Now,
    totals: &'static Totals,
    key: Option<Arc<ReceiptKey>>,
    barrier: Barrier,
    hopeless: CancellationToken,
    /// Whether the store took nothing the last time.
    is_failing: bool,
    /// Commits, failed tries, and pulses while there is nothing to be done.
    rounds: Rounds,
}

impl<L: Ledger> Recording<L> {
    fn run(mut self, mut inbox: mpsc::Receiver<Given>) {
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
        let (mut items, mut messages, mut closed) = (Vec::new(), Vec::new(), Vec::new());
        for judged in waiting.drain(..) {
            match judged {
                Judged::Opened(link) => {
                    let device = link.device.clone();
                    self.hidden.remove(&device);
                    self.links.insert(device.clone(), link);
                    if self.barrier.is_barred(&device) {
                        // A broker lets it in still.
                        self.hidden.insert(device);
                    } else {
                        items.push(Item::Presence { device, connected: true });
                    }
                }
                Judged::Closed(device, connection) => {
                    closed.push(connection);
                    // A later connection of the same device may have taken over already.
                    if self.links.get(&device).is_some_and(|link| link.connection == connection) {
                        self.links.remove(&device);
                        if !self.hidden.remove(&device) {
                            items.push(Item::Presence { device, connected: false });
                        }
                    }
                }
                Judged::Barred(device) => {
                    if self.links.contains_key(&device) && self.hidden.insert(device.clone()) {
                        items.push(Item::Presence { device, connected: false });
                    }
                }
                Judged::Contested(device) => items.push(Item::Contested { device }),
                Judged::Message(mut message) => {
                    // It was taken back, and a broker need not say again that it is there.
                    if self.hidden.contains(&message.device) && !self.barrier.is_barred(&message.device) {
                        self.hidden.remove(&message.device);
                        items.push(Item::Presence { device: message.device.clone(), connected: true });
                    }
                    self.fence(&mut message);
                    let first = items.len();
                    items.append(&mut message.judgement.items);
                    messages.push((message, first..items.len()));
                }
            }
        }
        Gathered { items, messages, closed }
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
struct Gathered {
    items: Vec<Item>,
    messages: Vec<(Message, Range<usize>)>,
    /// Connections that ended behind these messages.
    closed: Vec<ConnectionId>,
}

fn readings_of(items: &[Item]) -> usize {
    let count = |item: &Item| match item {
        Item::Batch(batch) => batch.columns.iter().map(|column| column.readings.len()).sum(),
        Item::Pack(pack) => pack.columns.iter().map(|column| column.readings.len()).sum(),
        _ => 0,
    };
    items.iter().map(count).sum()
}
