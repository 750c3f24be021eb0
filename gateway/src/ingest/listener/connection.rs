//! One connection from its first byte to its last: handshake, CONNECT, session, farewell.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use mqtt_protocol_core::mqtt::result_code::DisconnectReasonCode;
use proto::DeviceId;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::connect::{Refusal, Terms};
use super::control::{Entered, NoEntry, Seat};
use super::drive::Drive;
use super::end::End;
use super::entry::{admit, count_packet_error, handshake, refuse};
use super::farewell::{farewell, has_left};
use super::outbox::Outbox;
use super::peer::{Peer, Shown};
use super::session::Session;
use super::{Shared, reply};
use crate::half_open::Place;
use crate::ingest::{ConnectionId, Event, Link};

type Stream = TlsStream<TcpStream>;

/// How long a claim's session may last: to connect, ask and hear takes a second or two.
const CLAIM_SESSION_MAX: Duration = Duration::from_secs(120);

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

/// From the seat to the farewell. Says [`Event::Closed`] exactly once for each [`Event::Opened`].
async fn session(
    shared: &Shared,
    mut stream: Box<Stream>,
    Peer { device, shown, claim }: Peer,
    terms: Terms,
    inbox: BytesMut,
    stop: &CancellationToken,
) {
    let peer = stream.get_ref().0.peer_addr().unwrap_or(shared.settings.address);
    let connection = ConnectionId::fresh();
    let (seat, mut kicked) = match take_seat(shared, &device, connection, shown).await {
        Ok(taken) => taken,
        Err(NoSeat { refusal, is_news }) => {
            refuse(shared, &mut stream, terms.version, &refusal, peer).await;
            if is_news {
                twice(shared, &device).await;
            }
            return;
        }
    };
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
    part(shared, &mut stream, drive, seat, terms, &end).await;
}

/// Why there is no seat.
struct NoSeat {
    refusal: Refusal,
    /// Two connections of this device live, and nobody was told yet.
    is_news: bool,
}

impl From<Refusal> for NoSeat {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, is_news: false }
    }
}

/// The device's place, once whoever had it before has ended; and what tells when it must be left.
async fn take_seat(
    shared: &Shared,
    device: &DeviceId,
    connection: ConnectionId,
    shown: Shown,
) -> Result<(Seat, oneshot::Receiver<End>), NoSeat> {
    let Entered { seat, kicked, previous } = match shared.control.enter(device, connection, shown) {
        Ok(entered) => entered,
        Err(NoEntry::Revoked) => return Err(Refusal::Revoked.into()),
        Err(NoEntry::Contested { is_first }) => {
            return Err(NoSeat { refusal: Refusal::Contested, is_news: is_first });
        }
    };
    if let Some(previous) = previous {
        shared.counters.takeovers.add();
        tracing::warn!(device.id = %device, "a second connection of this device takes over; is its certificate in use twice?");
        // First the old one's last will and end, then the new one's beginning.
        if timeout(shared.settings.takeover_deadline, previous.cancelled()).await.is_err() {
            return Err(Refusal::Busy.into());
        }
    }
    Ok((seat, kicked))
}

/// The way out: what is to be noted of the end, the pipeline's news of it, what may still be written, and the farewell.
async fn part(shared: &Shared, stream: &mut Stream, drive: Drive<'_>, seat: Seat, mut terms: Terms, end: &End) {
    let (session, mut outbox) = (drive.session, drive.outbox);
    shared.quotas.keep(&session.device, drive.quota, Instant::now());
    let was_there = matches!(end, End::TakenOver) && !has_left(stream).await;
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
        farewell(shared, stream, &mut outbox, false).await;
    }
    close(shared, &session, end, terms.will.take()).await;
    drop(seat);
    drop(session); // verdicts that are still to come are nobody's now
    if is_revoked {
        return;
    }
    if let Some(reason) = end.reason() {
        reply::disconnect(terms.version, reason, &mut outbox.bytes);
    }
    let answered = farewell(shared, stream, &mut outbox, end.reason().is_some()).await;
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
