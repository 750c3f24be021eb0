//! How a connection comes in: handshake, CONNECT, and whether it may.

use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connect::{First, Refusal, Terms};
use super::end::End;
use super::envelope;
use super::farewell::farewell;
use super::outbox::Outbox;
use super::packet::{PacketError, Version};
use super::peer::{Peer, identity, named};
use super::{Shared, connect, denials, reply};
use crate::half_open::Place;

type Stream = TlsStream<TcpStream>;

/// The TLS handshake, within its deadline and as long as it has its place.
pub(super) async fn handshake(
    shared: &Shared,
    socket: TcpStream,
    peer: SocketAddr,
    place: Place,
) -> Option<Box<Stream>> {
    let acceptor = TlsAcceptor::from(shared.control.tls());
    let why = tokio::select! {
        done = timeout(shared.settings.handshake_deadline, Box::pin(acceptor.accept(socket))) => match done {
            Ok(Ok(stream)) => {
                place.succeeded(Instant::now());
                return Some(Box::new(stream));
            }
            Ok(Err(error)) => {
                denials::handshake(shared, &error);
                error.to_string()
            }
            Err(_) => "it took too long".to_owned(),
        },
        () = place.evicted() => "newer ones took its place".to_owned(),
    };
    shared.counters.handshakes_failed.add();
    tracing::info!(%peer, why, "tls handshake failed");
    None
}

/// Reads the CONNECT and judges it. A device that is not let in is told why.
pub(super) async fn admit(shared: &Shared, stream: &mut Stream, peer: SocketAddr) -> Option<(Peer, Terms, BytesMut)> {
    let settings = &shared.settings;
    let mut inbox = BytesMut::new();
    let first = match timeout(settings.connect_deadline, first(shared, stream, &mut inbox)).await {
        Ok(Ok(first)) => first,
        Ok(Err(end)) => {
            count_packet_error(shared, &end);
            return refuse_silently(shared, peer, &end.to_string());
        }
        Err(_) => return refuse_silently(shared, peer, "it sent no CONNECT in time"),
    };
    let (version, admitted) = match first {
        First::OtherVersion(version) => (Version::V3, Err(Refusal::Version(version))),
        First::Connect(connect) => (
            connect.version,
            identity(shared, stream, &connect).and_then(|peer| {
                let terms = connect.judge(&peer.device, settings)?;
                Ok((peer, terms))
            }),
        ),
    };
    match admitted {
        Ok((peer, terms)) => Some((peer, terms, inbox)),
        Err(refusal) => {
            refuse(shared, stream, version, &refusal, peer).await;
            None
        }
    }
}

/// The first packet, whatever it is.
async fn first(shared: &Shared, stream: &mut Stream, inbox: &mut BytesMut) -> Result<First, End> {
    loop {
        if let Some(first) = envelope::next(inbox, &shared.settings, connect::parse)? {
            return Ok(first);
        }
        inbox.reserve(1024);
        if stream.read_buf(inbox).await? == 0 {
            return Err(End::Vanished);
        }
    }
}

fn refuse_silently<T>(shared: &Shared, peer: SocketAddr, why: &str) -> Option<T> {
    shared.counters.connects_refused.add();
    tracing::warn!(%peer, why, "connection closed before CONNECT");
    None
}

/// Says to a device that was not let in why.
pub(super) async fn refuse(
    shared: &Shared,
    stream: &mut Stream,
    version: Version,
    refusal: &Refusal,
    peer: SocketAddr,
) {
    shared.counters.connects_refused.add();
    tracing::warn!(%peer, "device not let in: {refusal}");
    denials::connection(shared, named(shared, stream), refusal);
    let mut outbox = Outbox::default();
    reply::refused(version, refusal, &mut outbox.bytes);
    farewell(shared, stream, &mut outbox, true).await;
}

/// Counts what ended a connection, where that was a packet.
pub(super) fn count_packet_error(shared: &Shared, end: &End) {
    match end {
        End::Packet(PacketError::TooLarge { .. }) => shared.counters.oversized.add(),
        End::Packet(_) => shared.counters.protocol_errors.add(),
        _ => {}
    }
}
