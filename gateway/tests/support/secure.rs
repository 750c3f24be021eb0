//! The API by HTTPS, and connections on which nothing goes on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tributary_gateway::api::{self, Bounds, Tls};
use tributary_gateway::tls::TlsMin;

use super::World;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// A certificate that signs itself, and what a client needs to believe it.
struct Own {
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Own {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        Self { der: params.self_signed(&key).unwrap().der().clone(), key }
    }

    fn server(&self, min: TlsMin) -> Arc<ServerConfig> {
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der()).into();
        api::server_config(vec![self.der.clone()], key, min).unwrap()
    }

    async fn connect(
        &self,
        address: SocketAddr,
        version: &'static SupportedProtocolVersion,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpStream::connect(address).await?;
        let connecting =
            TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), socket);
        timeout(PATIENCE, connecting).await.expect("a handshake in time")
    }

    /// The whole answer to a GET of `/healthz` with these further headers.
    async fn ask(&self, address: SocketAddr, more: &str) -> String {
        let mut stream = self.connect(address, &TLS13).await.unwrap();
        let port = address.port();
        let request = format!("GET /healthz HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
        answer
    }
}

/// Whether the server ends the connection, whatever it says before.
async fn is_ended(stream: &mut (impl AsyncReadExt + Unpin)) -> bool {
    let mut scrap = [0; 1024];
    let ends = async { while stream.read(&mut scrap).await.is_ok_and(|count| count > 0) {} };
    timeout(PATIENCE, ends).await.is_ok()
}

#[tokio::test]
async fn with_a_certificate_people_come_in_by_https_and_not_without() {
    let own = Own::new();
    let world = World::start_with(Some(Tls::new(own.server(TlsMin::Tls12))), Bounds::default()).await;
    let answer = own.ask(world.address, "").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age=63072000; includeSubDomains\r\n"), "{answer}");
    let port = world.address.port();
    let by = |scheme: &str| format!("origin: {scheme}://localhost:{port}\r\n");
    assert!(own.ask(world.address, &by("https")).await.starts_with("HTTP/1.1 200 "));
    assert!(own.ask(world.address, &by("http")).await.starts_with("HTTP/1.1 403 "), "another page's");
    let mut plain = TcpStream::connect(world.address).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, plain.read_to_end(&mut answer)).await.expect("an end in time").unwrap();
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 50], "an alert of TLS: cannot be decoded");
    let without = World::start().await;
    let answer = super::http::get(without.address, "/healthz").await;
    assert_eq!((answer.status, answer.header("strict-transport-security")), (200, ""));
}

#[tokio::test]
async fn the_oldest_version_of_tls_is_a_setting_and_a_renewed_certificate_counts_at_once() {
    let (own, next) = (Own::new(), Own::new());
    let tls = Tls::new(own.server(TlsMin::Tls12));
    let world = World::start_with(Some(tls.clone()), Bounds::default()).await;
    assert!(own.connect(world.address, &TLS12).await.is_ok());
    tls.set(next.server(TlsMin::Tls13));
    assert!(next.connect(world.address, &TLS12).await.is_err());
    assert!(next.connect(world.address, &TLS13).await.is_ok());
    assert!(own.connect(world.address, &TLS13).await.is_err(), "the old certificate is not shown any more");
}

#[tokio::test]
async fn stalled_handshakes_keep_nobody_out_and_are_cut() {
    let own = Own::new();
    let bounds = Bounds { handshakes_max: 2, handshake_deadline: Duration::from_millis(1_500), ..Bounds::default() };
    let (world, counters) = World::start_counted(Some(Tls::new(own.server(TlsMin::Tls12))), bounds).await;
    let mut stalled = Vec::new();
    for _ in 0..6 {
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        socket.write_all(&[22, 3, 1]).await.unwrap(); // the beginning of a ClientHello
        stalled.push(socket);
    }
    let since = Instant::now();
    assert!(own.ask(world.address, "").await.starts_with("HTTP/1.1 200 "));
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    for mut socket in stalled {
        assert!(is_ended(&mut socket).await);
    }
    assert_eq!(counters.handshakes_failed(), 6);
}

#[tokio::test]
async fn a_connection_on_which_nothing_goes_on_is_closed() {
    let bounds = Bounds {
        request_deadline: Duration::from_millis(400),
        idle_deadline: Duration::from_millis(400),
        connections_max: 2,
        ..Bounds::default()
    };
    let (world, counters) = World::start_counted(None, bounds).await;
    let slow = async {
        let mut slow = TcpStream::connect(world.address).await.unwrap();
        let since = Instant::now();
        for byte in b"GET /healthz HTTP/1.1\r\nx: ".iter().chain([b'x'; 200].iter()) {
            if slow.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            if timeout(Duration::ZERO, slow.read(&mut [0; 64])).await.is_ok() {
                break;
            }
        }
        since.elapsed()
    };
    let mute = async {
        let mut mute = TcpStream::connect(world.address).await.unwrap();
        assert!(is_ended(&mut mute).await);
    };
    let (took, ()) = tokio::join!(slow, mute);
    assert!(took > Duration::from_millis(300) && took < Duration::from_secs(5), "a byte at a time: {took:?}");
    // Both had all the seats there are; now they are free again, and one that was used is not kept for ever.
    let mut kept = TcpStream::connect(world.address).await.unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", world.address);
    kept.write_all(request.as_bytes()).await.unwrap();
    assert!(is_ended(&mut kept).await);
    assert_eq!(counters.stalled(), 3);
}

#[tokio::test]
async fn a_live_view_is_not_taken_for_one_on_which_nothing_goes_on() {
    let bounds = Bounds { idle_deadline: Duration::from_secs(7), ..Bounds::default() };
    let (world, counters) = World::start_counted(None, bounds).await;
    let mut view = TcpStream::connect(world.address).await.unwrap();
    let request = format!("GET /api/v1/live HTTP/1.1\r\nhost: {}\r\n\r\n", world.address);
    view.write_all(request.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let heartbeats = |heard: &[u8]| String::from_utf8_lossy(heard).matches("event: heartbeat").count();
    while heartbeats(&heard) < 3 {
        // Each comes 5 s after the one before; the first two are no proof.
        let count = timeout(PATIENCE, view.read_buf(&mut heard)).await.expect("a heartbeat in time").unwrap();
        assert!(count > 0, "it was closed");
    }
    assert_eq!(counters.stalled(), 0);
}
