//! A client that shows whatever certificate it is given, and tells exactly what became of it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SignatureScheme, SupportedProtocolVersion};

use super::keys::{Key, Proof, Prover};
use crate::site::PATIENCE;

/// A chain, leaf first, and what proves that it is one's own.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Key,
    pub(crate) proof: Proof,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// CONNACK says welcome.
    LetIn,
    /// A TLS alert, by its number (RFC 8446, section 6).
    Alert(u8),
    /// CONNACK of MQTT 5 with this reason code.
    Refused(u8),
    /// The connection ended without a word.
    Closed,
    /// Nothing came until patience ended.
    Silence,
    /// Something that has no place here.
    Strange,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(number) => write!(f, "alert {number}"),
            Self::Refused(code) => write!(f, "CONNACK 0x{code:02x}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// TLS of a client that trusts `roots` and shows `shown`, in one version of TLS.
///
/// # Errors
/// When rustls does not want to.
pub(crate) fn config(
    roots: &Arc<RootCertStore>,
    shown: Option<&Shown>,
    version: &'static SupportedProtocolVersion,
) -> anyhow::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])?
        .with_root_certificates(Arc::clone(roots));
    let mut config = match shown {
        Some(shown) => builder.with_client_cert_resolver(Arc::new(Shows::of(shown))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Connects, says `words` as soon as TLS lets it (with TLS 1.3 that is before the server has seen the certificate), and
/// waits for what comes.
///
/// # Errors
/// When nobody listens.
pub(crate) fn attempt(port: u16, config: ClientConfig, words: &[u8]) -> anyhow::Result<Outcome> {
    let mut socket = dial(port)?;
    let mut tls = ClientConnection::new(Arc::new(config), "localhost".try_into()?)?;
    tls.writer().write_all(words)?;
    Ok(watch(&mut tls, &mut socket))
}

/// A socket to `port` on loopback, with deadlines.
///
/// # Errors
/// When nobody listens.
pub(crate) fn dial(port: u16) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Drives TLS until the server's first answer above it, or the end.
pub(crate) fn watch(tls: &mut ClientConnection, socket: &mut TcpStream) -> Outcome {
    let (began, mut heard) = (Instant::now(), Vec::new());
    while began.elapsed() < PATIENCE {
        while tls.wants_write() {
            if tls.write_tls(socket).is_err() {
                break; // it may have said why before it closed
            }
        }
        match tls.read_tls(socket) {
            Ok(0) => return Outcome::Closed,
            Ok(_) => {}
            Err(error) if is_patience(&error) => continue,
            Err(_) => return Outcome::Closed,
        }
        match tls.process_new_packets() {
            Err(rustls::Error::AlertReceived(alert)) => return Outcome::Alert(alert.into()),
            Err(_) => return Outcome::Strange,
            Ok(_) => {}
        }
        let mut chunk = [0; 4096];
        while let Ok(count @ 1..) = tls.reader().read(&mut chunk) {
            heard.extend(chunk.iter().take(count));
        }
        if let Some(outcome) = answer(&heard) {
            return outcome;
        }
    }
    Outcome::Silence
}

/// The meaning of a first packet.
fn answer(heard: &[u8]) -> Option<Outcome> {
    match heard {
        [0x20, _, _, 0, ..] => Some(Outcome::LetIn),
        [0x20, _, _, code, ..] => Some(Outcome::Refused(*code)),
        [0x20, ..] | [] => None,
        _ => Some(Outcome::Strange),
    }
}

pub(crate) fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Shows its chain whatever the server asks for.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl Shows {
    fn of(shown: &Shown) -> Self {
        let chain = shown.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let prover = Prover { key: shown.key.clone(), proof: shown.proof };
        Self(Arc::new(CertifiedKey::new(chain, Arc::new(prover))))
    }
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
