//! The agent: from sources to the buffer, from the buffer to the gateway.
//!
//! `source` and `uplink` know the buffer and not each other; [`run`] introduces them, with channels.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::buffer::{Buffer, Handle};
use crate::clock::BootClock;
use crate::config::Config;
use crate::source::Outlet;

pub mod buffer;
pub mod cli;
pub mod clock;
pub mod config;
pub mod identity;
mod random;
pub mod sealer;
mod seeded;
pub mod source;
pub mod uplink;

/// Intakes that wait for the sealer. Each holds at most some thousand readings.
const INTAKES_MAX: usize = 16;
/// News of appends that wait for the uplink.
const NEWS_MAX: usize = 64;
/// How long sources may take to end once asked to.
const SOURCES_GRACE: Duration = Duration::from_secs(5);

/// Runs the agent until `stop`: intake stops first, then what was taken in is sealed and stored, then the uplink takes
/// its leave.
///
/// # Errors
/// When the buffer or the device's identity cannot be opened, or the buffer fails for good.
pub async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let clock = Arc::new(BootClock::start(random()?));
    let uplink_settings = config.uplink();
    let tls = uplink_settings.as_ref().map(identity::tls).transpose()?;
    let buffer = Buffer::open(config.buffer(), clock.clock())?;
    let (contents, cursors) = (buffer.contents()?, buffer.cursors()?);
    let (buffer, buffer_thread) = Handle::spawn(buffer).context("start the buffer's thread")?;
    info!(device.id = %config.device.id, held = contents.held.count(), "agent started");

    let (outlet, intake) = Outlet::new(INTAKES_MAX);
    let (news, accepted) = mpsc::channel(NEWS_MAX);
    let stop_sources = stop.child_token();
    let stop_uplink = CancellationToken::new();
    let sources = source::supervise(config.sources.clone(), cursors, outlet, clock.clone().into(), stop_sources);
    let mut sources = tokio::spawn(sources);
    let sealer = sealer::run(config.sealer(), clock.boot(), intake, buffer.clone(), news, stop.clone());
    let mut sealer = tokio::spawn(sealer);
    let mut uplink = match (uplink_settings, tls) {
        (Some(settings), Some(tls)) => {
            let device = config.device.id.clone();
            let uplink = uplink::run::Uplink { device, settings, tls, buffer, contents, clock, accepted };
            tokio::spawn(uplink::run::run(uplink, stop_uplink.clone()))
        }
        _ => tokio::spawn(capture_only(accepted, stop_uplink.clone(), buffer)),
    };

    // The sealer ends when all sources have, which files do, or because the buffer failed.
    let sealed_all = tokio::select! {
        () = stop.cancelled() => None,
        ended = &mut sealer => Some(ended??),
        ended = &mut uplink => {
            ended??;
            anyhow::bail!("the uplink ended early");
        }
    };
    if sealed_all.is_some() {
        info!("no source has anything more; what is not yet confirmed is still sent");
        tokio::select! {
            () = stop.cancelled() => {}
            ended = &mut uplink => {
                ended??;
                anyhow::bail!("the uplink ended early");
            }
        }
    }
    info!("stopping");
    if timeout(SOURCES_GRACE, &mut sources).await.is_err() {
        warn!("a source did not end in time; what it had not handed over is not taken in");
        sources.abort();
    }
    let accepted = match sealed_all {
        Some(accepted) => accepted,
        None => sealer.await??,
    };
    info!(accepted, "nothing more is taken in");
    stop_uplink.cancel();
    uplink.await??;
    tokio::task::spawn_blocking(move || buffer_thread.join())
        .await?
        .map_err(|_| anyhow::anyhow!("the buffer's thread panicked"))?;
    Ok(())
}

/// Without an uplink, batches only pile up.
async fn capture_only(
    mut accepted: mpsc::Receiver<uplink::run::Accepted>,
    stop: CancellationToken,
    _buffer: Handle,
) -> Result<(), buffer::BufferError> {
    warn!("no [uplink] configured: readings are kept here and sent nowhere");
    loop {
        tokio::select! {
            news = accepted.recv() => if news.is_none() { stop.cancelled().await },
            () = stop.cancelled() => return Ok(()),
        }
    }
}

fn random() -> anyhow::Result<[u8; 8]> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).context("get random numbers from the system")?;
    Ok(bytes)
}
