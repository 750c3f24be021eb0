//! One device's MQTT session: what each packet and each verdict means. Bytes and waiting are elsewhere.

use std::io;

use bytes::{Bytes, BytesMut};
use mqtt_protocol_core::mqtt::result_code::DisconnectReasonCode;
use proto::{Channel, DeviceId, Topic};

use super::counters::Counters;
use super::held::PipelineGone;
use super::packet::{Packet, PacketError, Publish, Version};
use super::{Shared, denials, reply, rights};
use crate::enrol::Claimant;
use crate::ingest::acks::{Dropped, InFlight};
use crate::ingest::{Arrival, ConnectionId, RefusalCode, Ticket, Verdict};

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the device disconnected")]
    Left,
    #[error("the device disconnected and asked for its last will")]
    LeftWithWill,
    #[error("the device closed the connection without saying so")]
    Vanished,
    #[error("the connection failed: {0}")]
    Failed(io::Error),
    #[error("nothing was heard from the device for one and a half times its keep alive")]
    Silent,
    #[error("the device did not take what was written to it in time")]
    Slow,
    #[error("protocol error: {0}")]
    Packet(#[from] PacketError),
    #[error("the device published where it has no right to")]
    Denied,
    #[error("a publish was refused, which MQTT 3.1.1 cannot tell")]
    Refused,
    #[error("a publish could not be settled; the device will send it again")]
    Unsettled,
    #[error("a newer connection of the same device took over")]
    TakenOver,
    #[error("the connection was cut: the device's certificate has been revoked")]
    Revoked,
    #[error("the connection was cut by the gateway")]
    Cut,
    #[error("the gateway stops")]
    Stopping,
}

impl End {
    /// What MQTT 5 is told in DISCONNECT; nothing to a device that has gone itself.
    pub(super) fn reason(&self) -> Option<DisconnectReasonCode> {
        Some(match self {
            Self::Left | Self::LeftWithWill | Self::Vanished | Self::Failed(_) | Self::Slow => return None,
            Self::Silent => DisconnectReasonCode::KeepAliveTimeout,
            Self::Packet(error) => error.reason(),
            Self::Denied | Self::Revoked => DisconnectReasonCode::NotAuthorized,
            Self::Refused | Self::Unsettled => DisconnectReasonCode::UnspecifiedError,
            Self::TakenOver => DisconnectReasonCode::SessionTakenOver,
            Self::Cut => DisconnectReasonCode::AdministrativeAction,
            Self::Stopping => DisconnectReasonCode::ServerShuttingDown,
        })
    }

    /// Whether the last will holds. Not when the gateway stops: then the device did not fail, and a server may keep
    /// wills back (OASIS MQTT 5.0, section 3.1.2.5). Nor when the certificate is revoked: whoever has its key says nothing
    /// more in the device's name.
    pub(super) fn leaves_will(&self) -> bool {
        !matches!(self, Self::Left | Self::Stopping | Self::Revoked)
    }
}

impl From<PipelineGone> for End {
    fn from(_: PipelineGone) -> Self {
        Self::Stopping
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Self::Vanished,
            _ => Self::Failed(error),
        }
    }
}

/// The state of a connected device.
pub(super) struct Session {
    pub(super) device: DeviceId,
    pub(super) connection: ConnectionId,
    /// What sort of claim this is the session of, if it is one.
    claim: Option<Claimant>,
    pub(super) in_flight: InFlight,
    version: Version,
    packet_bytes_max: usize,
    subscribed: Vec<Channel>,
    /// A denial has been logged; the others are only counted, so that no device can fill a disk.
    denied: bool,
}

