//! What becomes of a file that was read to its end, or cannot be.

use tracing::info;

use super::{Found, Journey, Stop, blocking};
use crate::source::folder::look::put_away;
use crate::source::folder::{After, memory};
use crate::source::{Intake, NotCommitted, Reject};

/// What was left out of an export.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Left {
    pub(super) known: u64,
    pub(super) old: u64,
    /// Of the old ones, those that are in no count that is stored.
    pub(super) uncounted: u64,
}

impl Left {
    /// Has what was taken for known counted together with `intake`.
    pub(super) fn count_into(&mut self, intake: &mut Intake) {
        intake.count("export records taken for known", std::mem::take(&mut self.uncounted));
    }
}

/// How far a file was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    /// Whether the place has been handed over.
    pub(super) stored: bool,
    /// Whether a last line without an end was left alone.
    pub(super) waits: bool,
}

impl Journey {
    /// A file's end was reached: what was left out is told, and the file is taken away where that is asked for.
    pub(super) async fn ended(&mut self, found: &Found, reached: Reached, mut left: Left) -> Result<(), Stop> {
        let Left { known, old, .. } = left;
        let mut intake = self.intake();
        left.count_into(&mut intake);
        if known + old > 0 {
            info!(
                source = %self.name, known, old,
                "left {known} records out that an earlier export had, and took {old} for known, which are older than those \
                 that can be compared and of days that were read before"
            );
        }
        if reached.waits {
            self.rest.waits(found);
        } else {
            self.rest.done(found);
        }
        if self.settings.after == After::Keep || reached.waits {
            let nothing = reached.stored && intake.is_empty();
            return if nothing { Ok(()) } else { self.hand_over(intake).await };
        }
        self.put_away(found, intake).await
    }

    /// Takes a file away once everything of it is stored.
    async fn put_away(&mut self, found: &Found, mut intake: Intake) -> Result<(), Stop> {
        // Should this be the last that is stored, another file of that name is known to be another.
        if let Some(file) = self.memory.of(found.name).cloned() {
            self.memory.keep(memory::File { gone: true, ..file });
        }
        intake.cursor = Some(self.memory.encode());
        let stored = tokio::select! {
            stored = self.outlet.put_committed(intake) => stored,
            () = self.stop.cancelled() => return Err(Stop),
        };
        match stored {
            Ok(()) => {}
            Err(NotCommitted::Stopping(_)) => return Err(Stop),
            Err(NotCommitted::Refused(problem)) => {
                self.tell(found, problem);
                return Ok(());
            }
        }
        let (file, after) = (found.clone(), self.settings.after);
        match blocking(move || put_away(&file, after)).await {
            Ok(true) => self.memory.forget(found.name),
            Ok(false) => {} // it grew meanwhile, and is read on
            Err(error) => {
                let problem = format!(
                    "was read and stored, and cannot be taken away: {error}; the agent's user must be \
                                       allowed to write in the folder"
                );
                self.tell(found, problem);
            }
        }
        Ok(())
    }

    /// A file that makes no sense: said once, and again when it has changed.
    pub(super) async fn refuse(&mut self, found: &Found, known: memory::File, problem: String) -> Result<(), Stop> {
        self.rest.done(found);
        let known = self.memory.of(found.name).cloned().unwrap_or(known);
        self.memory.keep(memory::File { name: found.name, refused: found.stamp, ..known });
        let mut intake = self.intake();
        intake.rejects.push(Reject::new(self.label(found), problem, &[]));
        self.hand_over(intake).await
    }
}
