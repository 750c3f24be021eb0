//! The times by which something must have happened on a connection.

use std::time::Duration;

use tokio::time::Instant;

use super::end::End;

/// A connection's deadlines. Time is passed in.
#[derive(Debug)]
pub(super) struct Deadlines {
    silence_max: Duration,
    heard: Instant,
    reads: bool,
    stop: Option<Instant>,
    /// Until when the device is over its quota and not read from.
    pause: Option<Instant>,
}

impl Deadlines {
    /// For a device that has just been heard and may be silent for `silence_max`.
    pub(super) fn new(silence_max: Duration, now: Instant) -> Self {
        Self { silence_max, heard: now, reads: false, stop: None, pause: None }
    }

    /// Bytes have come. Any bytes: a frame of 128 KiB may take longer than a keep alive on a slow link.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Whether the device is being read from. Who was not read from was not silent.
    pub(super) fn reads(&mut self, reads: bool, now: Instant) {
        if reads && !self.reads {
            self.heard = now;
        }
        self.reads = reads;
    }

    /// The device is over its quota until `at`, if at all.
    pub(super) fn pause(&mut self, at: Option<Instant>) {
        self.pause = at;
    }

    /// The gateway stops; verdicts may come until `at`.
    pub(super) fn stop(&mut self, at: Instant) {
        self.stop = Some(at);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// When to look again, with the `write` deadline of what waits to be written.
    pub(super) fn next(&self, write: Option<Instant>, now: Instant) -> Instant {
        [self.silence(), write, self.stop, self.pause].into_iter().flatten().min().unwrap_or(now + self.silence_max)
    }

    /// What a deadline that has passed means.
    pub(super) fn passed(&self, write: Option<Instant>, now: Instant) -> Option<End> {
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if is_over(self.stop) {
            Some(End::Stopping)
        } else if is_over(write) {
            Some(End::Slow)
        } else {
            is_over(self.silence()).then_some(End::Silent)
        }
    }

    fn silence(&self) -> Option<Instant> {
        self.reads.then(|| self.heard + self.silence_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_device_is_silent_only_while_it_is_read_from() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(3 * SECOND, start);
        deadlines.reads(true, start);
        deadlines.heard(start + SECOND);
        assert_eq!(deadlines.next(None, start), start + 4 * SECOND);
        assert!(deadlines.passed(None, start + 3 * SECOND).is_none());
        assert!(matches!(deadlines.passed(None, start + 4 * SECOND), Some(End::Silent)));
        deadlines.reads(false, start + 3 * SECOND);
        assert!(deadlines.passed(None, start + 100 * SECOND).is_none());
        deadlines.reads(true, start + 100 * SECOND);
        deadlines.reads(true, start + 102 * SECOND);
        assert_eq!(deadlines.next(None, start), start + 103 * SECOND);
    }

    #[test]
    fn the_earliest_deadline_counts_and_stopping_before_all() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new(3 * SECOND, start);
        deadlines.reads(true, start);
        let write = Some(start + 2 * SECOND);
        assert_eq!(deadlines.next(write, start), start + 2 * SECOND);
        assert!(matches!(deadlines.passed(write, start + 3 * SECOND), Some(End::Slow)));
        deadlines.stop(start + SECOND);
        assert_eq!(deadlines.next(write, start), start + SECOND);
        assert!(matches!(deadlines.passed(write, start + 3 * SECOND), Some(End::Stopping)));
    }
}
