//! A listener with its events at hand, and a client that speaks MQTT byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::{Channel, DeviceId};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tributary_gateway::audit::Auditor;
use tributary_gateway::enrol::Claims;
use tributary_gateway::ingest::listener::{Control, Counters, Listener, Settings};
use tributary_gateway::ingest::{Arrival, Event, Identify, Link};

use crate::pki::Pki;

/// Whatever is waited for comes well within this, or never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Rig {
    pub(crate) pki: Pki,
    pub(crate) address: SocketAddr,
    pub(crate) control: Control,
    pub(crate) counters: Arc<Counters>,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinHandle<()>,
    pub(crate) events: mpsc::Receiver<Event>,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::start_with(64, |_| {}).await
    }

    pub(crate) async fn start_with(events_max: usize, adjust: impl FnOnce(&mut Settings)) -> Self {
        Self::start_audited(events_max, adjust, Auditor::none()).await
    }

    pub(crate) async fn start_audited(events_max: usize, adjust: impl FnOnce(&mut Settings), auditor: Auditor) -> Self {
        Self::start_claimed(events_max, adjust, auditor, Claims::default()).await
    }

    pub(crate) async fn start_claimed(
        events_max: usize,
        adjust: impl FnOnce(&mut Settings),
        auditor: Auditor,
        claims: Claims,
    ) -> Self {
        let pki = Pki::new();
        let mut settings = Settings { address: ([127, 0, 0, 1], 0).into(), ..Settings::default() };
        settings.farewell_deadline = Duration::from_millis(300); // clients here seldom close when they are told to
        adjust(&mut settings);
        let (intake, events) = mpsc::channel(events_max);
        let listener = Listener::bind(settings, pki.server(vec![]), identify(), intake, auditor).await.unwrap();
        let listener = listener.with_claims(claims);
        let (address, control, counters) = (listener.local_addr(), listener.control(), listener.counters());
        let stop = CancellationToken::new();
        let running = tokio::spawn(listener.run(stop.clone()));
        Self { pki, address, control, counters, stop, running, events }
    }

    pub(crate) async fn event(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("a listener")
    }

    pub(crate) async fn opened(&mut self) -> Link {
        match self.event().await {
            Event::Opened(link) => link,
            other => panic!("not opened: {other:?}"),
        }
    }

    pub(crate) async fn arrived(&mut self) -> Arrival {
        match self.event().await {
            Event::Arrived(arrival) => arrival,
            other => panic!("no arrival: {other:?}"),
        }
    }

    pub(crate) async fn closed(&mut self) -> String {
        match self.event().await {
            Event::Closed { reason, .. } => reason,
            other => panic!("not closed: {other:?}"),
        }
    }

    /// A TLS connection as `device`, before any MQTT.
    pub(crate) async fn tls(&self, device: &str) -> Raw {
        Raw::connect(self.address, self.pki.client(Some(self.pki.device(device)))).await.unwrap()
    }

    /// A connected `device` that speaks `version`, 4 or 5.
    pub(crate) async fn connect(&mut self, device: &str, version: u8) -> (Raw, Link) {
        let mut client = self.tls(device).await;
        client.send(&connect(version, device, 60, None)).await;
        assert_eq!(client.packet().await.1[..2], [0, 0], "accepted");
        let link = self.opened().await;
        assert_eq!(link.device, self::device(device));
        (client, link)
    }

    /// Stops the listener and waits until it has ended.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.running).await.expect("stopped in time").unwrap();
    }
}

pub(crate) fn identify() -> Identify {
    Arc::new(|der| {
        let name = certs::identity::device_id(der).map_err(|error| error.to_string())?;
        name.parse().map_err(|error: proto::device::BadDeviceId| error.to_string())
    })
}

pub(crate) fn device(name: &str) -> DeviceId {
    name.parse().unwrap()
}

/// A client that does what it is told, right or wrong.
pub(crate) struct Raw {
    pub(crate) stream: TlsStream<TcpStream>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = timeout(PATIENCE, TlsConnector::from(config).connect(name, socket)).await.unwrap()?;
        Ok(Self { stream })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next packet: its first byte and its body.
    pub(crate) async fn packet(&mut self) -> (u8, Vec<u8>) {
        timeout(PATIENCE, self.try_packet()).await.expect("a packet in time").expect("a packet, not the end")
    }

    /// Whether the server closes the connection without another packet.
    pub(crate) async fn is_closed(&mut self) -> bool {
        timeout(PATIENCE, self.try_packet()).await.expect("an end in time").is_err()
    }

    /// Whether nothing comes for a moment.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(80), self.try_packet()).await.is_err()
    }

    async fn try_packet(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let digit = self.stream.read_u8().await?;
            length |= usize::from(digit & 0x7F) << shift;
            shift += 7;
            if digit & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok((first, body))
    }
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let digit = u8::try_from(length % 128).unwrap();
        length /= 128;
        bytes.push(if length > 0 { digit | 0x80 } else { digit });
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// CONNECT with a clean session; `will` is a topic and a payload.
pub(crate) fn connect(version: u8, client_id: &str, keep_alive_s: u16, will: Option<(&str, &str)>) -> Vec<u8> {
    let properties: &[u8] = if version == 5 { &[0] } else { &[] };
    let flags = if will.is_some() { 0b0010_0110 } else { 0b10 };
    let mut body = [&text("MQTT")[..], &[version, flags], &keep_alive_s.to_be_bytes(), properties].concat();
    body.extend(text(client_id));
    if let Some((topic, payload)) = will {
        body.extend([properties, &text(topic), &text(payload)].concat());
    }
    packet(0x10, &body)
}

/// PUBLISH on `topic`, at QoS 1 with a packet id; `flags` are added to the first byte.
pub(crate) fn publish(version: u8, topic: &str, packet_id: Option<u16>, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(packet_id.into_iter().flat_map(u16::to_be_bytes));
    body.extend(if version == 5 { &[0][..] } else { &[] });
    body.extend(payload);
    packet(0x30 | flags | if packet_id.is_some() { 2 } else { 0 }, &body)
}

/// SUBSCRIBE at QoS 1.
pub(crate) fn subscribe(version: u8, packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    body.extend(if version == 5 { &[0][..] } else { &[] });
    body.extend(filters.iter().flat_map(|filter| [text(filter), vec![1]].concat()));
    packet(0x82, &body)
}

pub(crate) fn topic(name: &str, channel: Channel) -> String {
    proto::Topic::new(device(name), channel).to_string()
}
