//! Through the folder, file by file: rows and the place behind them in one commit.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use proto::Lane;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::look::{Found, label, list};
use super::memory::{self, FILES_MAX, Memory};
use super::reader::{Reader, Record, Still, Trouble};
use super::rest::Rest;
use super::{After, Settings};
use crate::source::{Ended, INTAKE_SAMPLES_MAX, Intake, Outlet, SourceClock, SourceError, SourceName};

mod ended;

use ended::{Left, Reached};

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
        let patience = self.settings.patience();
        loop {
            let found = self.look().await?;
            for (file, is_long) in self.rest.ready(&found, patience, self.clock.boot()) {
                if self.stop.is_cancelled() || self.read(&file, is_long).await.is_err() {
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
        let (found, more) = listed.map_err(|error: io::Error| {
            SourceError::Unusable(format!(
                "cannot look into {}: {error}; check that the folder is there, and that the agent's user may enter and read it",
                path()
            ))
        })?;
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

    /// Everything of one file that was not yet taken; `is_long` is whether that may be a last line without an end.
    async fn read(&mut self, found: &Found, is_long: bool) -> Result<(), Stop> {
        let known = self.memory.of(found.name).cloned();
        let known = known.unwrap_or(memory::File { name: found.name, ..memory::File::default() });
        if known.refused == found.stamp {
            self.rest.done(found);
            return Ok(());
        }
        let (settings, path, label) = (self.settings.clone(), found.path.clone(), self.label(found));
        let still = Still { stamp: found.stamp, is_long };
        let opened = blocking({
            let known = known.clone();
            move || {
                Reader::open(
                    &path,
                    label,
                    known,
                    still,
                    settings.rows().map_err(|error| Trouble::Refused(error.to_string()))?,
                    settings.layout(),
                )
            }
        });
        let reader = match opened.await {
            Ok(reader) => reader,
            Err(Trouble::Refused(problem)) => return self.refuse(found, known, problem).await,
            Err(Trouble::Unfinished) => {
                self.rest.waits(found);
                return Ok(());
            }
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
        // One less than fits: a row may come with what is withdrawn of it.
        let rows_max = INTAKE_ROWS_MAX.min(INTAKE_SAMPLES_MAX / self.settings.series.len().max(8) - 1);
        let mut left = Left::default();
        let (mut file, mut stored) = (None, true);
        loop {
            let read = blocking(move || reader.read(rows_max).map(|records| (reader, records))).await;
            let records;
            (reader, records) = match read {
                Ok(read) => read,
                Err(Trouble::Refused(problem)) => return self.refuse(found, memory::File::default(), problem).await,
                Err(Trouble::Unfinished) => return Ok(()), // only headers are
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
                left.count_into(&mut intake);
                self.hand_over(intake).await?;
            }
        }
        self.ended(found, Reached { stored, waits: reader.waits }, left).await
    }

    /// Moves a row into `intake`, unless an earlier export had it; what is known of the file behind it.
    fn take(&mut self, record: Record, intake: &mut Intake, left: &mut Left) -> memory::File {
        intake.samples.extend(record.withdrawn);
        let is = record.identity.map_or(memory::Record::New, |identity| self.memory.take(identity));
        match is {
            memory::Record::New => {
                intake.urgent |= self.settings.live && record.urgent;
                intake.samples.extend(record.samples);
                intake.rejects.extend(record.reject);
            }
            memory::Record::Known => left.known += 1,
            memory::Record::Old => (left.old, left.uncounted) = (left.old + 1, left.uncounted + 1),
        }
        record.file
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
