//! The gateway: from devices to the stores, from the stores to people.
//!
//! `ingest` and `api` know the store and not each other; [`run`] introduces them, with channels.

use proto::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::Config;
use crate::ingest::totals::Totals;
use crate::parts::Parts;

pub mod api;
pub mod audit;
#[cfg(feature = "aws")]
mod aws;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod enrol;
mod half_open;
pub mod ingest;
mod lists;
mod metrics;
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
    parts.run_until(stop).await?;
    parts.end().await
}

/// The one place where the gateway looks at the wall clock.
#[must_use]
pub fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the shell that passes time in")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Instant(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
