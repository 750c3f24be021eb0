//! One connection from its first byte to its last: handshake, CONNECT, session, farewell.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use mqtt_protocol_core::mqtt::result_code::DisconnectReasonCode;
use proto::DeviceId;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::connect::{First, Refusal, Terms};
use super::control::{Entered, NoEntry};
use super::drive::Drive;
use super::end::End;
use super::envelope;
use super::farewell::{farewell, has_left};
use super::outbox::Outbox;
use super::packet::{PacketError, Version};
use super::peer::{Peer, identity, named};
use super::session::Session;
use super::{Shared, connect, denials, reply};
use crate::half_open::Place;
use crate::ingest::{ConnectionId, Event, Link};

type Stream = TlsStream<TcpStream>;

/// Serves one accepted socket to its end.
pub(super) async fn serve(shared: &Shared, socket: TcpStream, peer: SocketAddr, place: Place, stop: CancellationToken) {
    let opening = async {
        let mut stream = handshake(shared, socket, peer, place).await?;
        let (who, terms, inbox) = admit(shared, &mut stream, peer).await?;
        Some((stream, who, terms, inbox))
    };
    let opened = tokio::select! {
        opened = Box::pin(opening) => opened,
        () = stop.cancelled() => None,
    };
    if let Some((stream, who, terms, inbox)) = opened {
        let (is_claim, over) = (who.claim.is_some(), stop.child_token());
        let mut session = Box::pin(session(shared, stream, who, terms, inbox, &over));
        tokio::select! {
            () = &mut session => return,
            // Whoever waits for longer, as for the operator, comes again.
            () = tokio::time::sleep(CLAIM_SESSION_MAX), if is_claim => over.cancel(),
        }
        session.await;
    }
}

