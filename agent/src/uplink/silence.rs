//! Whether the other end is still there, while something is under way.
//!
//! That bytes were handed to the kernel proves nothing: it takes what fits its buffer, on a dead link too. What proves
//! life is a packet that came in, or bytes that had to wait for room and then found it, for room comes with the other
//! end's acknowledgements. So a frame that takes a minute to leave over 2G is no silence, and a stream of small publishes
//! into a dead link is.

use std::time::{Duration, Instant};

use super::NETWORK_DEADLINE;

/// Bytes that took this long to leave had to wait for room.
const WAITED: Duration = Duration::from_secs(1);

/// What was heard, and when.
#[derive(Clone, Debug)]
pub(super) struct Silence {
    /// One and a half keep-alives.
    quiet_max: Duration,
    heard_at: Instant,
    /// Since when something is under way.
    busy_since: Option<Instant>,
    /// Messages that have not left for the kernel yet.
    leaving: usize,
    leaving_since: Instant,
    /// The longest time without a sign of life on this connection, while something was under way.
    longest: Duration,
    /// Something was settled on this connection: `longest` says how slow the link is.
    is_known: bool,
}

impl Silence {
    pub(super) fn new(keep_alive: Duration, now: Instant) -> Self {
        Self {
            quiet_max: keep_alive.saturating_mul(3) / 2,
            heard_at: now,
            busy_since: None,
            leaving: 0,
            leaving_since: now,
            longest: Duration::ZERO,
            is_known: false,
        }
    }

    /// A connection stands.
    pub(super) fn connected(&mut self, now: Instant) {
        *self = Self { quiet_max: self.quiet_max, ..Self::new(Duration::ZERO, now) };
    }

    /// A sign of life.
    pub(super) fn heard(&mut self, now: Instant) {
        if let Some(since) = self.busy_since {
            self.longest = self.longest.max(now.saturating_duration_since(since.max(self.heard_at)));
        }
        self.heard_at = now;
    }

    /// Something was settled: the link carries frames.
    pub(super) fn settled(&mut self) {
        self.is_known = true;
    }

    /// Whether something is under way now.
    pub(super) fn busy(&mut self, is_busy: bool, now: Instant) {
        self.busy_since = is_busy.then(|| self.busy_since.unwrap_or(now));
    }

    /// A message was handed over and has not left yet.
    pub(super) fn leaving(&mut self, now: Instant) {
        if self.leaving == 0 {
            self.leaving_since = now;
        }
        self.leaving += 1;
    }

    /// The oldest message that was leaving has left. Answers whether it had to wait for room.
    pub(super) fn left(&mut self, now: Instant) -> bool {
        let waited = self.leaving > 0 && now.saturating_duration_since(self.leaving_since) >= WAITED;
        self.leaving = self.leaving.saturating_sub(1);
        self.leaving_since = now;
        if waited {
            self.heard(now);
        }
        waited
    }

    /// Whether bytes are on their way to the kernel: until they are out, no answer can be late.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving > 0
    }

    /// When the link counts as dead, if nothing is heard before. Bytes that wait for room get as long as the link has
    /// shown to need, at most the network's deadline; all of that while it has shown nothing yet.
    pub(super) fn due(&self) -> Option<Instant> {
        let since = self.busy_since?.max(self.heard_at);
        if !self.is_leaving() {
            return Some(since + self.quiet_max);
        }
        let deadline = NETWORK_DEADLINE.max(self.quiet_max);
        let patience =
            if self.is_known { self.longest.saturating_mul(3).clamp(self.quiet_max, deadline) } else { deadline };
        Some(since.max(self.leaving_since) + patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(30);
    const QUIET: Duration = Duration::from_secs(45);

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_link_that_takes_small_publishes_and_says_nothing_is_dead_after_one_and_a_half_keep_alives() {
        let start = Instant::now();
        let mut silence = Silence::new(KEEP_ALIVE, start);
        silence.connected(start);
        assert_eq!(silence.due(), None, "nothing is under way: the client's pings see to it");
        silence.busy(true, at(start, 20));
        for second in 20..60 {
            silence.leaving(at(start, second));
            silence.left(at(start, second));
        }
        assert_eq!(silence.due(), Some(at(start, 20) + QUIET));
        silence.heard(at(start, 61));
        assert_eq!(silence.due(), Some(at(start, 61) + QUIET));
    }

    #[test]
    fn a_frame_that_leaves_slowly_is_no_silence_until_the_networks_deadline() {
        let start = Instant::now();
        let mut silence = Silence::new(KEEP_ALIVE, start);
        silence.connected(start);
        silence.busy(true, start);
        silence.leaving(start);
        assert_eq!(silence.due(), Some(start + NETWORK_DEADLINE), "it never showed how slow it is");
        assert!(silence.left(at(start, 80)), "it had to wait for room");
        assert_eq!(silence.due(), Some(at(start, 80) + QUIET), "room is a sign of life");
        silence.heard(at(start, 81));
        silence.settled();
        silence.leaving(at(start, 82));
        assert_eq!(silence.due(), Some(at(start, 82) + NETWORK_DEADLINE), "it was as slow before");
    }

    #[test]
    fn a_link_that_was_quick_gets_no_such_patience() {
        let start = Instant::now();
        let mut silence = Silence::new(KEEP_ALIVE, start);
        silence.connected(start);
        silence.busy(true, start);
        silence.heard(at(start, 1));
        silence.settled();
        silence.leaving(at(start, 1));
        assert_eq!(silence.due(), Some(at(start, 1) + QUIET));
    }
}
