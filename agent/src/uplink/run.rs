//! Performs what the session decides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::message::{Notice, Receipt};
use proto::{Channel, DeviceId, Lane};
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::Settings;
use super::mqtt::{Arrival, Connection};
use super::session::{Command, Event, Session};
use crate::buffer::{Appended, BufferError, Contents, Handle};
use crate::clock::BootClock;

/// How long the last frames may take once the agent is asked to stop.
const LEAVE_GRACE: Duration = Duration::from_secs(3);

/// What the sealer tells of each append.
pub type Accepted = (Lane, Appended);

/// Everything that the uplink works with.
pub struct Uplink {
    /// Whose readings they are.
    pub device: DeviceId,
    /// Where they go.
    pub settings: Settings,
    /// With whose certificate.
    pub tls: Arc<ClientConfig>,
    /// Where they are.
    pub buffer: Handle,
    /// What was in the buffer at start.
    pub contents: Contents,
    /// What is known of the time.
    pub clock: Arc<BootClock>,
    /// New batches.
    pub accepted: mpsc::Receiver<Accepted>,
}

/// Runs the uplink until `stop`. The network may fail as it likes; only a failing buffer ends the uplink.
///
/// # Errors
/// When the buffer's thread has ended, or a batch cannot be read.
pub async fn run(mut uplink: Uplink, stop: CancellationToken) -> Result<(), BufferError> {
    let seed = seed();
    let mut session = Session::new(uplink.settings.pace, &uplink.contents, seed, Instant::now());
    let mut connection: Option<Connection> = None;
    let mut sealer_is_there = true;
    loop {
        while let Some(command) = session.next_command() {
            perform(command, &mut session, &mut connection, &uplink).await?;
        }
        tokio::select! {
            arrival = next_arrival(&mut connection) => arrived(arrival, &mut session, &mut connection, &uplink).await?,
            accepted = uplink.accepted.recv(), if sealer_is_there => match accepted {
                Some((lane, appended)) => tell(&mut session, lane, appended),
                None => sealer_is_there = false,
            },
            () = tokio::time::sleep_until(session.deadline().into()) => session.handle_deadline(Instant::now()),
            () = stop.cancelled() => break,
        }
    }
    if let Some(connection) = connection {
        connection.leave(LEAVE_GRACE).await;
    }
    info!(unsettled = session.unsettled(), "uplink stopped; what is unsettled stays in the buffer");
    Ok(())
}

fn tell(session: &mut Session, lane: Lane, appended: Appended) {
    let now = Instant::now();
    if !appended.evicted.is_empty() {
        warn!(batches = appended.evicted.count(), "buffer full: let go of the oldest batches");
        session.handle(Event::Evicted(appended.evicted), now);
    }
    if let Some(rows) = appended.rows {
        session.handle(Event::Accepted { rows, lane, began: appended.began }, now);
    }
}

async fn next_arrival(connection: &mut Option<Connection>) -> Arrival {
    match connection {
        Some(connection) => connection.next().await,
        None => std::future::pending().await,
    }
}

async fn arrived(
    arrival: Arrival,
    session: &mut Session,
    connection: &mut Option<Connection>,
    uplink: &Uplink,
) -> Result<(), BufferError> {
    let event = match arrival {
        Arrival::Up => {
            info!(host = %uplink.settings.host, "connected");
            Event::Connected
        }
        Arrival::Down(reason) => {
            info!(%reason, "not connected");
            *connection = None;
            Event::Lost
        }
        Arrival::Message(Channel::Receipt, payload) => match Receipt::decode(&payload) {
            Ok(receipt) => {
                if receipt.nonce.is_some() {
                    let known = uplink.clock.clock();
                    uplink.clock.learn(receipt.gateway_time);
                    if uplink.clock.clock() != known {
                        uplink.buffer.set_clock(uplink.clock.clock()).await?;
                    }
                }
                debug!(epoch = %receipt.epoch, ranges = receipt.ranges.len(), "receipt");
                Event::Receipt(receipt)
            }
            Err(error) => {
                warn!(%error, "a receipt could not be read; the next hello asks again");
                return Ok(());
            }
        },
        #[cfg(feature = "seeded-bugs")]
        Arrival::Acknowledged => {
            for rows in session.under_way() {
                uplink.buffer.forget(rows).await?;
            }
            return Ok(());
        }
        Arrival::Message(channel, _) => {
            debug!(channel = channel.path(), "a message that this version does not act on");
            return Ok(());
        }
    };
    session.handle(event, Instant::now());
    Ok(())
}

async fn perform(
    command: Command,
    session: &mut Session,
    connection: &mut Option<Connection>,
    uplink: &Uplink,
) -> Result<(), BufferError> {
    match command {
        Command::Dial => {
            let Settings { host, port, .. } = &uplink.settings;
            debug!(%host, port, "connecting");
            *connection = Some(Connection::dial(&uplink.device, host, *port, uplink.tls.clone()));
        }
        Command::HangUp => *connection = None,
        Command::Hello(hello) => send(Channel::Hello, Notice::Hello(hello).encode(), session, connection),
        Command::Publish { within, lane, bytes_max } => {
            let event = match uplink.buffer.peek(within, lane == Lane::Live, bytes_max).await? {
                None => Event::NotThere(within),
                Some(mut parcel) => {
                    parcel.frame.header.lane = lane;
                    let payload = parcel.frame.encode();
                    let bytes = payload.len();
                    send(Channel::Batch, payload, session, connection);
                    Event::Published { rows: parcel.rows, bytes, lane }
                }
            };
            session.handle(event, Instant::now());
        }
        Command::Mark(rows) => uplink.buffer.mark(rows).await?,
        Command::Unmark(rows) => {
            warn!(batches = rows.count(), "the gateway no longer has what it had; sending it again");
            uplink.buffer.unmark(rows).await?;
        }
        Command::Alarm { row, reason } => {
            error!(
                row,
                ?reason,
                "the gateway refused a batch; it stays in the buffer: see `tributary-agent buffer show`"
            );
        }
    }
    Ok(())
}

/// Publishes, or else treats the connection as lost.
fn send(channel: Channel, payload: Vec<u8>, session: &mut Session, connection: &mut Option<Connection>) {
    let sent = connection.as_ref().is_some_and(|connection| connection.publish(channel, payload).is_ok());
    if !sent {
        *connection = None;
        session.handle(Event::Lost, Instant::now());
    }
}

/// Jitter and nonces differ from device to device and from start to start.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        warn!("no random numbers from the system; jitter is the same on every device");
    }
    u64::from_be_bytes(bytes)
}
