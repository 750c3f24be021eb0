//! Packets over TLS with certificates on both sides, one thread, no runtime.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::ring;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::Packet;
use crate::pki::Files;

/// How long one read waits.
const PATIENCE: Duration = Duration::from_millis(2);
/// For the other end to take what is written.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// What both roles of TLS can do.
trait Duplex: Read + Write + Send {
    /// The other end's certificate, once there has been a handshake.
    fn peer(&self) -> Option<Vec<u8>>;
}

impl Duplex for StreamOwned<ClientConnection, TcpStream> {
    fn peer(&self) -> Option<Vec<u8>> {
        self.conn.peer_certificates()?.first().map(|certificate| certificate.to_vec())
    }
}

impl Duplex for StreamOwned<ServerConnection, TcpStream> {
    fn peer(&self) -> Option<Vec<u8>> {
        self.conn.peer_certificates()?.first().map(|certificate| certificate.to_vec())
    }
}

/// One end of a connection.
pub struct Stream {
    tls: Box<dyn Duplex>,
    /// Read, and not a whole packet yet.
    rest: Vec<u8>,
}

impl Stream {
    /// Connects to `port` on loopback as the device that `files` name.
    ///
    /// # Errors
    /// When the files cannot be used, or nobody is there. TLS itself happens with the first packet.
    pub fn connect(port: u16, files: &Files) -> anyhow::Result<Self> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(files)?)
            .with_client_auth_cert(
                certs::read_certificates(&files.certificate)?,
                certs::read_private_key(&files.key)?,
            )?;
        let connection = ClientConnection::new(Arc::new(config), "localhost".try_into()?)?;
        let socket = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), WRITE_DEADLINE)?;
        prepare(&socket)?;
        Ok(Self { tls: Box::new(StreamOwned::new(connection, socket)), rest: Vec::new() })
    }

    /// The server's end of `socket`.
    pub(crate) fn accept(socket: TcpStream, config: Arc<ServerConfig>) -> anyhow::Result<Self> {
        prepare(&socket)?;
        let connection = ServerConnection::new(config)?;
        Ok(Self { tls: Box::new(StreamOwned::new(connection, socket)), rest: Vec::new() })
    }

    /// The other end's certificate in DER, once a packet has come.
    pub(crate) fn peer(&self) -> Option<Vec<u8>> {
        self.tls.peer()
    }

    /// Sends `packet`.
    ///
    /// # Errors
    /// When the connection has ended, or does not take it in time.
    pub fn send(&mut self, packet: &Packet) -> io::Result<()> {
        let (bytes, began) = (packet.encode(), Instant::now());
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match self.tls.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => rest = &rest[count..],
                Err(error) if is_patience(&error) && began.elapsed() < WRITE_DEADLINE => {}
                Err(error) => return Err(error),
            }
        }
        loop {
            match self.tls.flush() {
                Err(error) if is_patience(&error) && began.elapsed() < WRITE_DEADLINE => {}
                done => return done,
            }
        }
    }

    /// The next packet; none if there was none for a moment.
    ///
    /// # Errors
    /// When the connection has ended, or says what MQTT does not.
    pub fn poll(&mut self) -> io::Result<Option<Packet>> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some((packet, length)) = Packet::decode(&self.rest)? {
                self.rest.drain(..length);
                return Ok(Some(packet));
            }
            match self.tls.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.rest.extend(&chunk[..count]),
                Err(error) if is_patience(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next packet, within `deadline`.
    ///
    /// # Errors
    /// When none came, and as [`Stream::poll`].
    pub fn wait(&mut self, deadline: Duration) -> io::Result<Packet> {
        let began = Instant::now();
        loop {
            match self.poll()? {
                Some(packet) => return Ok(packet),
                None if began.elapsed() > deadline => return Err(io::ErrorKind::TimedOut.into()),
                None => {}
            }
        }
    }
}

/// TLS of a server that takes clients with a certificate of its own authority, and hands out no tickets.
pub(crate) fn server_config(files: &Files) -> anyhow::Result<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(files)?), provider.clone()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(certs::read_certificates(&files.certificate)?, certs::read_private_key(&files.key)?)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn roots(files: &Files) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certs::read_certificates(&files.authority)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(WRITE_DEADLINE))
}

fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
