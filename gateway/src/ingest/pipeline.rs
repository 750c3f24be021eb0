//! Receive, judge, record, answer. A task judges; a thread of its own records, as much at once as has come meanwhile.
//! Where the store takes several commits at once there are several recorders, and each has devices of its own.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use proto::enrol::is_claim;
use proto::{Channel, DeviceId, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::heart::{Heart, Rounds};
use super::judge::{Judgement, judge};
use super::signing::ReceiptKey;
use super::totals::Totals;
use super::{ConnectionId, Event, Intake, Link, RefusalCode, Ticket, Verdict};
use crate::enrol::Desk;
use crate::store::{Item, Ledger};

mod answer;
mod barrier;
mod recording;

pub use barrier::{Barrier, CUT_OFF};
use recording::Recording;

/// Judged messages that wait for the recorder. With the doors' own bounds, this is all that memory must hold.
const WAITING_MAX: usize = 256;
/// Readings that were judged and wait for the recorder, with those in its hands. At some 64 bytes each, 32 MiB.
const WAITING_READINGS_MAX: u32 = 500_000;

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
        let rounds = Rounds::default();
        let lanes = vec![(sender, rounds.clone())];
        let (links, hidden, is_failing) = (HashMap::new(), HashSet::new(), false);
        let recording = Recording { ledger, links, hidden, now, totals, key, barrier, hopeless, is_failing, rounds };
        let thread = thread::Builder::new().name("recorder".into()).spawn(move || recording.run(inbox))?;
        Ok((Self { lanes, judge: Rounds::default() }, thread))
    }
}

fn readings_of(items: &[Item]) -> usize {
    let count = |item: &Item| match item {
        Item::Batch(batch) => batch.columns.iter().map(|column| column.readings.len()).sum(),
        Item::Pack(pack) => pack.columns.iter().map(|column| column.readings.len()).sum(),
        _ => 0,
    };
    items.iter().map(count).sum()
}
