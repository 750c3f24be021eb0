//! What a delivered message means: an event for the pipeline, and an acknowledgement that is owed in its turn.
//!
//! [`Session`] is of one connection and ends with it. [`Door`] lasts: who is there, and what has not found room in the
//! pipeline yet.

use std::collections::VecDeque;
use std::sync::Arc;

use proto::message::{Presence, Status};
use proto::{Channel, DeviceId, Topic};

use super::client::Delivery;
use super::counters::Counters;
use super::devices::Devices;
use super::settings::Settings;
use crate::ingest::acks::{Dropped, InFlight};
use crate::ingest::{Arrival, ConnectionId, Event, Ticket, Trunk, Verdict};

/// Why a connection to the broker ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was lost, or could not be made.
    Down(String),
    /// The pipeline let a message go without a verdict: the broker must deliver it again.
    Unsettled,
    /// The broker sends more than it may.
    Overrun {
        /// Messages that wait.
        messages: usize,
        /// Bytes that wait.
        bytes: usize,
    },
    /// The broker breaks the protocol.
    Protocol(&'static str),
    /// The gateway stops.
    Stopping,
    /// The pipeline has ended.
    PipelineGone,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Down(reason) => f.write_str(reason),
            Self::Unsettled => f.write_str("a message was left without a verdict; the broker delivers it again"),
            Self::Overrun { messages, bytes } => write!(
                f,
                "the broker sends on while {messages} messages of {bytes} bytes are not acknowledged; bound what it \
                 has in flight (Mosquitto: max_inflight_messages, max_inflight_bytes) or raise broker.window_*"
            ),
            Self::Protocol(what) => write!(f, "the broker breaks the protocol: {what}"),
            Self::Stopping => f.write_str("the gateway stops"),
            Self::PipelineGone => f.write_str("the pipeline has ended"),
        }
    }
}

/// What waits for room in the pipeline, and the bytes that it gives back once it has found it.
struct Waiting {
    event: Event,
    bytes: usize,
}

/// What lasts from one connection to the next.
pub(super) struct Door {
    pub(super) counters: Arc<Counters>,
    devices: Devices,
    trunk: Trunk,
    waiting: VecDeque<Waiting>,
}

