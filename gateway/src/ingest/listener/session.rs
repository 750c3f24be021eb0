//! One device's MQTT session: what each packet and each verdict means. Bytes and waiting are elsewhere.

use bytes::{Bytes, BytesMut};
use proto::{Channel, DeviceId, Topic};

use super::connect::Terms;
use super::counters::Counters;
use super::end::End;
use super::packet::{Packet, PacketError, Publish, Version};
use super::{Shared, denials, reply, rights};
use crate::enrol::Claimant;
use crate::ingest::acks::{Dropped, InFlight};
use crate::ingest::{Arrival, ConnectionId, RefusalCode, Ticket, Verdict};

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
    /// CONNECT has asked for a session that outlives the connection.
    outlives: bool,
    /// A denial has been logged; the others are only counted, so that no device can fill a disk.
    denied: bool,
    /// The same of having been over the quota.
    over_quota: bool,
}

impl Session {
    pub(super) fn new(device: DeviceId, connection: ConnectionId, claim: Option<Claimant>, terms: &Terms) -> Self {
        Self {
            device,
            connection,
            claim,
            in_flight: InFlight::default(),
            version: terms.version,
            packet_bytes_max: terms.packet_bytes_max,
            subscribed: Vec::new(),
            outlives: terms.session_expiry,
            denied: false,
            over_quota: false,
        }
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Acts on a packet, which is within the device's quota or not: answers go to `out`, and a publish for the pipeline
    /// comes back.
    pub(super) fn handle(
        &mut self,
        packet: Packet,
        is_within: bool,
        shared: &Shared,
        out: &mut BytesMut,
    ) -> Result<Option<Arrival>, End> {
        match packet {
            Packet::Publish(publish) => return self.publish(publish, is_within, shared),
            Packet::Subscribe { packet_id, filters } => {
                let granted: Vec<_> = filters.iter().map(|filter| self.subscribe(filter, shared)).collect();
                reply::suback(self.version, packet_id, &granted, out);
            }
            Packet::Unsubscribe { packet_id, filters } => {
                let existed: Vec<_> = filters.iter().map(|filter| self.unsubscribe(filter)).collect();
                reply::unsuback(self.version, packet_id, &existed, out);
            }
            Packet::Ping => reply::pong(out),
            // OASIS MQTT 5.0, section 3.14.2.2.2
            Packet::Disconnect { prolongs: true, .. } if !self.outlives => {
                return Err(PacketError::Protocol("a session that is prolonged when it ends").into());
            }
            Packet::Disconnect { with_will: false, .. } => return Err(End::Left),
            Packet::Disconnect { with_will: true, .. } => return Err(End::LeftWithWill),
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

    fn publish(&mut self, publish: Publish, is_within: bool, shared: &Shared) -> Result<Option<Arrival>, End> {
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
        if let Some(packet_id) = packet_id.filter(|_| !is_within) {
            shared.counters.publishes_over_quota.add();
            self.is_over_quota(shared);
            self.in_flight.push_over(packet_id, Verdict::Refused(RefusalCode::QuotaExceeded));
            return Ok(None);
        }
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

    /// The device is not read from for a while.
    pub(super) fn is_paused(&mut self, shared: &Shared) {
        shared.counters.quota_pauses.add();
        self.is_over_quota(shared);
    }

    /// In the audit trail each time, which counts; in the log once a connection.
    fn is_over_quota(&mut self, shared: &Shared) {
        denials::quota(shared, &self.device);
        if !self.over_quota {
            self.over_quota = true;
            tracing::warn!(
                device.id = %self.device,
                "it sends more a second than one device may; what is too much is refused or waits:                  `device_publishes_per_s_max` and `device_bytes_per_s_max` say how much"
            );
        }
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
