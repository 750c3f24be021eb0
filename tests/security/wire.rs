//! MQTT byte by byte over TLS, in both versions, good or bad: it sends what it is told to and tells what comes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::pki::Files;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::site::PATIENCE;

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// First byte and body.
    Packet(u8, Vec<u8>),
    /// The end of the connection.
    End,
    /// Nothing in time.
    Silence,
}

/// A connection.
pub(crate) struct Wire {
    tls: StreamOwned<ClientConnection, TcpStream>,
    rest: Vec<u8>,
}

/// TLS as the device that `files` name.
///
/// # Errors
/// When the files cannot be used.
pub(crate) fn config(files: &Files) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for root in certs::read_certificates(&files.authority)? {
        roots.add(root)?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(certs::read_certificates(&files.certificate)?, certs::read_private_key(&files.key)?)?;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

impl Wire {
    /// TLS to `port` on loopback; it happens with the first bytes.
    ///
    /// # Errors
    /// When nobody listens.
    pub(crate) fn open(port: u16, config: &Arc<ClientConfig>) -> anyhow::Result<Self> {
        let socket = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let connection = ClientConnection::new(Arc::clone(config), "localhost".try_into()?)?;
        Ok(Self { tls: StreamOwned::new(connection, socket), rest: Vec::new() })
    }

    /// The same, and CONNECT accepted.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn connect(port: u16, config: &Arc<ClientConfig>, version: u8, device: &str) -> anyhow::Result<Self> {
        let mut wire = Self::open(port, config)?;
        wire.send(&connect(version, device, None))?;
        match wire.hear() {
            Heard::Packet(0x20, body) if body.get(1) == Some(&0) => Ok(wire),
            other => anyhow::bail!("{device} is not let in: {other:02x?}"),
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.write_all(bytes)?;
        self.tls.flush()
    }

    /// The next packet.
    pub(crate) fn hear(&mut self) -> Heard {
        self.hear_within(PATIENCE)
    }

    /// The next packet, within `time`.
    pub(crate) fn hear_within(&mut self, time: Duration) -> Heard {
        let (began, mut chunk) = (Instant::now(), [0; 4096]);
        loop {
            if let Some((first, body, length)) = whole(&self.rest) {
                self.rest.drain(..length);
                return Heard::Packet(first, body);
            }
            let Some(left) = time.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) else {
                return Heard::Silence;
            };
            let _ = self.tls.sock.set_read_timeout(Some(left));
            match self.read(&mut chunk) {
                Ok(0) => return Heard::End,
                Ok(count) => self.rest.extend(chunk.iter().take(count)),
                Err(error) if crate::certificates::is_patience(&error) => {}
                Err(_) => return Heard::End,
            }
        }
    }

    /// What has arrived, whether or not anything can be said any more: who was cut off was often told why before.
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let (tls, socket) = (&mut self.tls.conn, &mut self.tls.sock);
        loop {
            match tls.reader().read(chunk) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            while tls.wants_write() && tls.write_tls(socket).is_ok() {}
            if tls.read_tls(socket)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// Says nothing more and reads to the end. Whether there was one.
    pub(crate) fn leave(mut self) -> bool {
        self.tls.conn.send_close_notify();
        let _ = self.tls.conn.complete_io(&mut self.tls.sock);
        let _ = self.tls.sock.shutdown(Shutdown::Write);
        loop {
            match self.hear() {
                Heard::Packet(..) => {}
                Heard::End => return true,
                Heard::Silence => return false,
            }
        }
    }
}

/// The first packet in `bytes`, if all of it is there: first byte, body, and how long it is.
fn whole(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (first, rest) = bytes.split_first()?;
    let mut length = 0;
    for (place, byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            let start = 2 + place;
            return Some((*first, bytes.get(start..start + length)?.to_vec(), start + length));
        }
    }
    None
}

/// A packet of this first byte and body.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first], &variable(body.len())[..], body].concat()
}

/// A variable byte integer, as short as can be.
pub(crate) fn variable(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value & 0x7F).expect("seven bits");
        value >>= 7;
        bytes.push(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return bytes;
        }
    }
}

/// Two bytes of length, and the bytes.
pub(crate) fn text(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).expect("texts are short").to_be_bytes()[..], bytes].concat()
}

/// Properties with their length, in MQTT 5; nothing in 3.1.1.
pub(crate) fn properties(version: u8, all: &[u8]) -> Vec<u8> {
    if version == 5 { [variable(all.len()), all.to_vec()].concat() } else { Vec::new() }
}

/// CONNECT; `will` is a topic and a payload, retained.
pub(crate) fn connect(version: u8, device: &str, will: Option<(&str, &str)>) -> Vec<u8> {
    let flags = if will.is_some() { 0b0010_0110 } else { 0b10 };
    let mut body = [&text(b"MQTT")[..], &[version, flags, 0, 60], &properties(version, &[])].concat();
    body.extend(text(device.as_bytes()));
    if let Some((topic, payload)) = will {
        body.extend([properties(version, &[]), text(topic.as_bytes()), text(payload.as_bytes())].concat());
    }
    packet(0x10, &body)
}

/// PUBLISH: at QoS 1 with a packet id, at QoS 0 without.
pub(crate) fn publish(version: u8, topic: &str, id: Option<u16>, retain: bool, payload: &[u8]) -> Vec<u8> {
    let id_bytes: Vec<u8> = id.iter().flat_map(|id| id.to_be_bytes()).collect();
    let body = [text(topic.as_bytes()), id_bytes, properties(version, &[]), payload.to_vec()].concat();
    packet(0x30 | u8::from(id.is_some()) << 1 | u8::from(retain), &body)
}

/// SUBSCRIBE at QoS 0.
pub(crate) fn subscribe(version: u8, id: u16, filters: &[String]) -> Vec<u8> {
    let mut body = [&id.to_be_bytes()[..], &properties(version, &[])].concat();
    filters.iter().for_each(|filter| body.extend([text(filter.as_bytes()), vec![0]].concat()));
    packet(0x82, &body)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use harness::Pki;
    use rustls::{ServerConfig, ServerConnection};

    use super::*;

    /// Takes a connection and a byte, says DISCONNECT, and is gone.
    fn cut_one_off(listener: &TcpListener, files: &Files) {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                certs::read_certificates(&files.certificate).unwrap(),
                certs::read_private_key(&files.key).unwrap(),
            );
        let connection = ServerConnection::new(Arc::new(config.unwrap())).unwrap();
        let mut tls = StreamOwned::new(connection, listener.accept().unwrap().0);
        tls.read_exact(&mut [0]).unwrap();
        tls.write_all(&packet(0xE0, &[0x8E])).unwrap();
        tls.flush().unwrap();
    }

    #[test]
    fn what_was_said_before_the_end_is_heard_by_who_had_more_to_say() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(folder.path());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut wire = Wire::open(port, &config(&pki.device("meter-7")).unwrap()).unwrap();
        let files = pki.server();
        let server = std::thread::spawn(move || cut_one_off(&listener, &files));
        wire.send(b"x").unwrap();
        server.join().unwrap();
        while wire.send(&[0; 4096]).is_ok() {}
        assert_eq!(wire.hear(), Heard::Packet(0xE0, vec![0x8E]));
        assert_eq!(wire.hear(), Heard::End);
    }
}
