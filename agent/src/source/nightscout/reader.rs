//! One look at a site after the other, and what is handed over.

use std::sync::Arc;
use std::time::Duration;

use proto::{Basis, Change, Instant, Lane, Origin, Reading, Series, Value};
use tokio_util::sync::CancellationToken;

use super::memory::Memory;
use super::problem::Problem;
use super::record::Record;
use super::site::Site;
use super::{Api, Collection, Settings};
use crate::source::{BadSetting, INTAKE_SAMPLES_MAX, Intake, Outlet, Sample, SourceClock, SourceName};

/// A record becomes at most so many readings: an intake is full when one more might not fit.
const RECORD_SAMPLES_MAX: usize = 64;
/// How often all of the overlap is read again, and not just its end.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// An hour in milliseconds.
const HOUR_MS: i64 = 3_600_000;

/// Reads a site.
pub(super) struct Reader {
    pub(super) site: Site,
    pub(super) memory: Memory,
    pub(super) history_ms: i64,
    pub(super) overlap_ms: i64,
    settings: Settings,
    name: SourceName,
    outlet: Outlet,
    stop: CancellationToken,
    sweep_every: Duration,
    swept_at: [Option<tokio::time::Instant>; Collection::ALL.len()],
}

/// Why a look ended early.
#[derive(Debug)]
pub(super) enum Halt {
    /// The agent is stopping.
    Stopping,
    /// Something is wrong with the site.
    Problem(Problem),
}

impl From<Problem> for Halt {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Reader {
    pub(super) fn new(
        settings: &Settings,
        memory: Memory,
        clock: SourceClock,
        name: SourceName,
        outlet: Outlet,
        stop: CancellationToken,
    ) -> Result<Self, BadSetting> {
        Ok(Self {
            site: Site::new(settings, clock)?,
            memory,
            history_ms: i64::from(settings.history_days) * 24 * HOUR_MS,
            overlap_ms: i64::from(settings.overlap_h) * HOUR_MS,
            settings: settings.clone(),
            name,
            outlet,
            stop,
            sweep_every: SWEEP_EVERY,
            swept_at: [None; Collection::ALL.len()],
        })
    }

    /// Hands over all that is new. What is wrong with one collection does not keep the others from being read.
    pub(super) async fn look(&mut self) -> Result<(), Halt> {
        let looked = self.look_at_all().await;
        self.site.close(); // a connection that nobody needs for a while may be dead by then
        looked
    }

    async fn look_at_all(&mut self) -> Result<(), Halt> {
        let newer = self.site.is_newer().await?;
        let mut first = Ok(());
        for collection in self.settings.collections.clone() {
            match self.look_at(collection, newer).await {
                Err(Halt::Problem(problem)) if problem.is_local() => first = first.and(Err(problem.into())),
                looked => looked?,
            }
        }
        first
    }

    async fn look_at(&mut self, collection: Collection, newer: bool) -> Result<(), Halt> {
        let history = if newer { self.history(collection).await } else { Ok(()) };
        match &history {
            Err(Halt::Problem(problem)) if problem.is_local() => {}
            Err(_) => return history,
            Ok(()) => {}
        }
        if self.settings.api == Api::V3 {
            return history;
        }
        let swept_at = &mut self.swept_at[collection as usize];
        let sweep = swept_at.is_none_or(|at| at.elapsed() >= self.sweep_every);
        // A profile is changed now and then, and said whole.
        let overlap = if sweep || collection != Collection::Profile {
            self.overlap(collection, newer, sweep).await
        } else {
            Ok(())
        };
        if sweep && overlap.is_ok() {
            self.swept_at[collection as usize] = Some(tokio::time::Instant::now());
        }
        match overlap {
            // A site that tells by order of change alone.
            Err(Halt::Problem(Problem::Missing)) if newer && history.is_ok() => Ok(()),
            overlap => history.and(overlap),
        }
    }

    /// An intake of nothing.
    pub(super) fn intake(&self) -> Intake {
        Intake::empty(&self.name, Lane::Live)
    }

    /// Hands `intake` over, with where to go on behind it. Nothing is no reason to write a cursor.
    pub(super) async fn hand_over(&mut self, intake: &mut Intake) -> Result<(), Halt> {
        if intake.is_empty() {
            return Ok(());
        }
        let empty = self.intake();
        let mut full = std::mem::replace(intake, empty);
        full.cursor = Some(self.memory.encode());
        if self.outlet.put_or_stop(full, &self.stop).await { Ok(()) } else { Err(Halt::Stopping) }
    }

    #[cfg(test)]
    pub(super) fn sweep_always(&mut self) {
        self.sweep_every = Duration::ZERO;
    }
}

/// Whether another record may not fit.
pub(super) fn is_full(intake: &Intake) -> bool {
    intake.samples.len() + RECORD_SAMPLES_MAX > INTAKE_SAMPLES_MAX
}

/// Adds the readings that `record` becomes.
pub(super) fn write(record: &Record, change: Change, revision: u64, intake: &mut Intake) {
    let (Ok(made), Some(at_ms)) = (&record.made, record.at_ms) else { return };
    let mut put = |series: &Arc<Series>, value: Value, change: Change| {
        let origin = record.id.clone().map(|id| Box::new(Origin { id, revision, change }));
        let reading = Reading {
            utc_offset_minutes: record.utc_offset_minutes,
            origin,
            ..Reading::new(Instant(at_ms.saturating_mul(1_000)), value)
        };
        intake.samples.push(Sample { series: Arc::clone(series), basis: Basis::Source, reading });
    };
    // A new record takes nothing back. Without a name nothing can be.
    let takes_back = change != Change::Add && record.id.is_some();
    for series in made.family.iter().filter(|_| takes_back) {
        if !made.values.iter().any(|(one, _)| Arc::ptr_eq(one, series)) {
            put(series, Value::Absent, Change::Retract);
        }
    }
    // Of several parts each would take the place of the one before it; their revision is enough.
    let change = if made.values.len() > made.family.len() { Change::Add } else { change };
    for (series, value) in &made.values {
        put(series, value.clone(), change);
    }
}
