//! The shell around rumqttc: one small seam, so that the client can be exchanged.
//!
//! Each connection gets a client of its own, so that no state of a lost one leaks into the next. The client's event
//! loop has a task to itself, because its `poll` is not safe to cancel and must not wait for us; where that runs, says
//! [`Place`].

use std::time::Duration;

use proto::message::{Presence, Status};
use proto::{Channel, DeviceId, FRAME_BYTES_MAX, Topic};
use rumqttc::{
    AsyncClient, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS, SubscribeFilter, SubscribeReasonCode,
    TlsConfiguration, Transport,
};
use tokio::sync::mpsc;

use super::NETWORK_DEADLINE;
use super::place::Place;
use super::reason::Reason;
use crate::identity::Tls;

/// What the kernel may hold of what is sent (it takes twice as much, its bookkeeping included). Little, so that bytes
/// that were flushed have left soon, even at 2G's 20 kbit/s, and the session can tell a slow link from a dead one. It
/// still lets through some 500 KiB/s over a round trip of 100 ms. More than the 64 KiB of loopback's largest segment
/// with its bookkeeping: where only one segment fits, each waits 40 ms for an acknowledgement that the other end delays
/// until it has two.
const SEND_BUFFER_BYTES: u32 = 40 * 1024;
/// Frames that may wait for the client at once: the largest window.
pub const FRAMES_MAX: usize = 32;
/// Requests that wait for the client. More than the window's frames, the notices of gaps and hellos together, so that a
/// publish always finds room.
const REQUESTS_MAX: usize = 64;
/// rumqttc wants in-flight ids of its own; twice our window keeps its ids from ever colliding.
const INFLIGHT: u16 = 100;
/// Topic, packet id and header around the largest frame.
const PACKET_BYTES_MAX: usize = FRAME_BYTES_MAX + 1024;
/// Arrivals that wait for the session.
const ARRIVALS_MAX: usize = 64;

/// What a connection tells.
#[derive(Debug)]
pub enum Arrival {
    /// It stands, and receipts will arrive.
    Up,
    /// A message came.
    Message(Channel, Vec<u8>),
    /// Something came that tells nothing but that the other end lives.
    Heard,
    /// The oldest publish that had not left this program has left it.
    Left,
    /// The other end acknowledged a publish, which frees nothing: only a seeded bug listens.
    #[cfg(feature = "seeded-bugs")]
    Acknowledged,
    /// It ended, or did not come to stand.
    Down(Reason),
}

impl Arrival {
    fn down(why: &str) -> Self {
        Self::Down(Reason::of(why))
    }
}

/// One connection to the gateway, from dialling to its end.
pub struct Connection {
    client: AsyncClient,
    device: DeviceId,
    arrivals: mpsc::Receiver<Arrival>,
    pump: Place,
}

/// The connection cannot take more: it has ended, or its queue is full, which the session's window rules out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection takes no more")]
pub struct NotSent;

impl Connection {
    /// Begins to connect; [`Arrival::Up`] or [`Arrival::Down`] tells how it went. Without traffic the client pings
    /// every `keep_alive`, which is at least a second.
    #[must_use]
    pub fn dial(device: &DeviceId, host: &str, port: u16, tls: Tls, keep_alive: Duration) -> Self {
        let mut options = MqttOptions::new(device.as_str(), host, port);
        options
            .set_keep_alive(keep_alive)
            .set_clean_session(true) // what counts is in the buffer, not in the session
            .set_inflight(INFLIGHT)
            .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX)
            .set_last_will(LastWill::new(
                Topic::new(device.clone(), Channel::Status).to_string(),
                status(Presence::Lost),
                QoS::AtLeastOnce,
                true,
            ));
        let (client, mut event_loop) = AsyncClient::new(options, REQUESTS_MAX);
        event_loop.network_options.set_connection_timeout(NETWORK_DEADLINE.as_secs());
        event_loop.network_options.set_tcp_send_buffer_size(SEND_BUFFER_BYTES);
        // Packets are written whole: to hold back the last piece until the others are acknowledged only delays it.
        event_loop.network_options.set_tcp_nodelay(true);
        let (sender, arrivals) = mpsc::channel(ARRIVALS_MAX);
        let waits = tls.waits();
        let pump = pump(event_loop, tls, client.clone(), device.clone(), sender);
        Self { client, device: device.clone(), arrivals, pump: Place::new(waits, "connection", pump) }
    }

    /// What happens next. After [`Arrival::Down`] nothing more does.
    pub async fn next(&mut self) -> Arrival {
        self.arrivals.recv().await.unwrap_or_else(|| Arrival::down("the connection's task has ended"))
    }

    /// Queues `payload` at QoS 1 on the device's own `channel`.
    ///
    /// # Errors
    /// [`NotSent`] when the connection takes no more.
    pub fn publish(&self, channel: Channel, payload: Vec<u8>) -> Result<(), NotSent> {
        let topic = Topic::new(self.device.clone(), channel).to_string();
        let retain = channel == Channel::Status;
        self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload).map_err(|_| NotSent)
    }

    /// Takes leave: says so on `status`, and ends the connection once that is out, or after `grace`.
    pub async fn leave(self, grace: Duration) {
        let said = self.publish(Channel::Status, status(Presence::Offline));
        if said.is_ok() && self.client.try_disconnect().is_ok() {
            let _ = tokio::time::timeout(grace, self.pump.over()).await;
        }
    }
}

