//! Where sealed batches go: into the buffer, however long that takes.

use std::sync::OnceLock;
use std::time::Duration;

use proto::BootId;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::Gathering;
use crate::buffer::{Append, Appended, BufferError, Handle};
use crate::pulse::{Beat, Pulse};
use crate::uplink::run::Accepted;

/// How long to wait before a failed append is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long it is tried to store what was taken in, once the agent is asked to stop.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// Where sealed batches go, and who is told.
pub(super) struct Store {
    boot: BootId,
    buffer: Handle,
    accepted: mpsc::Sender<Accepted>,
    stop: CancellationToken,
    /// When waiting ends, for everything that is still to be stored; known once the agent is asked to stop.
    give_up_at: OnceLock<Instant>,
    /// Who asks whether a reading could be stored now.
    pub(super) pulses: mpsc::Receiver<Pulse>,
    /// Readings stored so far.
    stored: u64,
    /// The disk took nothing the last time.
    is_refused: bool,
}

impl Store {
    /// Nothing is stored yet.
    pub(super) fn new(
        boot: BootId,
        buffer: Handle,
        accepted: mpsc::Sender<Accepted>,
        pulses: mpsc::Receiver<Pulse>,
        stop: CancellationToken,
    ) -> Self {
        Self { boot, buffer, accepted, stop, give_up_at: OnceLock::new(), pulses, stored: 0, is_refused: false }
    }

    /// Readings stored so far.
    pub(super) fn accepted(&self) -> u64 {
        self.stored
    }

    fn is_past_waiting(&self) -> bool {
        let now = Instant::now();
        self.stop.is_cancelled() && *self.give_up_at.get_or_init(|| now + STOP_GRACE) <= now
    }

    /// Appends what was gathered, and tells the uplink. Waits out what can be waited out.
    pub(super) async fn put(&mut self, gathering: &mut Gathering) -> Result<(), BufferError> {
        let append = gathering.take(self.boot);
        // Dropped on the ways out on which nothing is stored: then they say that.
        let confirms = std::mem::take(&mut gathering.confirms);
        if let Some((source, first)) = append.rejects.first() {
            let (rejects, place, reason) = (append.rejects.len(), &first.place, &first.reason);
            warn!(%source, rejects, %place, %reason, "rejected, this and others; see `tributary-agent buffer rejected`");
        }
        let readings: u64 = append.batches.iter().map(|batch| batch.readings).sum();
        let Some(appended) = self.append(append).await? else {
            error!(readings, "could not be stored before the stop: these readings were not accepted");
            return Ok(());
        };
        self.stored += readings;
        confirms.into_iter().for_each(|confirm| confirm.tell(Ok(())));
        // An uplink that has ended needs no news: what is stored is found again at the next start.
        let _ = self.accepted.send((gathering.lane, appended)).await;
        Ok(())
    }

    /// Tries until it is stored; none if it was not before the stop.
    async fn append(&mut self, append: Append) -> Result<Option<Appended>, BufferError> {
        let mut failures = 0_u32;
        loop {
            let error = match self.buffer.append(append.clone()).await {
                Ok(appended) => {
                    self.is_refused = false;
                    return Ok(Some(appended));
                }
                Err(BufferError::Gone) => return Err(BufferError::Gone),
                Err(error) => error,
            };
            if failures.is_power_of_two() || failures == 0 {
                error!(%error, cause = ?std::error::Error::source(&error), failures, "nothing can be stored; waiting");
            }
            failures = failures.saturating_add(1);
            self.is_refused = true;
            if self.is_past_waiting() {
                return Ok(None);
            }
            self.wait_to_retry().await?;
        }
    }

    async fn wait_to_retry(&mut self) -> Result<(), BufferError> {
        let until = Instant::now() + RETRY_AFTER;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return Ok(()),
                () = self.stop.cancelled(), if !self.stop.is_cancelled() => return Ok(()),
                Some(pulse) = self.pulses.recv() => self.pass_on(pulse).await?,
            }
        }
    }

    /// Has the buffer's thread answer, behind all that it was given before.
    pub(super) async fn pass_on(&self, pulse: Pulse) -> Result<(), BufferError> {
        let beat = if self.is_refused { Beat::Waits(self.stored) } else { Beat::Stores(self.stored) };
        self.buffer.pulse(beat, pulse).await
    }
}
