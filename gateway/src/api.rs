//! HTTP: what people and their tools see of the gateway.
//!
//! Everything under `/api/v1` is JSON, errors are problem+json (RFC 9457), live views are server-sent events, and the
//! rest is the dashboard. There are no accounts yet, so the API listens on loopback only, with TLS or without, and refuses requests that a
//! foreign web page made a browser send.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use axum::serve::Listener as _;
use proto::Instant;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::store::sqlite::READERS;
use crate::store::{Reader, Tick};

mod ask;
mod dashboard;
mod devices;
mod door;
mod guard;
mod health;
mod json;
mod live;
pub(crate) mod metrics;
mod patience;
mod problem;
mod query;
mod series;
mod subjects;
mod tls;

pub use door::{Bounds, Counters, Door};
pub use metrics::{Metric, MetricKind};
pub use tls::{Tls, server_config};

/// What the API answers from. Clones share it.
#[derive(Clone)]
pub struct State(Arc<Inner>);

struct Inner {
    reader: Reader,
    feed: watch::Receiver<Tick>,
    metrics: Vec<Metric>,
    is_recording: IsRecording,
    now: fn() -> Instant,
    started: Instant,
    /// One for each connection of the reader, so that no thread waits for one.
    reads: Semaphore,
    live: live::Hub,
}

/// Whether what comes in is recorded, as far as the last try tells.
pub type IsRecording = Box<dyn Fn() -> bool + Send + Sync>;

impl State {
    /// `feed` comes from the writer, `metrics` from whoever counts.
    #[must_use]
    pub fn new(
        reader: Reader,
        feed: watch::Receiver<Tick>,
        metrics: Vec<Metric>,
        is_recording: IsRecording,
        now: fn() -> Instant,
    ) -> Self {
        let (started, reads, live) = (now(), Semaphore::new(READERS), live::Hub::new());
        Self(Arc::new(Inner { reader, feed, metrics, is_recording, now, started, reads, live }))
    }

    fn now_us(&self) -> i64 {
        (self.0.now)().0
    }
}

/// An address that the API must not listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} can be reached from elsewhere, but accounts do not exist yet, so listen on 127.0.0.1 or [::1] only")]
pub struct AddressError(SocketAddr);

/// Fails unless `address` is a loopback address.
///
/// # Errors
/// When it is not.
pub fn check_address(address: SocketAddr) -> Result<(), AddressError> {
    if address.ip().is_loopback() { Ok(()) } else { Err(AddressError(address)) }
}

/// A socket that listens on `address`.
///
/// # Errors
/// It is no loopback address, or it is taken.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    check_address(address).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("listen on {address}: {error}")))
}

/// Answers requests of those who come in by `door` until `stop`, and ends live views then.
///
/// # Errors
/// The listener's address cannot be told.
pub async fn serve(door: impl Into<Door>, state: State, stop: CancellationToken) -> io::Result<()> {
    let door = door.into();
    let router = router(state.clone(), door.local_addr()?, door.is_secure());
    let hub = live::drive(&state, &stop);
    let server = axum::serve(door, router).with_graceful_shutdown({
        let (state, stop) = (state.clone(), stop.clone());
        async move {
            stop.cancelled().await;
            state.0.live.close();
        }
    });
    let bounded = async {
        tokio::select! {
            ended = server.into_future() => ended,
            () = async { stop.cancelled().await; tokio::time::sleep(ask::DEADLINE).await } => Ok(()),
        }
    };
    tokio::join!(hub, bounded).1
}

/// All routes, for requests to `address`, by https or by http.
pub fn router(state: State, address: SocketAddr, is_secure: bool) -> Router {
    let guard = guard::Guard::new(address, is_secure);
    let api = Router::new()
        .route("/devices", get(devices::all))
        .route("/devices/{id}", get(devices::one))
        .route("/devices/{id}/ledger", get(devices::ledger))
        .route("/quarantine", get(devices::quarantine))
        .route("/series", get(series::all))
        .route("/series/{id}/readings", get(series::readings))
        .route("/series/{id}/days", get(series::days))
        .route("/latest", get(series::latest))
        .route("/subjects", get(subjects::all))
        .route("/subjects/{id}", get(subjects::one))
        .route("/live", get(live::events))
        .route("/about", get(health::about))
        .fallback(problem::no_such_path);
    Router::new()
        .nest("/api/v1", api)
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .fallback(dashboard::asset)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(from_fn(guard::within_deadline))
        .layer(from_fn_with_state(guard, guard::admit))
        .with_state(state)
}
