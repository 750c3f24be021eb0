//! From a device's publish to its receipt: a door, then one pipeline.
//!
//! The [`listener`] ends the device's own MQTT connection and hands on [`Event`]s; the [`broker`] door takes them from
//! whatever broker devices connect to. The pipeline judges what came, records it in one transaction, and only then lets
//! go of the [`Ticket`] (which makes the PUBACK) and sends a receipt through the [`Link`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::vec;

use bytes::Bytes;
use proto::{Channel, DeviceId, Topic};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use crate::enrol::Claimant;

mod acks;
pub mod broker;
pub mod heart;
pub mod judge;
pub mod listener;
pub mod pipeline;
pub mod receipt;
pub mod record;
pub mod signing;
pub mod totals;

/// What waits to be written to one device: this many times one or several messages that only make sense together.
/// Receipts are state, so what finds no room may be dropped.
pub const LINK_DEPTH: usize = 256;
/// Bytes that wait to be written to one device, above which only those find room that are alone. An answer that is
/// larger than this must pass all the same, or its device would wait for it for ever; it is no larger than the ranges
/// that it was made from.
pub const LINK_BYTES_MAX: usize = 1024 * 1024;

/// What a door tells the pipeline, in the order in which it happened on each connection.
#[derive(Debug)]
pub enum Event {
    /// A device has connected and may be written to.
    Opened(Link),
    /// A device has published.
    Arrived(Arrival),
    /// A connection has ended.
    Closed {
        /// Whose.
        device: DeviceId,
        /// Which of its connections.
        connection: ConnectionId,
        /// Why, for people.
        reason: String,
    },
    /// A device was cut off, wherever its connection ends: it is not there any more.
    Barred {
        /// Which.
        device: DeviceId,
    },
    /// Connections of one device take over from each other again and again, each while the other lives.
    Contested {
        /// Whose.
        device: DeviceId,
    },
    /// Nothing has happened: it is asked whether the pipeline gets on.
    Pulse,
}

/// One connection among all of this process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    /// Some connection before all that are known: what came by it is as good as ever, but for a hello, which says what
    /// a device held once.
    pub const PAST: Self = Self(0);

    /// An id that no other connection of this process has, by whichever door.
    #[must_use]
    pub fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A publish whose sender and topic the door has checked: `device` is whose certificate it came with.
#[derive(Debug)]
pub struct Arrival {
    /// Whose.
    pub device: DeviceId,
    /// By which connection.
    pub connection: ConnectionId,
    /// The claim of a session that may only ask for a certificate; `device` is then that session's name.
    pub claim: Option<Claimant>,
    /// On which of the device's own topics.
    pub channel: Channel,
    /// The packet id at QoS 1; a resend has the same.
    pub packet_id: Option<u16>,
    /// Whether the device says that it sends this again (DUP).
    pub resent: bool,
    /// The content.
    pub payload: Bytes,
    /// Let go of when it is settled.
    pub ticket: Ticket,
}

/// What becomes of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is durably settled: PUBACK.
    Settled,
    /// It is not taken: PUBACK with a reason code under MQTT 5; under 3.1.1, which has none, the connection ends.
    Refused(RefusalCode),
}

/// MQTT 5 reason codes of PUBACK that we give (OASIS MQTT 5.0, table 3-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// 0x83
    ImplementationSpecific,
    /// 0x87
    NotAuthorized,
    /// 0x97
    QuotaExceeded,
    /// 0x99
    PayloadFormatInvalid,
}

/// The duty to answer a publish. Dropped without a verdict, the publish stays unanswered and the connection is closed,
/// so that the device sends it again.
pub struct Ticket(Option<oneshot::Sender<Verdict>>);

