//! Through the folder, file by file: rows and the place behind them in one commit.

use std::collections::HashMap;
use std::time::Duration;

use proto::Lane;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::look::{Found, Rest, label, list, put_away};
use super::memory::{self, FILES_MAX, Memory};
use super::reader::{Reader, Record, Trouble};
use super::{After, Settings};
use crate::source::file::FileError;
use crate::source::{
    Ended, INTAKE_SAMPLES_MAX, Intake, NotCommitted, Outlet, Reject, SourceClock, SourceError, SourceName,
};

/// Rows one intake holds: few enough to commit in one go, many enough for a fast import.
const INTAKE_ROWS_MAX: usize = 1_000;

/// The agent is stopping.
struct Stop;

/// What one run of the source carries with it.
pub(super) struct Journey {
    settings: Settings,
    name: SourceName,
    memory: Memory,
    outlet: Outlet,
    clock: SourceClock,
    stop: CancellationToken,
    rest: Rest,
    /// What was last said of a file that the system refuses: it is said once.
    told: HashMap<u64, String>,
}

/// What was left out of an export.
#[derive(Clone, Copy, Debug, Default)]
struct Left {
    known: u64,
    old: u64,
}

impl Journey {
    pub(super) fn new(
        settings: Settings,
        name: SourceName,
        memory: Memory,
        outlet: Outlet,
        clock: SourceClock,
        stop: CancellationToken,
    ) -> Self {
        Self { settings, name, memory, outlet, clock, stop, rest: Rest::default(), told: HashMap::new() }
    }