fn status(presence: Presence) -> Vec<u8> {
    Status { presence, at: None, agent: env!("CARGO_PKG_VERSION").to_owned() }.encode()
}

/// Polls the client until the connection ends. Never polls again after an error: that would dial anew by itself.
async fn pump(
    mut event_loop: EventLoop,
    tls: Tls,
    client: AsyncClient,
    device: DeviceId,
    arrivals: mpsc::Sender<Arrival>,
) {
    match tls.config().await {
        Ok(config) => event_loop.mqtt_options.set_transport(Transport::Tls(TlsConfiguration::Rustls(config))),
        Err(error) => return drop(arrivals.send(Arrival::down(&error.to_string())).await),
    };
    let (mut is_greeting, mut is_up) = (true, false); // the first publish is the client's own
    loop {
        let arrival = match event_loop.poll().await {
            Ok(rumqttc::Event::Incoming(packet)) => incoming(packet, &client, &device),
            Ok(rumqttc::Event::Outgoing(Outgoing::Disconnect)) => Some(Arrival::down("took leave")),
            // The client says so once it has flushed, or has come back from another's flush.
            Ok(rumqttc::Event::Outgoing(Outgoing::Publish(_))) => {
                (!std::mem::take(&mut is_greeting)).then_some(Arrival::Left)
            }
            Ok(rumqttc::Event::Outgoing(_)) => None,
            Err(error) => {
                let (host, port) = event_loop.mqtt_options.broker_address();
                Some(Arrival::Down(Reason::new(&error, &host, port)))
            }
        };
        let Some(arrival) = arrival else { continue };
        is_up |= matches!(arrival, Arrival::Up);
        if matches!(arrival, Arrival::Heard) && !is_up {
            continue;
        }
        let ends = matches!(arrival, Arrival::Down(_));
        if arrivals.send(arrival).await.is_err() || ends {
            return;
        }
    }
}

fn incoming(packet: Packet, client: &AsyncClient, device: &DeviceId) -> Option<Arrival> {
    match packet {
        Packet::ConnAck(_) => {
            let filters = [Channel::Receipt, Channel::EnrolAnswer]
                .map(|channel| SubscribeFilter::new(Topic::new(device.clone(), channel).to_string(), QoS::AtMostOnce));
            let asked = client.try_subscribe_many(filters).is_ok();
            let greeted = client.try_publish(
                Topic::new(device.clone(), Channel::Status).to_string(),
                QoS::AtLeastOnce,
                true,
                status(Presence::Online),
            );
            (!asked || greeted.is_err()).then(|| Arrival::down("the client takes no requests"))
        }
        // A broker need not know of certificates that are issued here.
        Packet::SubAck(ack) if ack.return_codes.first().is_some_and(|code| *code != SubscribeReasonCode::Failure) => {
            Some(Arrival::Up)
        }
        Packet::SubAck(_) => Some(Arrival::down("the gateway lets this device read no receipts")),
        Packet::Publish(publish) => {
            let topic: Topic = publish.topic.parse().ok()?;
            (topic.device == *device).then(|| Arrival::Message(topic.channel, publish.payload.into()))
        }
        #[cfg(feature = "seeded-bugs")]
        Packet::PubAck(_) if crate::seeded::Bug::FreeOnPuback.is_on() => Some(Arrival::Acknowledged),
        Packet::Disconnect => Some(Arrival::down("the gateway closed the connection")),
        _ => Some(Arrival::Heard),
    }
}