impl Session {
    pub(super) fn new(
        device: DeviceId,
        connection: ConnectionId,
        claim: Option<Claimant>,
        version: Version,
        packet_bytes_max: usize,
    ) -> Self {
        let (in_flight, subscribed) = (InFlight::default(), Vec::new());
        Self { device, connection, claim, in_flight, version, packet_bytes_max, subscribed, denied: false }
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Acts on a packet: answers go to `out`, and a publish for the pipeline comes back.
    pub(super) fn handle(
        &mut self,
        packet: Packet,
        shared: &Shared,
        out: &mut BytesMut,
    ) -> Result<Option<Arrival>, End> {
        match packet {
            Packet::Publish(publish) => return self.publish(publish, shared),
            Packet::Subscribe { packet_id, filters } => {
                let granted: Vec<_> = filters.iter().map(|filter| self.subscribe(filter, shared)).collect();
                reply::suback(self.version, packet_id, &granted, out);
            }
            Packet::Unsubscribe { packet_id, filters } => {
                let existed: Vec<_> = filters.iter().map(|filter| self.unsubscribe(filter)).collect();
                reply::unsuback(self.version, packet_id, &existed, out);
            }
            Packet::Ping => reply::pong(out),
            Packet::Disconnect { with_will: false } => return Err(End::Left),
            Packet::Disconnect { with_will: true } => return Err(End::LeftWithWill),
        }
        Ok(None)
    }

    /// The verdict on the oldest publish in flight, as [`InFlight`] gave it.
    pub(super) fn answer(&mut self, verdict: Result<(u16, Verdict), Dropped>, out: &mut BytesMut) -> Result<(), End> {
        let (packet_id, verdict) = verdict.map_err(|Dropped| End::Unsettled)?;
        if self.version == Version::V3 && verdict != Verdict::Settled {
            return Err(End::Refused);
        }
        reply::puback(self.version, packet_id, verdict, out);
        Ok(())
    }

    /// All verdicts that are there already and whose turn it is.
    pub(super) fn answer_ready(&mut self, out: &mut BytesMut) -> Result<(), End> {
        while let Some(verdict) = self.in_flight.ready().transpose() {
            self.answer(verdict, out)?;
        }
        Ok(())
    }

    /// A message to the device, written if it has subscribed and the message is not too large for it.
    pub(super) fn send(&self, channel: Channel, payload: &[u8], counters: &Counters, out: &mut BytesMut) {
        let topic = Topic::new(self.device.clone(), channel);
        let written = self.subscribed.contains(&channel)
            && reply::publish(self.version, &topic, payload, self.packet_bytes_max, out);
        if !written {
            counters.messages_skipped.add();
            tracing::debug!(device.id = %self.device, ?channel, "message not sent: not subscribed, or too large for it");
        }
    }

    /// The last will as it reaches the pipeline.
    pub(super) fn will(&self, payload: Bytes) -> Arrival {
        self.arrival(Channel::Status, None, false, payload, Ticket::unasked())
    }

    fn publish(&mut self, publish: Publish, shared: &Shared) -> Result<Option<Arrival>, End> {
        let Publish { topic, packet_id, dup, retain, payload } = publish;
        if packet_id.is_some_and(|id| self.in_flight.contains(id)) {
            // A resend is answered by the verdict on the first copy. Another message under an id that is in use could
            // be lost that way, so it ends the connection.
            let reused = PacketError::Protocol("a packet id that is still in use");
            return if dup { Ok(None) } else { Err(reused.into()) };
        }
        let Some(channel) = rights::publish(&self.device, &topic, retain) else {
            return self.deny(&topic, retain, packet_id, shared);
        };
        let ticket = match packet_id {
            None => Ticket::unasked(),
            Some(packet_id) => {
                let (ticket, verdict) = Ticket::new();
                self.in_flight.push(packet_id, verdict);
                ticket
            }
        };
        shared.counters.publishes.add();
        Ok(Some(self.arrival(channel, packet_id, dup, payload, ticket)))
    }

    fn deny(
        &mut self,
        topic: &str,
        retain: bool,
        packet_id: Option<u16>,
        shared: &Shared,
    ) -> Result<Option<Arrival>, End> {
        shared.counters.publishes_denied.add();
        denials::publish(shared, &self.device, topic, retain);
        self.warn_of_denial("publish");
        match (self.version, packet_id) {
            (Version::V5, Some(packet_id)) => {
                self.in_flight.push_over(packet_id, Verdict::Refused(RefusalCode::NotAuthorized));
                Ok(None)
            }
            _ => Err(End::Denied), // MQTT-3.3.5-2 of 3.1.1: close, or acknowledge what was not taken
        }
    }

    fn subscribe(&mut self, filter: &str, shared: &Shared) -> bool {
        let Some(channel) = rights::subscribe(&self.device, filter) else {
            shared.counters.subscriptions_denied.add();
            denials::subscription(shared, &self.device, filter);
            self.warn_of_denial("subscription");
            return false;
        };
        if !self.subscribed.contains(&channel) {
            self.subscribed.push(channel);
        }
        true
    }

    /// Once a connection. The topic may be another device's, so it stays out of the log.
    fn warn_of_denial(&mut self, what: &str) {
        if !self.denied {
            self.denied = true;
            let id = &self.device;
            tracing::warn!(
                device.id = %id,
                "{what} denied: trib/1/{id}/ and one of its channels is all that is open to it, each in one direction, \
                 without wildcards; only its status may be retained"
            );
        }
    }

    fn unsubscribe(&mut self, filter: &str) -> bool {
        let before = self.subscribed.len();
        if let Some(channel) = rights::subscribe(&self.device, filter) {
            self.subscribed.retain(|subscribed| *subscribed != channel);
        }
        self.subscribed.len() < before
    }

    fn arrival(
        &self,
        channel: Channel,
        packet_id: Option<u16>,
        resent: bool,
        payload: Bytes,
        ticket: Ticket,
    ) -> Arrival {
        Arrival {
            device: self.device.clone(),
            connection: self.connection,
            claim: self.claim.clone(),
            channel,
            packet_id,
            resent,
            payload,
            ticket,
        }
    }
}
