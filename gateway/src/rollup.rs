//! Keeping rollups right, and removing readings that are old: who does it and when. What is done is the store's.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::ingest::totals::Total;
use crate::store::{Now, Roll, Rolled, StoreError};
use crate::trouble::Trouble;

/// Between two steps while there is much to do, at least: the recorder has its turn.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// And at most. In between it is as long as the last step took, so that half of a processor stays free.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// From the end of one search for old readings to the next.
const REMOVE_EVERY: Duration = Duration::from_secs(600);
/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// How it is done.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// From one look for new readings to the next.
    pub interval: Duration,
    /// How long readings are kept; none: for ever.
    pub raw_days: Option<u32>,
}

/// What has been done since the start, for `/metrics`.
#[derive(Debug)]
pub struct Totals {
    /// Readings summed up.
    pub readings: Total,
    /// Minutes made anew because readings in them were moved or withdrawn.
    pub marks: Total,
    /// Rows written.
    pub rows: Total,
    /// Readings removed because they were old.
    pub removed: Total,
    /// Steps that failed.
    pub failures: Total,
}

impl Totals {
    /// All at zero.
    #[must_use]
    pub const fn zero() -> Self {
        Self {
            readings: Total::zero(),
            marks: Total::zero(),
            rows: Total::zero(),
            removed: Total::zero(),
            failures: Total::zero(),
        }
    }

    fn count(&self, rolled: &Rolled) {
        let count = |total: &Total, more: usize| total.add(more as u64);
        count(&self.readings, rolled.readings);
        count(&self.marks, rolled.marks);
        count(&self.rows, rolled.rows);
        count(&self.removed, rolled.removed);
    }
}

/// Sums up what comes, and removes what is old, until `stop`. A step that fails is tried again at the next interval.
pub async fn keep(
    roller: Box<dyn Roll>,
    settings: Settings,
    now: Now,
    totals: &'static Totals,
    stop: CancellationToken,
) {
    let mut trouble = Trouble::default();
    let mut keeper = Keeper { roller: Some(roller), settings, now, totals, removal_due: Instant::now() };
    loop {
        let began = Instant::now();
        let pause = match keeper.step().await {
            Ok(is_behind) => {
                if let Some(time) = trouble.is_over(Instant::now().into_std()) {
                    info!(after_s = time.as_secs(), "readings are summed up again");
                }
                if is_behind { began.elapsed().clamp(PAUSE_MIN, PAUSE_MAX) } else { settings.interval }
            }
            Err(error) => {
                totals.failures.add(1);
                if trouble.is_news(&error.to_string(), Instant::now().into_std()) {
                    error!(%error, "readings could not be summed up; this is tried again");
                }
                settings.interval
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
        }
        if keeper.roller.is_none() {
            // Its thread panicked, which has been told. The gateway ends rather than going on without.
            return;
        }
    }
}

struct Keeper {
    /// Away while a step is at work.
    roller: Option<Box<dyn Roll>>,
    settings: Settings,
    now: Now,
    totals: &'static Totals,
    /// When old readings are next looked for.
    removal_due: Instant,
}

impl Keeper {
    /// One step of each kind. Answers whether there is more to do at once.
    async fn step(&mut self) -> Result<bool, StoreError> {
        let is_due = self.removal_due <= Instant::now();
        let raw_days = self.settings.raw_days.filter(|_| is_due);
        let before_us = raw_days.map(|days| (self.now)().0.saturating_sub(i64::from(days) * DAY_US));
        let Some(mut roller) = self.roller.take() else { return Ok(false) };
        let worked = tokio::task::spawn_blocking(move || {
            let rolled = roller.step();
            // What is new comes first: it is looked at.
            let removed = match (&rolled, before_us) {
                (Ok(Rolled { is_behind: false, .. }), Some(before_us)) => roller.remove(before_us),
                _ => Ok(Rolled::default()),
            };
            (roller, rolled, removed)
        });
        let Ok((roller, rolled, removed)) = worked.await else { return Ok(false) };
        self.roller = Some(roller);
        let (rolled, removed) = (rolled?, removed?);
        self.totals.count(&rolled);
        self.totals.count(&removed);
        if removed.removed > 0 {
            info!(readings = removed.removed, "removed old readings; their sums stay");
        }
        if is_due && !rolled.is_behind && !removed.is_behind {
            self.removal_due = Instant::now() + REMOVE_EVERY;
        }
        Ok(rolled.is_behind || removed.is_behind)
    }
}
