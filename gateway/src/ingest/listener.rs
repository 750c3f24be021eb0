//! The gateway's own MQTT 3.1.1 and 5 endpoint for devices, over TLS with client certificates.
//!
//! It serves devices and is no general broker: a device is who its certificate says, publishes to its own topics and
//! hears its own; nothing is stored here and nothing goes from one device to another. A publish at QoS 1 is
//! acknowledged when the pipeline has settled it, in the order of arrival. While the pipeline has no room, what devices
//! have under way waits here within bounds, and pings are answered; beyond the bounds nothing is read.
//!
//! Each connection is one task, owned by [`Listener::run`]: `connection` leads it from handshake to farewell, `drive`
//! waits for it, `session` decides. `packet`, `connect` and `reply` are the bytes, `rights` the rules,
//! [`control`] the hand from outside.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Identify, Intake};
use crate::audit::Auditor;
use crate::enrol::{Claims, Cuts};
use crate::half_open::HalfOpen;
use quota::{Allowance, Quotas};

mod connect;
mod connection;
mod contests;
pub mod control;
pub mod counters;
mod deadlines;
mod denials;
mod descriptors;
mod drive;
mod end;
mod entry;
mod envelope;
mod farewell;
mod forbidden;
#[doc(hidden)]
pub mod fuzzing;
mod held;
mod limits;
mod outbox;
mod packet;
mod peer;
mod quota;
mod reply;
mod rights;
mod session;
mod settings;
pub mod tls;

pub use control::Control;
pub use counters::Counters;
pub use settings::Settings;

/// Sessions of claims at once. They are short, and come again where there is no room.
const CLAIM_SESSIONS_MAX: usize = 64;

/// Why the listener cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Someone else listens there.
    #[error(
        "cannot listen on {address}: the port is in use; stop what uses it (`ss -ltnp` names it) or choose another"
    )]
    InUse {
        /// Where.
        address: SocketAddr,
    },
    /// The system does not let this user.
    #[error("cannot listen on {address}: not permitted; ports below 1024 need a privilege, 8883 does not")]
    NotPermitted {
        /// Where.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}; is it an address of this machine?")]
    Other {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A socket that listens, and what its connections share.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What all connections of a listener share.
struct Shared {
    settings: Settings,
    identify: Identify,
    /// The codes that may be shown.
    claims: Claims,
    /// Sessions of claims that there is room for.
    claim_seats: Arc<Semaphore>,
    intake: Intake,
    auditor: Auditor,
    control: Control,
    counters: Arc<Counters>,
    /// What connections may hold together while the pipeline has no room, in bytes.
    shares: Arc<Semaphore>,
    /// What devices have left that were connected a moment ago.
    quotas: Quotas,
}

impl Listener {
    /// Listens, without accepting yet: who connects now waits until [`Listener::run`].
    ///
    /// `tls` comes from [`tls::server_config`], `identify` names the device of a DER certificate, `intake` takes
    /// what devices send, and `auditor` what they are denied.
    pub async fn bind(
        settings: Settings,
        tls: Arc<ServerConfig>,
        identify: Identify,
        intake: Intake,
        auditor: Auditor,
    ) -> Result<Self, BindError> {
        let address = settings.address;
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address },
            io::ErrorKind::PermissionDenied => BindError::NotPermitted { address },
            _ => BindError::Other { address, source },
        };
        descriptors::make_room(settings.connections_max);
        let socket = listen(address).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let control = Control::new(tls, Cuts::default());
        let counters = Arc::default();
        let shares =
            Arc::new(Semaphore::new(usize::try_from(settings.held_bytes_max).unwrap_or(Semaphore::MAX_PERMITS)));
        let claim_seats = Arc::new(Semaphore::new(CLAIM_SESSIONS_MAX));
        let claims = Claims::default();
        let quotas = Quotas::new(Allowance {
            packets_per_s: settings.device_publishes_per_s_max,
            bytes_per_s: settings.device_bytes_per_s_max,
        });
        let shared =
            Shared { settings, identify, claims, claim_seats, intake, auditor, control, counters, shares, quotas };
        let shared = Arc::new(shared);
        Ok(Self { socket, address, shared })
    }

    /// Who shows a code among `claims` may ask for a certificate, where `tls` lets it in, and whom they say to be cut off is
    /// not let in. To be said before [`Listener::control`] is asked for.
    #[must_use]
    pub fn with_claims(mut self, claims: Claims) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.control = Control::new(shared.control.tls(), claims.cuts().clone());
            shared.claims = claims;
        }
        self
    }

    /// Where it listens: with port 0 in the settings, the port that the system chose.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The hand that closes connections and renews TLS.
    #[must_use]
    pub fn control(&self) -> Control {
        self.shared.control.clone()
    }

    /// What is counted.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// Serves devices until `stop`. Then nobody new is let in, publishes under way get their verdict within
    /// `stop_grace`, everyone is told, and all tasks have ended when this returns.
    pub async fn run(self, stop: CancellationToken) {
        let Self { socket, address, shared } = self;
        let half_open = HalfOpen::new(shared.settings.handshakes_max);
        let mut tasks = JoinSet::new();
        let mut full = false;
        tracing::info!(%address, "listening for devices");
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = tasks.join_next() => note(ended),
                accepted = accept(&half_open, &socket) => match accepted {
                    Ok((socket, peer)) if tasks.len() < shared.settings.connections_max => {
                        full = false;
                        admit(&shared, &half_open, &mut tasks, socket, peer, stop.clone());
                    }
                    Ok(_) => {
                        shared.counters.connections_turned_away.add();
                        if !full {
                            tracing::warn!("no room for more connections, new ones are closed; raise `connections_max`");
                        }
                        full = true;
                    }
                    Err(error) => {
                        // Out of file descriptors, mostly: trying again at once would only burn time.
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(socket);
        drain(tasks, shared.settings.stop_grace + shared.settings.farewell_deadline * 2).await;
        tracing::info!(%address, "no longer listening");
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?; // a restart need not wait for the ports of closed connections
    socket.bind(address)?;
    socket.listen(QUEUE_MAX)
}

/// The next connection, once a handshake more may be under way. Cancel safe.
async fn accept(half_open: &HalfOpen, socket: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    half_open.room().await;
    socket.accept().await
}

fn admit(
    shared: &Arc<Shared>,
    half_open: &Arc<HalfOpen>,
    tasks: &mut JoinSet<()>,
    socket: TcpStream,
    peer: SocketAddr,
    stop: CancellationToken,
) {
    // Answers are gathered before they are written, so waiting for more of them would only delay them.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%peer, %error, "gone before it was served");
        return;
    }
    let (place, evicted) = half_open.enter(Instant::now());
    if evicted {
        shared.counters.handshakes_evicted.add();
    }
    let shared = Arc::clone(shared);
    tasks.spawn(async move { connection::serve(&shared, socket, peer, place, stop).await });
}

async fn drain(mut tasks: JoinSet<()>, grace: Duration) {
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            note(ended);
        }
    };
    if timeout(grace, all).await.is_err() {
        tracing::warn!(connections = tasks.len(), "grace over, connections are cut without a farewell");
        tasks.shutdown().await;
    }
}

fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed; this is a defect, please report it");
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("settings", &self.settings)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// Connections that wait in the system's queue when a fleet comes back at once; who finds no room there comes again by
/// itself, seconds later. Linux allows 4096 unless told otherwise (`net.core.somaxconn`).
const QUEUE_MAX: u32 = 4_096;
/// After a failed accept: 10 tries a second.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
