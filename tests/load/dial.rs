//! From a certificate to a connection that the gateway has let in.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::uplink::Pace;
use agent::uplink::backoff::Backoff;
use anyhow::Context;
use harness::load::{Job, Member};
use harness::mqtt::Packet;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::crowd::Crowd;
use crate::device::Device;

/// Devices of one loopback address: its ephemeral ports are some 28 000, and closed ones rest for a minute.
const DEVICES_PER_ADDRESS: usize = 5_000;
/// As long as the agent waits for its network.
const DEADLINE: Duration = Duration::from_secs(90);
/// The longest that the gateway allows: no run lasts that long, so nobody needs to ping.
const KEEP_ALIVE_S: u16 = 1_200;

/// A connection that stands.
pub(crate) type Stream = TlsStream<TcpStream>;

/// What all devices dial with.
struct Phone {
    port: u16,
    provider: Arc<CryptoProvider>,
    verifier: Arc<WebPkiServerVerifier>,
}

/// Gives each device a task, which connects, works, and connects again for as long as the process lives.
pub(crate) fn start_all(job: &Job, crowd: &Rc<Crowd>) -> anyhow::Result<()> {
    let bytes = std::fs::read(&job.fleet).with_context(|| format!("read {}", job.fleet.display()))?;
    let members: Vec<Member> = postcard::from_bytes(&bytes).context("read the fleet")?;
    anyhow::ensure!(members.len() >= job.devices, "{} devices of {}", members.len(), job.devices);
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certs::read_certificates(&job.authority)? {
        roots.add(certificate)?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let phone = Rc::new(Phone { port: job.port, provider, verifier });
    let spread = Duration::from_millis(job.spread_ms);
    for (place, member) in members.into_iter().take(job.devices).enumerate() {
        let first = spread.mul_f64(share(place, job.devices));
        tokio::task::spawn_local(live(Rc::clone(&phone), Rc::clone(crowd), place, member, first));
    }
    Ok(())
}

/// One device's life.
async fn live(phone: Rc<Phone>, crowd: Rc<Crowd>, place: usize, member: Member, first: Duration) {
    let pace = Pace::default();
    let mut backoff = Backoff::new(pace.reconnect_min, pace.reconnect_max, place as u64 + 1);
    let mut device = Device::new(place, &member.0, &crowd);
    tokio::time::sleep(first).await;
    loop {
        crowd.attempt();
        match tokio::time::timeout(DEADLINE, phone.connect(place, &member)).await {
            Ok(Ok(stream)) => {
                backoff.connected(Instant::now());
                crowd.connected();
                let why = device.serve(stream).await;
                crowd.lost(why.to_string());
            }
            Ok(Err(error)) => crowd.failed(format!("{error:#}")),
            Err(_) => crowd.failed(format!("no connection within {DEADLINE:?}")),
        }
        tokio::time::sleep(backoff.failed(Instant::now())).await;
    }
}

impl Phone {
    /// Dials, shakes hands, says who it is, and asks for receipts. The certificate is verified as the agent does it.
    async fn connect(&self, place: usize, (name, certificate, key): &Member) -> anyhow::Result<Stream> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_webpki_verifier(self.verifier.clone())
            .with_client_auth_cert(vec![certificate.clone().into()], key)?;
        config.resumption = Resumption::disabled();
        let socket = TcpSocket::new_v4()?;
        let own = u8::try_from(place / DEVICES_PER_ADDRESS).unwrap_or(0).saturating_add(1);
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, own), 0))).context("bind")?;
        let socket = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).await.context("connect")?;
        socket.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect("localhost".try_into()?, socket).await.context("handshake")?;
        let connect = Packet::Connect { client: name.clone(), clean: true, keep_alive_s: KEEP_ALIVE_S };
        let answer = ask(&mut stream, &connect).await.context("CONNECT")?;
        anyhow::ensure!(matches!(answer, Packet::ConnAck { code: 0, .. }), "not let in: {answer:?}");
        let subscribe = Packet::Subscribe { id: 1, filters: vec![(format!("trib/1/{name}/receipt"), 0)] };
        let answer = ask(&mut stream, &subscribe).await.context("SUBSCRIBE")?;
        anyhow::ensure!(answer == Packet::SubAck { id: 1, codes: vec![0] }, "no receipts: {answer:?}");
        Ok(stream)
    }
}

/// Sends `packet`, and waits for the one packet that answers it.
async fn ask(stream: &mut Stream, packet: &Packet) -> anyhow::Result<Packet> {
    stream.write_all(&packet.encode()).await?;
    stream.flush().await?;
    let mut inbox = Vec::with_capacity(64);
    loop {
        if let Some((packet, length)) = Packet::decode(&inbox)? {
            anyhow::ensure!(length == inbox.len(), "more than was asked for");
            return Ok(packet);
        }
        anyhow::ensure!(stream.read_buf(&mut inbox).await? > 0, "the gateway closed the connection");
    }
}

fn share(place: usize, of: usize) -> f64 {
    let float = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    float(place) / float(of.max(1))
}
