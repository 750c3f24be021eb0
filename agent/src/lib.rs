//! The agent: from sources to the buffer, from the buffer to the gateway.
//!
//! `source` and `uplink` know the buffer and not each other; [`run`] introduces them, with channels.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use service::Manager;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::buffer::{Buffer, BufferError, Handle};
use crate::clock::BootClock;
use crate::config::Config;
use crate::pulse::Beat;
use crate::source::{Configured, Outlet};

pub mod buffer;
pub mod cli;
pub mod clock;
pub mod config;
pub mod identity;
pub mod pulse;
mod random;
pub mod sealer;
mod seeded;
pub mod source;
mod unusable;
pub mod uplink;

/// Intakes that wait for the sealer. Each holds at most some thousand readings.
const INTAKES_MAX: usize = 16;
/// News of appends that wait for the uplink.
const NEWS_MAX: usize = 64;
/// Pulses that wait for the sealer. There is one asker, and it waits for its answer.
const PULSES_MAX: usize = 1;
/// How long what was taken in may take to be stored, once all sources have ended: on a full disk it cannot be.
const SEALER_GRACE: Duration = Duration::from_secs(10);
/// How long the uplink may take to end: its leave, and a slow disk.
const UPLINK_GRACE: Duration = Duration::from_secs(10);
/// How long the buffer's thread may take to end.
const BUFFER_GRACE: Duration = Duration::from_secs(10);
const BUFFER_LOOK_EVERY: Duration = Duration::from_millis(5);
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
    let tls = uplink_settings.as_ref().map(|settings| identify(settings, clock.clone())).transpose()?;
    let receipt_key_file = uplink_settings.as_ref().and_then(|settings| settings.receipt_key_file.as_deref());
    let receipt_key = receipt_key_file.map(identity::receipts::ReceiptKey::read).transpose()?;
    let mut buffer = Buffer::open(config.buffer(), clock.clock())?;
    clock.resume(buffer.kept_clock(clock.boot())?);
    if let Err(error) = buffer.set_clock(clock.clock()) {
        warn!(%error, "the clock cannot be noted now; it is noted with the next epoch");
    }
    let sources = that_may_begin(config.sources.clone(), &mut buffer)?;
    let source_count = sources.len();
    let (contents, cursors) = (buffer.contents()?, buffer.cursors()?);
    let (buffer, buffer_thread) = Handle::spawn(buffer).context("start the buffer's thread")?;
    info!(device.id = %config.device.id, held = contents.held.count(), "agent started");

    let (outlet, intake) = Outlet::new(INTAKES_MAX);
    let (news, accepted) = mpsc::channel(NEWS_MAX);
    let stop_sources = stop.child_token();
    let stop_uplink = CancellationToken::new();
    let sources = source::supervise(sources, cursors, outlet, clock.clone().into(), stop_sources);
    let sources = tokio::spawn(sources);
    let (pulse, pulses) = mpsc::channel(PULSES_MAX);
    let sealer = sealer::run(config.sealer(), clock.boot(), intake, buffer.clone(), news, pulses, stop.clone());
    let sealer = tokio::spawn(sealer);
    let manager = Manager::of_environment().map(Arc::new);
    let fed = tokio::spawn(pulse::feed(manager.clone(), source_count, pulse, buffer.clone(), stop.clone()));
    let uplink = match (uplink_settings, tls) {
        (Some(settings), Some(tls)) => {
            let device = config.device.id.clone();
            let uplink = uplink::run::Uplink { device, settings, tls, buffer, contents, receipt_key, clock, accepted };
            tokio::spawn(uplink::run::run(uplink, stop_uplink.clone()))
        }
        _ => tokio::spawn(capture_only(accepted, stop_uplink.clone(), buffer)),
    };

    if let Some(manager) = &manager {
        manager.ready(&Beat::Stores(0).words(source_count));
    }
    let running = Running { sources, sealer, uplink, buffer: buffer_thread, stop_uplink, fed, manager };
    running.until(stop).await
}

