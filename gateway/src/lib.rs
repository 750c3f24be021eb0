//! The gateway: from devices to the stores, from the stores to people.
//!
//! `ingest` and `api` know the store and not each other; [`run`] introduces them, with channels.

use std::sync::Arc;

use proto::Instant;
use service::Manager;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::Config;
use crate::ingest::heart::Heart;
use crate::ingest::totals::Totals;
use crate::parts::Parts;

pub mod api;
pub mod audit;
#[cfg(feature = "aws")]
mod aws;
mod check;
pub mod cli;
pub mod config;
pub mod doctor;
mod ends;
pub mod enrol;
mod half_open;
pub mod ingest;
mod lists;
mod metrics;
mod named;
mod opening;
mod parts;
mod renewal;
pub mod rollup;
mod seeded;
pub mod store;
pub mod tls;
mod trouble;

/// What the pipeline of this process has done.
static TOTALS: Totals = Totals::zero();
/// What the rollups of this process have done.
static ROLLUPS: rollup::Totals = rollup::Totals::zero();

/// Where the gateway can be reached.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// MQTT over TLS.
    pub mqtt: std::net::SocketAddr,
    /// Dashboard and API.
    pub http: std::net::SocketAddr,
    /// Whether that is HTTPS.
    pub is_secure: bool,
}

/// Runs the gateway until `stop`: doors close first, then what came in is committed and answered, then the API ends.
/// `ready` is told once all is open.
///
/// # Errors
/// When something cannot be opened, or a part of the gateway ends early.
pub async fn run(config: Config, stop: CancellationToken, ready: impl FnOnce(Addresses)) -> anyhow::Result<()> {
    let (mut parts, addresses) = Parts::start(config, &stop).await?;
    info!(mqtt = %addresses.mqtt, http = %addresses.http, "ready");
    ready(addresses);
    let manager = Manager::of_environment().map(Arc::new);
    let telling = tokio::spawn(tell(manager.clone(), Arc::clone(&parts.heart), stop.clone()));
    parts.run_until(stop).await?;
    if let Some(manager) = &manager {
        manager.stopping();
    }
    telling.await?;
    parts.end().await
}

/// Tells who started this program, if they want to know, that all is open, and how it goes until `stop`.
async fn tell(manager: Option<Arc<Manager>>, heart: Arc<Heart>, stop: CancellationToken) {
    let Some(manager) = manager else { return };
    manager.ready(&heart.words());
    let telling = manager.keep_told(|| {
        let heart = Arc::clone(&heart);
        async move {
            heart.beat().await;
            heart.words()
        }
    });
    tokio::select! {
        () = telling => {}
        () = stop.cancelled() => {}
    }
}

/// The one place where the gateway looks at the wall clock.
#[must_use]
pub fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the shell that passes time in")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Instant(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
