//! From a device's publish to its receipt: a door, then one pipeline.
//!
//! The [`listener`] ends the device's own MQTT connection and hands on [`Event`]s. The pipeline judges what came,
//! records it in one transaction, and only then lets go of the [`Ticket`] (which makes the PUBACK) and sends a receipt
//! through the [`Link`].

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use proto::{Channel, DeviceId};
use tokio::sync::{mpsc, oneshot};

pub mod judge;
pub mod listener;
pub mod pipeline;
pub mod receipt;
pub mod record;
pub mod totals;

/// Messages that wait to be written to one device. Receipts are state, so one that finds no room may be dropped.
/// A hello of 64 epochs is answered by as many, and more where an epoch has many ranges.
pub const LINK_DEPTH: usize = 256;

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
    sender: mpsc::Sender<(Channel, Bytes)>,
}

impl Link {
    /// A link, and where what is sent through it comes out.
    #[must_use]
    pub fn new(device: DeviceId, connection: ConnectionId) -> (Self, mpsc::Receiver<(Channel, Bytes)>) {
        let (sender, receiver) = mpsc::channel(LINK_DEPTH);
        (Self { device, connection, sender }, receiver)
    }

    /// Sends `payload` at QoS 0 on the device's `channel` if the device has subscribed to it. Answers whether there
    /// was room.
    pub fn send(&self, channel: Channel, payload: Bytes) -> bool {
        self.sender.try_send((channel, payload)).is_ok()
    }
}

/// Where doors put events.
pub type Intake = mpsc::Sender<Event>;

/// The names a certificate gives, looked up once per connection.
pub type Identify = Arc<dyn Fn(&[u8]) -> Result<DeviceId, String> + Send + Sync>;
