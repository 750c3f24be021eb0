//! The clock that sources stamp and wait by; invented in tests, the boot's own otherwise.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use proto::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::BootClock;

/// The longest that is slept at once when waiting for an instant: a wall clock that is learned or set meanwhile is
/// noticed within this.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// What tells sources the time.
pub trait Now: Send + Sync {
    /// Since boot.
    fn boot(&self) -> Instant;
    /// Since the Unix epoch, UTC; none while the device does not know it.
    fn wall(&self) -> Option<Instant>;
}

impl Now for BootClock {
    fn boot(&self) -> Instant {
        self.now()
    }

    fn wall(&self) -> Option<Instant> {
        self.wall_clock()
    }
}

/// A shared [`Now`].
#[derive(Clone)]
pub struct SourceClock(Arc<dyn Now>);

impl fmt::Debug for SourceClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceClock")
    }
}

impl From<Arc<BootClock>> for SourceClock {
    fn from(clock: Arc<BootClock>) -> Self {
        Self(clock)
    }
}

impl SourceClock {
    /// A clock of one's own.
    #[must_use]
    pub fn new(now: impl Now + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// A clock that shows `wall` now and goes on with tokio's time, which tests may pause; boot was now.
    #[must_use]
    pub fn invented(wall: Instant) -> Self {
        Self::new(Invented { wall, since: tokio::time::Instant::now() })
    }

    /// Since boot.
    #[must_use]
    pub fn boot(&self) -> Instant {
        self.0.boot()
    }

    /// Since the Unix epoch, UTC; none while the device does not know it.
    #[must_use]
    pub fn wall(&self) -> Option<Instant> {
        self.0.wall()
    }

    /// The wall clock's time as soon as it is known; none when `stop` comes first.
    pub(super) async fn wall_known(&self, stop: &CancellationToken) -> Option<Instant> {
        loop {
            if let Some(now) = self.wall() {
                return Some(now);
            }
            tokio::select! {
                () = tokio::time::sleep(SLEEP_MAX) => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    /// Waits until the wall clock shows `due`; whether it does, and was not stopped.
    pub(super) async fn reached(&self, due: Instant, stop: &CancellationToken) -> bool {
        loop {
            let Some(now) = self.wall_known(stop).await else { return false };
            if now >= due {
                return !stop.is_cancelled();
            }
            let left = Duration::from_micros(due.0.abs_diff(now.0));
            tokio::select! {
                () = tokio::time::sleep(left.min(SLEEP_MAX)) => {}
                () = stop.cancelled() => return false,
            }
        }
    }
}

struct Invented {
    wall: Instant,
    since: tokio::time::Instant,
}

impl Now for Invented {
    fn boot(&self) -> Instant {
        Instant(i64::try_from(self.since.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    fn wall(&self) -> Option<Instant> {
        Some(Instant(self.wall.0.saturating_add(self.boot().0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_instant_is_reached_neither_early_nor_late_and_a_stop_ends_the_wait() {
        let (clock, stop) = (SourceClock::invented(Instant(0)), CancellationToken::new());
        let due = SLEEP_MAX + Duration::from_millis(300);
        assert!(clock.reached(Instant(30_300_000), &stop).await);
        let waited = Duration::from_micros(clock.boot().0.unsigned_abs());
        assert!((due..due + Duration::from_millis(5)).contains(&waited), "{waited:?}");
        stop.cancel();
        assert!(!clock.reached(Instant(i64::MAX), &stop).await);
        assert!(!clock.reached(Instant(0), &stop).await);
    }
}
