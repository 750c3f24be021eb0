//! The broker's end of a connection, as a script: MQTT 3.1.1 without TLS, byte by byte.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Whatever is waited for comes well within this, or never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What the gateway sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Connect {
        client_id: String,
        clean: bool,
        keep_alive_s: u16,
    },
    Subscribe {
        id: u16,
        filters: Vec<(String, u8)>,
    },
    PubAck(u16),
    Publish {
        topic: String,
        payload: Vec<u8>,
        qos: u8,
    },
    Ping,
    Disconnect,
    /// The connection has ended.
    End,
}

/// One connection.
pub(crate) struct Peer(TcpStream);

impl Peer {
    /// A connection from its first byte on.
    pub(crate) fn over(socket: TcpStream) -> Self {
        Self(socket)
    }

    /// The next connection, past CONNECT and SUBSCRIBE, which are granted.
    pub(crate) async fn welcome(listener: &TcpListener, session_present: bool) -> Self {
        let mut peer = Self::greet(listener, session_present).await;
        peer.grant(1).await;
        peer
    }

    /// The next connection, past CONNECT.
    pub(crate) async fn greet(listener: &TcpListener, session_present: bool) -> Self {
        let (socket, _) = timeout(PATIENCE, listener.accept()).await.expect("a connection").unwrap();
        let mut peer = Self(socket);
        let connect = peer.next().await;
        assert!(matches!(connect, Packet::Connect { clean: false, .. }), "{connect:?}");
        peer.write(&[0x20, 2, session_present.into(), 0]).await;
        peer
    }

    /// Answers SUBSCRIBE with `code` for each filter, and answers the filters.
    pub(crate) async fn grant(&mut self, code: u8) -> Vec<(String, u8)> {
        let Packet::Subscribe { id, filters } = self.next().await else { panic!("SUBSCRIBE first") };
        let length = u8::try_from(2 + filters.len()).unwrap();
        let [high, low] = id.to_be_bytes();
        self.write(&[&[0x90, length, high, low][..], &vec![code; filters.len()]].concat()).await;
        filters
    }

    /// Delivers a message at QoS 1.
    pub(crate) async fn deliver(&mut self, id: u16, again: bool, topic: &str, payload: &[u8]) {
        let body = [&text(topic)[..], &id.to_be_bytes(), payload].concat();
        self.write(&[&[if again { 0x3a } else { 0x32 }][..], &length(body.len()), &body].concat()).await;
    }

    /// Delivers a message at QoS 0.
    pub(crate) async fn deliver_once(&mut self, topic: &str, payload: &[u8]) {
        let body = [&text(topic)[..], payload].concat();
        self.write(&[&[0x30][..], &length(body.len()), &body].concat()).await;
    }

    pub(crate) async fn pong(&mut self) {
        self.write(&[0xd0, 0]).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        // A gateway that has hung up does not take it.
        let _ = timeout(PATIENCE, self.0.write_all(bytes)).await.expect("the gateway reads");
    }

    /// What the gateway sends next.
    pub(crate) async fn next(&mut self) -> Packet {
        let read = timeout(PATIENCE, self.read()).await.expect("a packet within the deadline");
        read.unwrap_or(Packet::End)
    }

    /// The same, past pings, which are answered.
    pub(crate) async fn next_but_pings(&mut self) -> Packet {
        loop {
            match self.next().await {
                Packet::Ping => self.pong().await,
                packet => return packet,
            }
        }
    }

    async fn read(&mut self) -> std::io::Result<Packet> {
        let first = self.0.read_u8().await?;
        let (mut left, mut shift) = (0, 0);
        loop {
            let digit = self.0.read_u8().await?;
            left |= usize::from(digit & 0x7f) << shift;
            shift += 7;
            if digit & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; left];
        self.0.read_exact(&mut body).await?;
        Ok(understand(first, &body))
    }
}

fn understand(first: u8, body: &[u8]) -> Packet {
    let word = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let name = |at: usize| String::from_utf8(body[at + 2..at + 2 + usize::from(word(at))].to_vec()).unwrap();
    match first >> 4 {
        1 => Packet::Connect { client_id: name(10), clean: body[7] & 2 != 0, keep_alive_s: word(8) },
        3 => {
            let topic = name(0);
            let payload = body[2 + topic.len()..].to_vec();
            Packet::Publish { topic, payload, qos: first >> 1 & 3 }
        }
        4 => Packet::PubAck(word(0)),
        8 => {
            let (mut at, mut filters) = (2, Vec::new());
            while at < body.len() {
                let filter = name(at);
                at += 2 + filter.len() + 1;
                filters.push((filter, body[at - 1]));
            }
            Packet::Subscribe { id: word(0), filters }
        }
        12 => Packet::Ping,
        14 => Packet::Disconnect,
        other => panic!("a packet of kind {other}"),
    }
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn length(mut length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let digit = u8::try_from(length % 128).unwrap();
        length /= 128;
        bytes.push(if length > 0 { digit | 0x80 } else { digit });
        if length == 0 {
            return bytes;
        }
    }
}