impl Door {
    pub(super) fn new(trunk: Trunk, devices_max: usize, counters: Arc<Counters>) -> Self {
        Self { counters, devices: Devices::new(devices_max), trunk, waiting: VecDeque::new() }
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A connection has ended: what was not handed on is not ours, and will be delivered again. That devices came and
    /// went stays to be told.
    pub(super) fn disown(&mut self) {
        self.waiting.retain(|waiting| !matches!(waiting.event, Event::Arrived(_)));
    }

    /// Who came and went has been missed: nobody is known to be there any more.
    pub(super) fn close_all(&mut self) {
        for (device, connection) in self.devices.close_all() {
            self.closed(device, connection, "the broker keeps no session of this gateway's");
        }
    }

    /// The connection by which `device` is heard, which is opened if there is none.
    fn hear(&mut self, device: &DeviceId) -> ConnectionId {
        if let Some(connection) = self.devices.hear(device) {
            return connection;
        }
        let (connection, gone) = self.devices.open(device.clone());
        if let Some((device, connection)) = gone {
            self.closed(device, connection, "silent for longer than any other device");
        }
        self.counters.devices_open.add();
        let link = self.trunk.link(device.clone(), connection);
        self.waiting.push_back(Waiting { event: Event::Opened(link), bytes: 0 });
        connection
    }

    fn leave(&mut self, device: &DeviceId, reason: &str) {
        if let Some(connection) = self.devices.close(device) {
            self.closed(device.clone(), connection, reason);
        }
    }

    fn closed(&mut self, device: DeviceId, connection: ConnectionId, reason: &str) {
        self.counters.devices_open.sub();
        let event = Event::Closed { device, connection, reason: reason.to_owned() };
        self.waiting.push_back(Waiting { event, bytes: 0 });
    }
}

/// What one connection owes the broker.
#[derive(Default)]
pub(super) struct Session {
    in_flight: InFlight,
    /// The bytes of each message in flight, in the same order.
    sizes: VecDeque<usize>,
    bytes: usize,
}

impl Session {
    /// Whether all that was taken in is acknowledged.
    pub(super) fn is_settled(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Takes in a message.
    pub(super) fn take(&mut self, delivery: Delivery, door: &mut Door, settings: &Settings) -> Result<(), End> {
        let Delivery { topic, packet_id, again, payload } = delivery;
        door.counters.messages.add();
        if again {
            door.counters.messages_again.add();
        }
        if packet_id.is_some_and(|id| self.in_flight.contains(id)) {
            // Some brokers do not wait for another connection to send again. The first copy's verdict answers both.
            return if again { Ok(()) } else { Err(End::Protocol("a packet id that is still in use")) };
        }
        let bytes = payload.len();
        let fits = self.bytes.saturating_add(bytes) <= settings.window_bytes;
        let Ok(topic) = topic.parse::<Topic>() else { return self.refuse(packet_id, "no device's topic", door) };
        if bytes > settings.message_bytes_max {
            return self.refuse(packet_id, "larger than any frame", door);
        }
        let ticket = match packet_id {
            Some(_) if !fits || self.in_flight.len() >= settings.window_messages => {
                return Err(End::Overrun { messages: self.in_flight.len(), bytes: self.bytes });
            }
            None if !fits || door.waiting.len() >= settings.window_messages => {
                door.counters.messages_dropped.add();
                return Ok(());
            }
            None => Ticket::unasked(),
            Some(packet_id) => {
                let (ticket, verdict) = Ticket::new();
                self.in_flight.push(packet_id, verdict);
                self.sizes.push_back(bytes);
                ticket
            }
        };
        self.bytes += bytes;
        let presence = if topic.channel == Channel::Status { presence(&payload) } else { None };
        if presence == Some(Presence::Online) && !again {
            door.leave(&topic.device, "a newer connection of this device");
        }
        let heard = door.hear(&topic.device);
        // A hello that was under way before is older than what we know by now.
        let connection = if again { ConnectionId::PAST } else { heard };
        let arrival = Arrival {
            claim: None,
            device: topic.device.clone(),
            connection,
            channel: topic.channel,
            // They are the broker's, and say nothing of what the device sends again.
            packet_id: None,
            resent: false,
            payload,
            ticket,
        };
        let given_back = if packet_id.is_none() { bytes } else { 0 };
        door.waiting.push_back(Waiting { event: Event::Arrived(arrival), bytes: given_back });
        if matches!(presence, Some(Presence::Offline | Presence::Lost)) {
            door.leave(&topic.device, "the device left the broker");
        }
        Ok(())
    }

    /// What is nobody's is acknowledged in its turn, or else it would come for ever.
    fn refuse(&mut self, packet_id: Option<u16>, why: &str, door: &Door) -> Result<(), End> {
        door.counters.messages_strange.add();
        tracing::debug!(why, "a message was acknowledged and dropped");
        if let Some(packet_id) = packet_id {
            self.in_flight.push_over(packet_id, Verdict::Settled);
            self.sizes.push_back(0);
        }
        Ok(())
    }

    /// The next event for the pipeline, which has room for it.
    pub(super) fn hand_on(&mut self, door: &mut Door) -> Option<Event> {
        let Waiting { event, bytes } = door.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(event)
    }

    /// The id that is to be acknowledged next, once its message has its verdict. Cancel safe.
    pub(super) async fn settled(&mut self, counters: &Counters) -> Result<u16, End> {
        let settled = self.in_flight.next().await;
        let bytes = self.sizes.pop_front().unwrap_or(0);
        self.bytes = self.bytes.saturating_sub(bytes);
        let (packet_id, verdict) = settled.map_err(|Dropped| End::Unsettled)?;
        if verdict != Verdict::Settled {
            // MQTT 3.1.1 has no word for it. Not acknowledged, it would block all that comes after it.
            counters.messages_refused.add();
        }
        Ok(packet_id)
    }
}

fn presence(payload: &[u8]) -> Option<Presence> {
    Status::decode(payload).ok().map(|status| status.presence)
}