impl Ticket {
    /// A ticket, and where its verdict comes out.
    #[must_use]
    pub fn new() -> (Self, oneshot::Receiver<Verdict>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(sender)), receiver)
    }

    /// Nobody waits: QoS 0.
    #[must_use]
    pub fn unasked() -> Self {
        Self(None)
    }

    /// Gives the verdict. A connection that has ended meanwhile does not mind.
    pub fn settle(self, verdict: Verdict) {
        if let Some(sender) = self.0 {
            let _ = sender.send(verdict);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}

/// A way to write to a connected device.
#[derive(Clone, Debug)]
pub struct Link {
    /// Whose connection.
    pub device: DeviceId,
    /// Which.
    pub connection: ConnectionId,
    queue: Queue,
}

impl Link {
    /// A link with a queue of its own, and where what is sent through it comes out.
    #[must_use]
    pub fn new(device: DeviceId, connection: ConnectionId) -> (Self, Messages) {
        let (trunk, messages) = Trunk::new(LINK_DEPTH, LINK_BYTES_MAX);
        (trunk.link(device, connection), messages)
    }

    /// Sends `payload` at QoS 0 on the device's `channel` if the device has subscribed to it. Answers whether there
    /// was room.
    pub fn send(&self, channel: Channel, payload: Bytes) -> bool {
        self.send_all(channel, vec![payload])
    }

    /// As [`Link::send`] for each of `payloads`: there is room for all of them or for none.
    pub fn send_all(&self, channel: Channel, payloads: Vec<Bytes>) -> bool {
        self.queue.put(Topic::new(self.device.clone(), channel), payloads)
    }
}

/// One connection through which many devices are written to: all its links share one bounded queue.
#[derive(Clone, Debug)]
pub struct Trunk(Queue);

impl Trunk {
    /// A trunk in which `depth` messages may wait, or several that only make sense together, with some `bytes_max`; and
    /// where what is sent through its links comes out.
    #[must_use]
    pub fn new(depth: usize, bytes_max: usize) -> (Self, Messages) {
        let (sender, receiver) = mpsc::channel(depth);
        let waiting_bytes = Arc::<AtomicUsize>::default();
        let queue = Queue { sender, bytes_max, waiting_bytes: Arc::clone(&waiting_bytes) };
        (Self(queue), Messages { receiver, begun: None, waiting_bytes })
    }

    /// A way to write to `device`.
    #[must_use]
    pub fn link(&self, device: DeviceId, connection: ConnectionId) -> Link {
        Link { device, connection, queue: self.0.clone() }
    }
}

/// Messages that only make sense together, and where they go.
type Together = (Topic, Vec<Bytes>);

/// The near end of what waits to be written.
#[derive(Clone, Debug)]
struct Queue {
    sender: mpsc::Sender<Together>,
    bytes_max: usize,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Queue {
    /// Puts in all or nothing. Answers whether there was room.
    fn put(&self, topic: Topic, payloads: Vec<Bytes>) -> bool {
        let bytes = payloads.iter().map(Bytes::len).sum();
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = before == 0 || before.saturating_add(bytes) <= self.bytes_max;
        let is_sent = has_room && self.sender.try_send((topic, payloads)).is_ok();
        if !is_sent {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_sent
    }
}

/// Where what is sent through a [`Link`] comes out, one message at a time.
#[derive(Debug)]
pub struct Messages {
    receiver: mpsc::Receiver<Together>,
    /// The rest of what was sent together.
    begun: Option<(Topic, vec::IntoIter<Bytes>)>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Messages {
    /// The next message, to a device that is known; `None` once the link is gone. Cancel safe.
    pub async fn recv(&mut self) -> Option<(Channel, Bytes)> {
        self.recv_addressed().await.map(|(topic, payload)| (topic.channel, payload))
    }

    /// The next message and where it goes; `None` once all links are gone. Cancel safe.
    pub async fn recv_addressed(&mut self) -> Option<(Topic, Bytes)> {
        loop {
            if let Some(message) = self.next_begun() {
                return Some(message);
            }
            let (topic, payloads) = self.receiver.recv().await?;
            self.begun = Some((topic, payloads.into_iter()));
        }
    }

    /// The next message if there is one now.
    ///
    /// # Errors
    /// There is none yet, or the link is gone.
    pub fn try_recv(&mut self) -> Result<(Channel, Bytes), TryRecvError> {
        loop {
            if let Some((topic, payload)) = self.next_begun() {
                return Ok((topic.channel, payload));
            }
            let (topic, payloads) = self.receiver.try_recv()?;
            self.begun = Some((topic, payloads.into_iter()));
        }
    }

    /// Whether nothing waits now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty() && self.begun.as_ref().is_none_or(|(_, rest)| rest.len() == 0)
    }

    fn next_begun(&mut self) -> Option<(Topic, Bytes)> {
        let (topic, rest) = self.begun.as_mut()?;
        let payload = rest.next()?;
        self.waiting_bytes.fetch_sub(payload.len(), Ordering::Relaxed);
        Some((topic.clone(), payload))
    }
}

/// Where doors put events.
pub type Intake = mpsc::Sender<Event>;

/// The names a certificate gives, looked up once per connection.
pub type Identify = Arc<dyn Fn(&[u8]) -> Result<DeviceId, String> + Send + Sync>;
