//! The server's end of a connection: TLS with whatever certificate, and what the device really did, to the byte.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::mqtt::Packet;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

use crate::certificates::keys::Prover;
use crate::certificates::{Shown, is_patience};

/// The content of the largest record that TLS allows (RFC 8446, section 5.1).
pub(super) const RECORD_BYTES_MAX: usize = 16 * 1024;

/// TLS of a server that shows `shown`, and takes devices of `authority`.
///
/// # Errors
/// When rustls does not want to.
pub(super) fn config(
    authority: &[CertificateDer<'static>],
    shown: &Shown,
    versions: &[&'static SupportedProtocolVersion],
) -> anyhow::Result<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for root in authority {
        roots.add(root.clone())?;
    }
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(Shows::of(shown)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Shows its chain to everybody.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl Shows {
    fn of(shown: &Shown) -> Self {
        let chain = shown.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let prover = Prover { key: shown.key.clone(), proof: shown.proof };
        Self(Arc::new(CertifiedKey::new(chain, Arc::new(prover))))
    }
}

impl ResolvesServerCert for Shows {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// What became of a handshake.
pub(super) enum Shaken {
    /// Both ends are content.
    Up(Box<Line>),
    /// The device ended it: with which alert, if any, and how many bytes above TLS it had said.
    Refused {
        /// Its number (RFC 8446, section 6).
        alert: Option<u8>,
        /// Bytes of MQTT.
        said: usize,
    },
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Packet(Packet),
    End,
    Silence,
}

/// A connection.
pub(super) struct Line {
    tls: ServerConnection,
    socket: TcpStream,
    rest: Vec<u8>,
    /// The bytes of the last packet.
    pub(super) raw: Vec<u8>,
    /// Records that were said and could not have been larger.
    pub(super) full_records: usize,
}

impl Line {
    /// TLS on `socket`.
    ///
    /// # Errors
    /// When it takes longer than `deadline`.
    pub(super) fn shake(socket: TcpStream, config: &Arc<ServerConfig>, deadline: Duration) -> anyhow::Result<Shaken> {
        let mut tls = ServerConnection::new(Arc::clone(config))?;
        tls.set_buffer_limit(None);
        let mut line = Self { tls, socket, rest: Vec::new(), raw: Vec::new(), full_records: 0 };
        let began = Instant::now();
        loop {
            if line.flush().is_ok() && !line.tls.is_handshaking() {
                return Ok(Shaken::Up(Box::new(line)));
            }
            let alert = match line.tls.read_tls(&mut line.socket) {
                Ok(0) => Some(None),
                Ok(_) => match line.tls.process_new_packets() {
                    Ok(_) => None,
                    Err(rustls::Error::AlertReceived(alert)) => Some(Some(alert.into())),
                    Err(error) => return Err(error.into()),
                },
                Err(error) if is_patience(&error) => None,
                Err(_) => Some(None),
            };
            if let Some(alert) = alert {
                let mut said = Vec::new();
                let _ = line.tls.reader().read_to_end(&mut said); // it ends with what there is
                return Ok(Shaken::Refused { alert, said: said.len() });
            }
            anyhow::ensure!(began.elapsed() < deadline, "the handshake took longer than {deadline:?}");
        }
    }

    /// The next packet.
    pub(super) fn hear(&mut self, within: Duration) -> Heard {
        let began = Instant::now();
        loop {
            // What came with the end of the handshake is there already.
            let mut chunk = [0; RECORD_BYTES_MAX];
            while let Ok(count @ 1..) = self.tls.reader().read(&mut chunk) {
                self.rest.extend(chunk.iter().take(count));
            }
            match Packet::decode(&self.rest) {
                Ok(Some((packet, length))) => {
                    self.raw = self.rest.drain(..length).collect();
                    return Heard::Packet(packet);
                }
                Ok(None) => {}
                Err(_) => return Heard::End,
            }
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => return Heard::End,
                Ok(_) => {
                    if self.tls.process_new_packets().is_err() {
                        return Heard::End;
                    }
                }
                Err(error) if is_patience(&error) => {
                    if began.elapsed() >= within {
                        return Heard::Silence;
                    }
                }
                Err(_) => return Heard::End,
            }
        }
    }

    /// Says `packet`, in records as large as can be.
    ///
    /// # Errors
    /// When the connection has ended, or the device does not take it.
    pub(super) fn say(&mut self, packet: &Packet) -> io::Result<()> {
        self.tls.writer().write_all(&packet.encode())?;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes)?;
        }
        let mut rest = bytes.as_slice();
        while let [_, _, _, high, low, ..] = rest {
            let length = usize::from(*high) << 8 | usize::from(*low);
            self.full_records += usize::from(length >= RECORD_BYTES_MAX);
            rest = rest.get(5 + length..).unwrap_or_default();
        }
        self.socket.write_all(&bytes)
    }
}