    /// Looks, reads what has come to rest, and looks again after a while.
    pub(super) async fn run(mut self) -> Result<Ended, SourceError> {
        let every = Duration::from_secs(self.settings.every_s.into());
        let settle = Duration::from_secs(self.settings.settle_s.into());
        loop {
            let found = self.look().await?;
            for file in self.rest.ready(&found, settle, self.clock.boot()) {
                if self.stop.is_cancelled() || self.read(&file).await.is_err() {
                    return Ok(Ended::Stopped);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = self.stop.cancelled() => return Ok(Ended::Stopped),
            }
        }
    }

    /// What is in the folder; what is not any more is noted as gone.
    async fn look(&mut self) -> Result<Vec<Found>, SourceError> {
        let settings = self.settings.clone();
        let listed = blocking(move || list(&settings.path, settings.ending(), settings.order)).await;
        let path = || self.settings.path.display().to_string();
        let (found, more) = listed.map_err(|error| FileError::Io { act: "look into", path: path(), error })?;
        // What is not in a part of the list may be there all the same.
        if more && self.settings.after == After::Keep {
            let path = path();
            return Err(SourceError::Unusable(format!(
                "{path} holds more than {FILES_MAX} files, so that it cannot be known which were read: take files away that \
                 were, or set `after` to \"move\" or \"remove\""
            )));
        }
        if !more {
            for file in &mut self.memory.files {
                file.gone |= !found.iter().any(|other| other.name == file.name);
            }
        }
        self.told.retain(|name, _| found.iter().any(|file| file.name == *name));
        Ok(found)
    }

    /// Everything of one file that was not yet taken.
    async fn read(&mut self, found: &Found) -> Result<(), Stop> {
        let known = self.memory.of(found.name).cloned();
        let known = known.unwrap_or(memory::File { name: found.name, ..memory::File::default() });
        if known.refused == found.stamp {
            self.rest.done(found);
            return Ok(());
        }
        let (settings, path, label) = (self.settings.clone(), found.path.clone(), self.label(found));
        let opened = blocking({
            let known = known.clone();
            move || {
                Reader::open(
                    &path,
                    label,
                    known,
                    settings.rows().map_err(|error| Trouble::Refused(error.to_string()))?,
                    settings.layout(),
                )
            }
        });
        let reader = match opened.await {
            Ok(reader) => reader,
            Err(Trouble::Refused(problem)) => return self.refuse(found, known, problem).await,
            Err(Trouble::Io(error)) => {
                self.tell(found, format!("cannot be read: {error}; the agent's user must be allowed to"));
                return Ok(());
            }
        };
        if reader.is_new {
            self.memory.begin_file();
        }
        if !self.memory.keep(reader.file.clone()) {
            let problem =
                format!("there are more than {FILES_MAX} files; set `after` to \"move\", or take old ones away");
            self.tell(found, problem);
            return Ok(());
        }
        self.rows(found, reader).await
    }

    async fn rows(&mut self, found: &Found, mut reader: Reader) -> Result<(), Stop> {
        let rows_max = INTAKE_ROWS_MAX.min(INTAKE_SAMPLES_MAX / self.settings.series.len().max(8));
        let mut left = Left::default();
        let (mut file, mut stored) = (None, true);
        loop {
            let read = blocking(move || reader.read(rows_max).map(|records| (reader, records))).await;
            let records;
            (reader, records) = match read {
                Ok(read) => read,
                Err(Trouble::Refused(problem)) => return self.refuse(found, memory::File::default(), problem).await,
                Err(Trouble::Io(error)) => {
                    self.tell(found, format!("cannot be read on: {error}"));
                    return Ok(());
                }
            };
            if records.is_empty() {
                break;
            }
            let mut intake = self.intake();
            for record in records {
                file = Some(self.take(record, &mut intake, &mut left));
            }
            if let Some(file) = &file {
                self.memory.keep(file.clone());
            }
            stored = !intake.is_empty();
            if stored {
                self.hand_over(intake).await?;
            }
        }
        self.ended(found, stored, left).await
    }

    /// Moves a row into `intake`, unless an earlier export had it; what is known of the file behind it.
    fn take(&mut self, record: Record, intake: &mut Intake, left: &mut Left) -> memory::File {
        let is = record.identity.map_or(memory::Record::New, |identity| self.memory.take(identity));
        match is {
            memory::Record::New => {
                intake.urgent |= self.settings.live && record.urgent;
                intake.samples.extend(record.samples);
                intake.rejects.extend(record.reject);
            }
            memory::Record::Known => left.known += 1,
            memory::Record::Old => left.old += 1,
        }
        record.file
    }

    /// A file's end was reached: what was left out is told, and the file is taken away where that is asked for. `stored` is
    /// whether the place that was reached has been handed over.
    async fn ended(&mut self, found: &Found, stored: bool, left: Left) -> Result<(), Stop> {
        self.rest.done(found);
        let Left { known, old } = left;
        let mut intake = self.intake();
        if known + old > 0 {
            info!(source = %self.name, known, old, "left {known} records out that an earlier export had, and {old} of before those");
        }
        if old > 0 && known == 0 {
            let reason = format!(
                "{old} of its records are older than those that can be compared, and were left out; to take an older history \
                 in, give it to a source of another name"
            );
            intake.rejects.push(Reject::new(self.label(found), reason, &[]));
        }
        if self.settings.after == After::Keep {
            let nothing = stored && intake.is_empty();
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
    async fn refuse(&mut self, found: &Found, known: memory::File, problem: String) -> Result<(), Stop> {
        self.rest.done(found);
        let known = self.memory.of(found.name).cloned().unwrap_or(known);
        self.memory.keep(memory::File { name: found.name, refused: found.stamp, ..known });
        let mut intake = self.intake();
        intake.rejects.push(Reject::new(self.label(found), problem, &[]));
        self.hand_over(intake).await
    }

    fn intake(&self) -> Intake {
        let lane = if self.settings.live { Lane::Live } else { Lane::Backfill };
        Intake::empty(&self.name, lane)
    }

    /// Hands `intake` over with the cursor as it is now.
    async fn hand_over(&mut self, mut intake: Intake) -> Result<(), Stop> {
        if let Some(first) = intake.rejects.first() {
            let count = intake.rejects.len();
            warn!(source = %self.name, count, "rejected {count}; the first: {}: {}", first.place, first.reason);
        }
        intake.cursor = Some(self.memory.encode());
        let taken = !self.stop.is_cancelled() && self.outlet.put_or_stop(intake, &self.stop).await;
        if taken { Ok(()) } else { Err(Stop) }
    }

    /// Logs what is wrong with a file, once.
    fn tell(&mut self, found: &Found, problem: String) {
        let label = self.label(found);
        if self.told.get(&found.name) != Some(&problem) {
            warn!(source = %self.name, "{label} {problem}");
            self.told.insert(found.name, problem);
        }
    }

    fn label(&self, found: &Found) -> String {
        label(&found.path, self.settings.is_export())
    }
}

/// Does `work` on a thread that may block, and waits for it.
async fn blocking<T: Send + 'static, E: From<std::io::Error> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::Interrupted).into()),
    }
}
