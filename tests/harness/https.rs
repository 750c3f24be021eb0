//! Just enough HTTPS to ask a gateway on loopback something.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that trusts `authority` and speaks `versions`.
///
/// # Errors
/// When the authority's certificate cannot be read.
pub fn client(authority: &Path, versions: &[&'static SupportedProtocolVersion]) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for root in certs::read_certificates(authority)? {
        roots.add(root)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// What came of a GET.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status line and headers, in lower case.
    pub head: String,
    /// What follows them.
    pub body: String,
    /// The certificate that the server showed, DER.
    pub certificate: Vec<u8>,
}

/// GETs `path` from `port` on loopback.
///
/// # Errors
/// When there is no whole answer, or none with status 200.
pub fn get(port: u16, client: &Arc<ClientConfig>, path: &str) -> anyhow::Result<Answer> {
    let socket = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let tls = ClientConnection::new(Arc::clone(client), "localhost".try_into()?)?;
    let mut stream = StreamOwned::new(tls, socket);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n")?;
    stream.flush()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("read the answer to its end")?;
    let text = String::from_utf8(answer).context("an answer of text")?;
    let (head, body) = text.split_once("\r\n\r\n").context("an answer has a head")?;
    anyhow::ensure!(head.starts_with("HTTP/1.1 200 "), "{path} is answered with {head}");
    let certificate = stream.conn.peer_certificates().and_then(<[_]>::first).context("a server has a certificate")?;
    Ok(Answer { head: head.to_ascii_lowercase(), body: body.to_owned(), certificate: certificate.to_vec() })
}