/// What runs, in the order in which it ends.
struct Running {
    sources: JoinHandle<()>,
    sealer: JoinHandle<Result<u64, BufferError>>,
    uplink: JoinHandle<Result<(), BufferError>>,
    stop_uplink: CancellationToken,
    buffer: std::thread::JoinHandle<()>,
    /// Ends with the token that all were started with.
    fed: JoinHandle<()>,
    manager: Option<Arc<Manager>>,
}

impl Running {
    /// Waits for `stop`, and ends all.
    async fn until(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        // The sealer ends when all sources have, which files do, or because the buffer failed.
        let sealed_all = tokio::select! {
            () = stop.cancelled() => None,
            ended = &mut self.sealer => Some(ended??),
            ended = &mut self.uplink => return early(ended),
        };
        if sealed_all.is_some() {
            info!("no source has anything more; what is not yet confirmed is still sent");
            tokio::select! {
                () = stop.cancelled() => {}
                ended = &mut self.uplink => return early(ended),
            }
        }
        self.end(sealed_all).await
    }

    /// Ends what still runs; `sealed_all` where the sealer has ended by itself.
    async fn end(mut self, sealed_all: Option<u64>) -> anyhow::Result<()> {
        info!("stopping");
        if let Some(manager) = &self.manager {
            manager.stopping();
        }
        self.fed.await?; // it has a way to the buffer, whose thread ends when all are gone
        if timeout(SOURCES_GRACE, &mut self.sources).await.is_err() {
            warn!("a source did not end in time; what it had not handed over is not taken in");
            self.sources.abort();
        }
        let accepted = match sealed_all {
            Some(accepted) => Some(accepted),
            None => finish(&mut self.sealer, SEALER_GRACE).await.transpose()?.transpose()?,
        };
        match accepted {
            Some(accepted) => info!(accepted, "nothing more is taken in"),
            None => error!("what was taken in last cannot be stored; sources that can will say it again"),
        }
        self.stop_uplink.cancel();
        match finish(&mut self.uplink, UPLINK_GRACE).await {
            Some(ended) => ended??,
            None => warn!("the uplink did not end in time"),
        }
        // Waited for by looking: to wait in a thread would keep the program as long.
        let is_over = async {
            while !self.buffer.is_finished() {
                tokio::time::sleep(BUFFER_LOOK_EVERY).await;
            }
        };
        if timeout(BUFFER_GRACE, is_over).await.is_err() {
            warn!("the buffer's thread did not end in time");
            return Ok(());
        }
        self.buffer.join().map_err(|_| anyhow::anyhow!("the buffer's thread panicked"))
    }
}

/// An uplink that ends before it was asked to: the buffer failed, or it has a fault.
fn early(ended: Result<Result<(), BufferError>, JoinError>) -> anyhow::Result<()> {
    ended??;
    anyhow::bail!("the uplink ended early")
}

/// What this device shows and whom it trusts.
fn identify(settings: &uplink::Settings, clock: Arc<BootClock>) -> anyhow::Result<identity::Tls> {
    let key = identity::Key::open(&settings.key)?;
    // First of all: a power cut between the two last steps of a renewal leaves the new key beside the old certificate.
    identity::keep::Keep::open(&settings.certificate_file, &key)?;
    Ok(identity::Tls::open_with(settings, clock, key)?)
}

/// `sources` without those whose place to resume from was damaged on the disk.
fn that_may_begin(mut sources: Vec<Configured>, buffer: &mut Buffer) -> Result<Vec<Configured>, BufferError> {
    let resuming: Vec<&str> =
        sources.iter().filter(|source| source.settings.resumes()).map(|source| source.name.as_str()).collect();
    let lost = buffer.lost_cursors(&resuming)?;
    for source in &lost {
        error!(
            source,
            "{source}: the place to resume from was damaged on the disk, so it is not started: it would take in again what \
             it took in before; rename the source to have it start from the beginning"
        );
    }
    sources.retain(|source| !lost.contains(&source.name));
    Ok(sources)
}

/// What `task` ends with, or none if it does not end within `grace`: then it is ended.
async fn finish<T>(task: &mut JoinHandle<T>, grace: Duration) -> Option<Result<T, JoinError>> {
    let ended = timeout(grace, &mut *task).await;
    if ended.is_err() {
        task.abort();
    }
    ended.ok()
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
