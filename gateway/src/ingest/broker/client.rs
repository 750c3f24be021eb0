//! The seam around rumqttc, so that the client can be exchanged.
//!
//! Each connection gets a client of its own. The client's event loop has a task to itself, which never waits for room
//! on the way out: its `poll` is not safe to cancel, and must go on for the pings to go on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::topic::Direction;
use proto::{Channel, Topic};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, EventLoop, MqttOptions, Outgoing, Packet, Publish, QoS,
    StateError, SubAck, SubscribeFilter, SubscribeReasonCode, TlsConfiguration, Transport,
};
use rustls::ClientConfig;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::task::JoinHandle;

use super::settings::Settings;

/// Acknowledgements and messages that the client holds and has not written yet.
const REQUESTS_MAX: usize = 256;
/// The subscription and the farewell find room beside them.
const REQUESTS_OF_ITS_OWN: usize = 2;
/// Deliveries on their way to the session, which takes them at once.
const ARRIVALS_MAX: usize = 64;

/// What a connection tells.
#[derive(Debug)]
pub(super) enum Arrival {
    /// The broker has let us in.
    Greeted {
        /// Whether it has kept our session.
        session_present: bool,
    },
    /// The subscriptions stand.
    Up,
    /// A message came.
    Message(Delivery),
    /// The connection ended, and why.
    Down(String),
}

/// A message from the broker.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) topic: String,
    /// The broker's id for it on this connection; none at QoS 0.
    pub(super) packet_id: Option<u16>,
    /// The broker says that it delivers this again.
    pub(super) again: bool,
    pub(super) payload: Bytes,
}

/// How to make a connection.
pub(super) struct Dialling<'a> {
    pub(super) settings: &'a Settings,
    pub(super) client_id: &'a str,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) password: Option<String>,
}

/// What comes by one connection, from dialling to its end.
pub(super) struct Inlet {
    arrivals: mpsc::Receiver<Arrival>,
    pump: JoinHandle<()>,
}

/// What goes out by the same connection and by no other.
pub(super) struct Outlet {
    client: AsyncClient,
    room: Arc<Semaphore>,
}

/// Begins to connect.
pub(super) fn dial(dialling: Dialling<'_>) -> (Inlet, Outlet) {
    let Dialling { settings, client_id, tls, password } = dialling;
    let mut options = MqttOptions::new(client_id, &settings.host, settings.port);
    options
        .set_keep_alive(settings.keep_alive)
        .set_clean_session(false) // what waits for us while we are away must not be lost with our absence
        .set_manual_acks(true)
        .set_max_packet_size(settings.packet_bytes_max, settings.packet_bytes_max)
        .set_transport(tls.map_or(Transport::Tcp, |tls| Transport::Tls(TlsConfiguration::Rustls(tls))));
    if let Some(login) = &settings.login {
        options.set_credentials(&login.username, password.unwrap_or_default());
    }
    let (client, mut event_loop) = AsyncClient::new(options, REQUESTS_MAX + REQUESTS_OF_ITS_OWN);
    event_loop.network_options.set_connection_timeout(settings.network_deadline.as_secs().max(1));
    event_loop.network_options.set_tcp_nodelay(true);
    let (sender, arrivals) = mpsc::channel(ARRIVALS_MAX);
    let room = Arc::new(Semaphore::new(REQUESTS_MAX));
    let pump =
        Pump { client: client.clone(), group: settings.group.clone(), room: Arc::clone(&room), arrivals: sender };
    let pump = tokio::spawn(pump.run(event_loop));
    (Inlet { arrivals, pump }, Outlet { client, room })
}

impl Inlet {
    /// What happens next. After [`Arrival::Down`] nothing more does. Cancel safe.
    pub(super) async fn next(&mut self) -> Arrival {
        self.arrivals.recv().await.unwrap_or_else(|| Arrival::Down("the connection's task has ended".to_owned()))
    }