/// The TLS handshake, within its deadline and as long as it has its place.
async fn handshake(shared: &Shared, socket: TcpStream, peer: SocketAddr, place: Place) -> Option<Box<Stream>> {
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
async fn admit(shared: &Shared, stream: &mut Stream, peer: SocketAddr) -> Option<(Peer, Terms, BytesMut)> {
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

async fn refuse(shared: &Shared, stream: &mut Stream, version: Version, refusal: &Refusal, peer: SocketAddr) {
    shared.counters.connects_refused.add();
    tracing::warn!(%peer, "device not let in: {refusal}");
    denials::connection(shared, named(shared, stream), refusal);
    let mut outbox = Outbox::default();
    reply::refused(version, refusal, &mut outbox.bytes);
    farewell(shared, stream, &mut outbox, true).await;
}

/// From the seat to the farewell. Says [`Event::Closed`] exactly once for each [`Event::Opened`].
async fn session(
    shared: &Shared,
    mut stream: Box<Stream>,
    Peer { device, shown, claim }: Peer,
    mut terms: Terms,
    inbox: BytesMut,
    stop: &CancellationToken,
) {
    let peer = stream.get_ref().0.peer_addr().unwrap_or(shared.settings.address);
    let connection = ConnectionId::fresh();
    let Entered { seat, mut kicked, previous } = match shared.control.enter(&device, connection, shown) {
        Ok(entered) => entered,
        Err(NoEntry::Revoked) => return refuse(shared, &mut stream, terms.version, &Refusal::Revoked, peer).await,
        Err(NoEntry::Contested { is_first }) => {
            refuse(shared, &mut stream, terms.version, &Refusal::Contested, peer).await;
            if is_first {
                twice(shared, &device).await;
            }
            return;
        }
    };
    if let Some(previous) = previous {
        shared.counters.takeovers.add();
        tracing::warn!(device.id = %device, "a second connection of this device takes over; is its certificate in use twice?");
        // First the old one's last will and end, then the new one's beginning.
        if timeout(shared.settings.takeover_deadline, previous.cancelled()).await.is_err() {
            return refuse(shared, &mut stream, terms.version, &Refusal::Busy, peer).await;
        }
    }
    let (link, messages) = Link::new(device.clone(), connection);
    let opened = tokio::select! {
        sent = shared.intake.send(Event::Opened(link)) => sent.is_ok(),
        _ = &mut kicked => false,
        () = stop.cancelled() => false,
    };
    if !opened {
        return refuse(shared, &mut stream, terms.version, &Refusal::Busy, peer).await;
    }
    shared.counters.connections.add();
    shared.counters.connections_open.add();
    tracing::info!(device.id = %device, connection = connection.0, %peer, version = ?terms.version, "device connected");
    let (claimant, _claim_seat) = claim.unzip();
    let session = Session::new(device, connection, claimant, &terms);
    let quota = shared.quotas.of(&session.device, Instant::now());
    let mut drive = Drive::new(shared, session, inbox, messages, terms.silence_max, quota);
    reply::accepted(&terms, &drive.session.device, &shared.settings, &mut drive.outbox.bytes);
    let Err(end) = drive.run(&mut stream, &mut kicked, stop).await;
    let (session, mut outbox) = (drive.session, drive.outbox);
    shared.quotas.keep(&session.device, drive.quota, Instant::now());
    let was_there = matches!(end, End::TakenOver) && !has_left(&mut stream).await;
    let was_lively = was_there && drive.heard.elapsed() < shared.settings.lively;
    if was_lively {
        shared.control.contested(&session.device);
        shared.counters.takeovers_contested.add();
    }
    let device = session.device.clone();
    let is_revoked = matches!(end, End::Revoked);
    if is_revoked {
        // Cut before the pipeline has room for the news, and nothing that waited to be written is: not even the reason,
        // where it would stand in the middle of a packet.
        if outbox.has_work() {
            outbox = Outbox::default();
        } else {
            reply::disconnect(terms.version, DisconnectReasonCode::NotAuthorized, &mut outbox.bytes);
        }
        farewell(shared, &mut stream, &mut outbox, false).await;
    }
    close(shared, &session, &end, terms.will.take()).await;
    drop(seat);
    drop(session); // verdicts that are still to come are nobody's now
    if is_revoked {
        return;
    }
    if let Some(reason) = end.reason() {
        reply::disconnect(terms.version, reason, &mut outbox.bytes);
    }
    let answered = farewell(shared, &mut stream, &mut outbox, end.reason().is_some()).await;
    if was_there && !was_lively && answered {
        // It was quiet, and somebody is there all the same.
        shared.control.answered(&device);
        shared.counters.takeovers_contested.add();
    }
}

/// Two connections of this device live: says so, once a minute at most.
async fn twice(shared: &Shared, device: &DeviceId) {
    tracing::error!(device.id = %device, "two connections of this device want its place in turn; its certificate is in use twice");
    let _ = shared.intake.send(Event::Contested { device: device.clone() }).await; // fails when the pipeline is gone
}

/// Tells the pipeline that a connection has ended, after its last will if that holds.
async fn close(shared: &Shared, session: &Session, end: &End, will: Option<bytes::Bytes>) {
    let (device, connection) = (session.device.clone(), session.connection);
    count_packet_error(shared, end);
    match end {
        End::Left | End::LeftWithWill | End::Stopping => {
            tracing::info!(device.id = %device, connection = connection.0, why = %end, "device disconnected");
        }
        _ => tracing::warn!(device.id = %device, connection = connection.0, why = %end, "device connection ended"),
    }
    shared.counters.connections_open.sub();
    if let Some(will) = will.filter(|_| end.leaves_will()) {
        shared.counters.publishes.add();
        let _ = shared.intake.send(Event::Arrived(session.will(will))).await; // fails when the pipeline is gone
    }
    let _ = shared.intake.send(Event::Closed { device, connection, reason: end.to_string() }).await;
}

fn count_packet_error(shared: &Shared, end: &End) {
    match end {
        End::Packet(PacketError::TooLarge { .. }) => shared.counters.oversized.add(),
        End::Packet(_) => shared.counters.protocol_errors.add(),
        _ => {}
    }
}

/// How long a claim's session may last: to connect, ask and hear takes a second or two.
const CLAIM_SESSION_MAX: Duration = Duration::from_secs(120);
