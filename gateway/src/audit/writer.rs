//! The thread that writes the trail: several entries in a transaction, tried again until the store takes them, and now
//! and then where the chain ends into the second place.

use std::sync::Arc;
use std::time::{Duration, Instant as Moment};

use proto::Instant;
use tracing::{error, info, warn};

use super::chain::Head;
use super::checkpoint::Checkpoints;
use super::entry::Entry;
use super::queue::{End, Queue};
use super::trim::Cut;
use super::{Settings, Totals};
use crate::store::Now;
use crate::store::audit::Trail;
use crate::trouble::Trouble;

/// From one look for repeats whose time is over to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two transactions, so that several entries share one, and devices wait for few.
const PAUSE: Duration = Duration::from_millis(200);
/// From one look for entries that are too old, or too many, to the next.
const TRIM_EVERY: Duration = Duration::from_secs(3_600);
/// Before a store that failed is tried again: doubling from the first to the second.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// What the thread has.
pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    pub(super) totals: Arc<Totals>,
    pub(super) trail: Box<dyn Trail>,
    pub(super) checkpoints: Checkpoints,
    pub(super) settings: Settings,
    pub(super) now: Now,
    /// Where the chain was last seen to end.
    pub(super) head: Head,
    /// The cut that was last written down in the second place.
    pub(super) noted_cut: Option<Head>,
    pub(super) store_trouble: Trouble,
    pub(super) file_trouble: Trouble,
}

impl Writer {
    /// Writes until no more is to come and all of it is written, or given up.
    pub(super) fn run(mut self) {
        let mut trim_due = Moment::now();
        let mut checkpoint_due = Moment::now() + self.settings.checkpoint_every;
        loop {
            // Asked first: what came before the end was told is taken after it.
            let end = self.queue.end();
            let batch = self.queue.take(LOOK_EVERY.min(self.settings.checkpoint_every));
            if end == End::GivenUp || !self.append(&batch) {
                return;
            }
            let is_over = end == End::Closing && batch.is_empty();
            if is_over || checkpoint_due <= Moment::now() {
                if !is_over && trim_due <= Moment::now() {
                    // Soon again while there is much to do.
                    trim_due = Moment::now() + if self.trim() { Duration::ZERO } else { TRIM_EVERY };
                }
                self.note_checkpoint();
                checkpoint_due = Moment::now() + self.settings.checkpoint_every;
            }
            if is_over {
                return;
            }
            if !batch.is_empty() {
                self.queue.rest(PAUSE, End::Closing);
            }
        }
    }

    /// Appends `batch`, however often it has to be tried. Answers false when it was given up.
    fn append(&mut self, batch: &[Entry]) -> bool {
        let mut pause = RETRY_MIN;
        while !batch.is_empty() {
            match self.trail.append(batch) {
                Ok(head) => {
                    self.totals.entries.add(batch.len() as u64);
                    if let Some(time) = self.store_trouble.is_over(Moment::now()) {
                        info!(after_s = time.as_secs(), "the audit trail is written again");
                    }
                    let added = i64::try_from(batch.len()).unwrap_or(i64::MAX);
                    self.see(head, self.head.sequence.saturating_add(added));
                    break;
                }
                Err(error) => {
                    self.totals.failures.add(1);
                    if self.store_trouble.is_news(&error.to_string(), Moment::now()) {
                        error!(%error, "the audit trail could not be written; its entries are kept and this is tried again");
                    }
                    self.queue.rest(pause, End::GivenUp);
                    if self.queue.end() == End::GivenUp {
                        self.totals.dropped.add(batch.len() as u64);
                        return false;
                    }
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
        true
    }

    /// The chain ends at `head`, and must have at least so many entries.
    fn see(&mut self, head: Head, sequence_min: i64) {
        if head.sequence < sequence_min {
            error!(
                head.sequence,
                sequence_min,
                "the audit trail is shorter than it was: an older copy of the database was put back, or entries were \
                 removed; `tributary-gateway audit verify` says more"
            );
        }
        self.head = head;
    }

    /// Has the oldest entries go, if they are to: first their end is written down in the second place. Answers whether some
    /// went.
    fn trim(&mut self) -> bool {
        let now = (self.now)();
        let trimmed = self.trail.cut(self.settings.keep, now).map_err(|error| error.to_string());
        let trimmed = trimmed.and_then(|cut| cut.map(|cut| self.trim_at(&cut, now)).transpose());
        match trimmed {
            Ok(went) => went.is_some(),
            Err(error) => {
                self.totals.failures.add(1);
                warn!(error, "the oldest entries of the audit trail could not be removed; this is tried again");
                false
            }
        }
    }

    fn trim_at(&mut self, cut: &Cut, now: Instant) -> Result<(), String> {
        // Once, however often the store has to be asked.
        if self.noted_cut != Some(cut.last) {
            self.checkpoints.add(cut.last, now).map_err(|error| error.to_string())?;
            self.noted_cut = Some(cut.last);
        }
        let head = self.trail.trim(cut, now).map_err(|error| error.to_string())?;
        self.totals.entries.add(1);
        info!(entries = cut.entries, through = cut.last.sequence, "the oldest entries of the audit trail went");
        self.see(head, self.head.sequence);
        Ok(())
    }

    /// Writes down where the chain ends, if it does so elsewhere than the last time.
    fn note_checkpoint(&mut self) {
        // Others append as well: other gateways, and commands.
        let head = match self.trail.head() {
            Ok(head) => head,
            Err(error) => {
                self.totals.failures.add(1);
                warn!(%error, "the end of the audit trail could not be read; its checkpoint is late");
                return;
            }
        };
        self.see(head, self.head.sequence);
        if head.sequence == 0 || self.checkpoints.last() == Some(head) {
            return;
        }
        match self.checkpoints.add(head, (self.now)()) {
            Ok(()) => {
                if let Some(time) = self.file_trouble.is_over(Moment::now()) {
                    info!(after_s = time.as_secs(), "checkpoints of the audit trail are written again");
                }
            }
            Err(error) => {
                self.totals.failures.add(1);
                if self.file_trouble.is_news(&error.to_string(), Moment::now()) {
                    error!(%error, "a checkpoint of the audit trail could not be written; see `audit.checkpoint_file`");
                }
            }
        }
    }
}
