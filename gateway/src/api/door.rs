//! Where people come in: connections, a bounded number of them, with TLS or without, each of which must go on.
//!
//! Handshakes happen beside each other, within a deadline and a bounded number of places. A connection whose request does
//! not come whole, whose answer is not taken, or on which nothing happens any more is closed: none is held for ever.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::patience::{Patience, Patient, Stream};
use super::tls::Tls;
use crate::half_open::{HalfOpen, Place};

/// What a [`Door`] allows. Every number bounds memory, time, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at once, those in a handshake included; more wait in the system's queue. There is room for 256 live
    /// views and as many others.
    pub connections_max: usize,
    /// TLS handshakes at once. One more pushes out the oldest as soon as that is stalled.
    pub handshakes_max: usize,
    /// For a whole TLS handshake.
    pub handshake_deadline: Duration,
    /// From the first byte of a request, or the beginning of the connection, to the first byte of the answer. Twice what an
    /// answer may take.
    pub request_deadline: Duration,
    /// Without a byte of an answer, or of another request. Live views say something every 5 s.
    pub idle_deadline: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 512,
            handshakes_max: 128,
            handshake_deadline: Duration::from_secs(10),
            request_deadline: super::ask::DEADLINE * 2,
            idle_deadline: Duration::from_secs(60),
        }
    }
}

/// What has become of handshakes and connections, since the start.
#[derive(Debug, Default)]
pub struct Counters {
    handshakes_failed: AtomicU64,
    stalled: AtomicU64,
}

impl Counters {
    /// TLS handshakes that failed, were too slow, or were pushed out.
    #[must_use]
    pub fn handshakes_failed(&self) -> u64 {
        self.handshakes_failed.load(Ordering::Relaxed)
    }

    /// Connections closed because nothing went on.
    #[must_use]
    pub fn stalled(&self) -> u64 {
        self.stalled.load(Ordering::Relaxed)
    }

    pub(super) fn one_stalled(&self) {
        self.stalled.fetch_add(1, Ordering::Relaxed);
    }
}

/// A socket that listens for people.
#[derive(Debug)]
pub struct Door {
    socket: TcpListener,
    tls: Option<Tls>,
    bounds: Bounds,
    seats: Arc<Semaphore>,
    half_open: Arc<HalfOpen>,
    handshakes: JoinSet<Option<(Patient, SocketAddr)>>,
    counters: Arc<Counters>,
}

impl Door {
    /// Lets people in by `socket`: with `tls`, and nobody without it; or all of them without.
    #[must_use]
    pub fn new(socket: TcpListener, tls: Option<Tls>, bounds: Bounds) -> Self {
        Self {
            socket,
            tls,
            bounds,
            seats: Arc::new(Semaphore::new(bounds.connections_max)),
            half_open: HalfOpen::new(bounds.handshakes_max),
            handshakes: JoinSet::new(),
            counters: Arc::default(),
        }
    }

    /// What is counted.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Whether people come in by TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// A connection that needs no handshake; one that does begins it.
    fn admit(&mut self, socket: TcpStream, peer: SocketAddr, seat: OwnedSemaphorePermit) -> Option<Patient> {
        let patience = Patience::new(self.bounds, Arc::clone(&self.counters));
        let Some(tls) = &self.tls else {
            return Some(Patient::new(Stream::Plain(socket), seat, patience));
        };
        let (place, evicted) = self.half_open.enter(Instant::now());
        if evicted {
            tracing::debug!("the oldest tls handshake of a browser makes room");
        }
        let (acceptor, deadline, counters) =
            (TlsAcceptor::from(tls.get()), self.bounds.handshake_deadline, Arc::clone(&self.counters));
        self.handshakes.spawn(async move {
            let stream = handshake(&acceptor, socket, place, deadline, peer).await;
            if stream.is_none() {
                counters.handshakes_failed.fetch_add(1, Ordering::Relaxed);
            }
            // Only now does the time of the first request begin.
            stream.map(|stream| (Patient::new(stream, seat, patience.begun()), peer))
        });
        None
    }
}

async fn handshake(
    acceptor: &TlsAcceptor,
    socket: TcpStream,
    place: Place,
    deadline: Duration,
    peer: SocketAddr,
) -> Option<Stream> {
    let why = tokio::select! {
        done = timeout(deadline, acceptor.accept(socket)) => match done {
            Ok(Ok(stream)) => {
                place.succeeded(Instant::now());
                return Some(Stream::Secure(Box::new(stream)));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        },
        () = place.evicted() => "newer ones took its place".to_owned(),
    };
    tracing::info!(%peer, why, "tls handshake of a browser failed");
    None
}

/// The next connection, once there is room for it. Cancel safe.
async fn next(
    socket: &TcpListener,
    seats: &Arc<Semaphore>,
    half_open: &HalfOpen,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let seat = Arc::clone(seats).acquire_owned().await.map_err(io::Error::other)?;
    half_open.room().await; // without TLS there always is
    let (socket, peer) = socket.accept().await?;
    socket.set_nodelay(true)?;
    Ok((socket, peer, seat))
}

impl From<TcpListener> for Door {
    /// Without TLS.
    fn from(socket: TcpListener) -> Self {
        Self::new(socket, None, Bounds::default())
    }
}

impl Listener for Door {
    type Io = Patient;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Patient, SocketAddr) {
        loop {
            let accepted = tokio::select! {
                Some(ended) = self.handshakes.join_next() => match ended {
                    Ok(Some(ready)) => return ready,
                    Ok(None) => continue,
                    Err(error) => {
                        tracing::error!(%error, "a handshake's task failed; this is a defect, please report it");
                        continue;
                    }
                },
                accepted = next(&self.socket, &self.seats, &self.half_open) => accepted,
            };
            match accepted {
                Ok((socket, peer, seat)) => {
                    if let Some(ready) = self.admit(socket, peer, seat) {
                        return (ready, peer);
                    }
                }
                Err(error) => {
                    // Out of file descriptors, mostly: trying again at once would only burn time.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// After a failed accept: 10 tries a second.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
