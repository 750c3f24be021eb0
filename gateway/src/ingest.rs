//! From a device's publish to its receipt: a door, then one pipeline.
//!
//! The [`listener`] ends the device's own MQTT connection and hands on [`Event`]s. The pipeline judges what came,
//! records it in one transaction, and only then lets go of the [`Ticket`] (which makes the PUBACK) and sends a receipt
//! through the [`Link`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::vec;

use bytes::Bytes;
use proto::{Channel, DeviceId};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

pub mod judge;
pub mod listener;
pub mod pipeline;
pub mod receipt;
pub mod record;
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
    /// Connections of one device take over from each other again and again, each while the other lives.
    Contested {
        /// Whose.
        device: DeviceId,
    },
}

/// One connection among all of this process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A publish whose sender and topic the door has checked: `device` is whose certificate it came with.
#[derive(Debug)]
pub struct Arrival {
    /// Whose.
    pub device: DeviceId,
    /// By which connection.
    pub connection: ConnectionId,
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
    sender: mpsc::Sender<(Channel, Vec<Bytes>)>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Link {
    /// A link, and where what is sent through it comes out.
    #[must_use]
    pub fn new(device: DeviceId, connection: ConnectionId) -> (Self, Messages) {
        let (sender, receiver) = mpsc::channel(LINK_DEPTH);
        let waiting_bytes = Arc::<AtomicUsize>::default();
        let messages = Messages {
            receiver,
            begun: (Channel::Receipt, vec![].into_iter()),
            waiting_bytes: Arc::clone(&waiting_bytes),
        };
        (Self { device, connection, sender, waiting_bytes }, messages)
    }

    /// Sends `payload` at QoS 0 on the device's `channel` if the device has subscribed to it. Answers whether there
    /// was room.
    pub fn send(&self, channel: Channel, payload: Bytes) -> bool {
        self.send_all(channel, vec![payload])
    }

    /// As [`Link::send`] for each of `payloads`: there is room for all of them or for none.
    pub fn send_all(&self, channel: Channel, payloads: Vec<Bytes>) -> bool {
        let bytes = payloads.iter().map(Bytes::len).sum();
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = before == 0 || before.saturating_add(bytes) <= LINK_BYTES_MAX;
        let is_sent = has_room && self.sender.try_send((channel, payloads)).is_ok();
        if !is_sent {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_sent
    }
}

/// Where what is sent through a [`Link`] comes out, one message at a time.
#[derive(Debug)]
pub struct Messages {
    receiver: mpsc::Receiver<(Channel, Vec<Bytes>)>,
    /// The rest of what was sent together.
    begun: (Channel, vec::IntoIter<Bytes>),
    waiting_bytes: Arc<AtomicUsize>,
}

impl Messages {
    /// The next message; `None` once the link is gone. Cancel safe.
    pub async fn recv(&mut self) -> Option<(Channel, Bytes)> {
        loop {
            if let Some(message) = self.next_begun() {
                return Some(message);
            }
            let (channel, payloads) = self.receiver.recv().await?;
            self.begun = (channel, payloads.into_iter());
        }
    }

    /// The next message if there is one now.
    ///
    /// # Errors
    /// There is none yet, or the link is gone.
    pub fn try_recv(&mut self) -> Result<(Channel, Bytes), TryRecvError> {
        loop {
            if let Some(message) = self.next_begun() {
                return Ok(message);
            }
            let (channel, payloads) = self.receiver.try_recv()?;
            self.begun = (channel, payloads.into_iter());
        }
    }

    fn next_begun(&mut self) -> Option<(Channel, Bytes)> {
        let (channel, rest) = &mut self.begun;
        let payload = rest.next()?;
        self.waiting_bytes.fetch_sub(payload.len(), Ordering::Relaxed);
        Some((*channel, payload))
    }
}

/// Where doors put events.
pub type Intake = mpsc::Sender<Event>;

/// The names a certificate gives, looked up once per connection.
pub type Identify = Arc<dyn Fn(&[u8]) -> Result<DeviceId, String> + Send + Sync>;