    /// Takes leave of the broker, which goes on keeping our session: once what was sent is out, or after `grace`.
    pub(super) async fn leave(mut self, outlet: &Outlet, grace: Duration) {
        if outlet.client.try_disconnect().is_ok() {
            let gone = async { while !matches!(self.next().await, Arrival::Down(_)) {} };
            let _ = tokio::time::timeout(grace, gone).await;
        }
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Outlet {
    /// Waits until the client takes one more. Cancel safe. Once the connection has ended there may never be room.
    pub(super) async fn room(&self) -> SemaphorePermit<'_> {
        match self.room.acquire().await {
            Ok(room) => room,
            Err(_closed) => std::future::pending().await,
        }
    }

    /// Acknowledges a message of this connection.
    pub(super) fn acknowledge(&self, room: SemaphorePermit<'_>, packet_id: u16) {
        let mut publish = Publish::new("", QoS::AtLeastOnce, Bytes::new());
        publish.pkid = packet_id;
        // It fails when the connection has ended, which the inlet tells.
        if self.client.try_ack(&publish).is_ok() {
            room.forget(); // the pump gives it back once it is written
        }
    }

    /// Publishes at QoS 0: receipts are state, and the device asks again.
    pub(super) fn publish(&self, room: SemaphorePermit<'_>, topic: &Topic, payload: Bytes) {
        if self.client.try_publish(topic.to_string(), QoS::AtMostOnce, false, payload).is_ok() {
            room.forget();
        }
    }
}

/// What all devices publish on, shared among the gateways of `group`.
pub(super) fn filters(group: &str) -> Vec<String> {
    let up = Channel::ALL.into_iter().filter(|channel| channel.direction() == Direction::Up);
    up.map(|channel| format!("$share/{group}/{}", Topic::filter_of_all(channel))).collect()
}

/// Polls the client until the connection ends. Never polls again after an error: that would dial anew by itself.
struct Pump {
    client: AsyncClient,
    group: String,
    room: Arc<Semaphore>,
    arrivals: mpsc::Sender<Arrival>,
}

impl Pump {
    async fn run(self, mut event_loop: EventLoop) {
        loop {
            let arrival = match event_loop.poll().await {
                Ok(rumqttc::Event::Incoming(packet)) => self.incoming(packet),
                Ok(rumqttc::Event::Outgoing(Outgoing::PubAck(_) | Outgoing::Publish(_))) => {
                    self.room.add_permits(1);
                    None
                }
                Ok(rumqttc::Event::Outgoing(Outgoing::Disconnect)) => Some(Arrival::Down("took leave".to_owned())),
                Ok(rumqttc::Event::Outgoing(_)) => None,
                Err(error) => Some(Arrival::Down(explain(&error))),
            };
            let Some(arrival) = arrival else { continue };
            let ends = matches!(arrival, Arrival::Down(_));
            if self.arrivals.send(arrival).await.is_err() || ends {
                return;
            }
        }
    }

    fn incoming(&self, packet: Packet) -> Option<Arrival> {
        match packet {
            Packet::ConnAck(ack) => {
                // On each connection, whatever the broker says that it kept: it may have kept less.
                let wanted = filters(&self.group).into_iter().map(|path| SubscribeFilter::new(path, QoS::AtLeastOnce));
                match self.client.try_subscribe_many(wanted) {
                    Ok(()) => Some(Arrival::Greeted { session_present: ack.session_present }),
                    Err(error) => Some(Arrival::Down(format!("cannot subscribe: {error}"))),
                }
            }
            Packet::SubAck(ack) => Some(self.subscribed(&ack)),
            Packet::Publish(Publish { qos: QoS::ExactlyOnce, .. }) => {
                Some(Arrival::Down("the broker delivers at QoS 2, which nobody asked for".to_owned()))
            }
            Packet::Publish(Publish { dup, qos, topic, pkid, payload, .. }) => {
                let packet_id = (qos == QoS::AtLeastOnce).then_some(pkid);
                Some(Arrival::Message(Delivery { topic, packet_id, again: dup, payload }))
            }
            _ => None,
        }
    }

    fn subscribed(&self, ack: &SubAck) -> Arrival {
        let filters = filters(&self.group);
        let granted = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(QoS::AtLeastOnce));
        if ack.return_codes.len() == filters.len() && ack.return_codes.iter().all(granted) {
            return Arrival::Up;
        }
        let refused = filters.iter().zip(&ack.return_codes).filter(|(_, code)| !granted(code));
        let names: Vec<&str> = refused.map(|(filter, _)| filter.as_str()).collect();
        Arrival::Down(format!(
            "the broker does not grant QoS 1 on {}; let this gateway's user read trib/1/+/#, and check that the broker \
             has shared subscriptions",
            names.join(", ")
        ))
    }
}

/// An error of the client, in words that say what to do where we know it.
pub(super) fn explain(error: &ConnectionError) -> String {
    use ConnectReturnCode::{BadUserNamePassword, NotAuthorized};
    match error {
        ConnectionError::ConnectionRefused(code @ (NotAuthorized | BadUserNamePassword)) => {
            format!("the broker lets this gateway not in ({code:?}); does it know its certificate or user name?")
        }
        ConnectionError::NetworkTimeout => "no answer from the broker; is the address right?".to_owned(),
        ConnectionError::MqttState(StateError::ConnectionAborted) => {
            "the broker closed the connection; if it does so again and again, another client may have this client id"
                .to_owned()
        }
        ConnectionError::MqttState(StateError::Deserialization(
            rumqttc::mqttbytes::Error::PayloadSizeLimitExceeded(bytes),
        )) => format!(
            "the broker delivers a packet of {bytes} bytes, larger than any of ours; bound what it takes \
             (Mosquitto: max_packet_size 133120), and remove that message"
        ),
        other => other.to_string(),
    }
}
