//! The operator's word is waited for: soon at first, for somebody may be about to give it, and then ever less often.

use std::time::{Duration, Instant};

/// Before it is asked for the second time.
const FIRST: Duration = Duration::from_secs(1);
/// Beyond that, so much of the time for which it was waited for already.
const SHARE: u32 = 8;

/// Since when the operator's word is waited for.
#[derive(Debug, Default)]
pub(super) struct Operator {
    since: Option<Instant>,
}

/// When the operator's word is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Again {
    /// After this.
    pub(super) after: Duration,
    /// Whether people are to be told: at first, and then as often as the gateway wants to be asked.
    pub(super) is_told: bool,
}

impl Operator {
    /// The gateway said at `now` that it waits for the operator, and how long a device may wait: it is asked again within
    /// `most`, and within an eighth of what was waited for so far.
    pub(super) fn again(&mut self, most: Duration, now: Instant) -> Again {
        let waited = now.saturating_duration_since(self.since.unwrap_or(now));
        let after = (FIRST + waited / SHARE).min(most);
        let is_told = self.since.is_none() || after == most;
        self.since.get_or_insert(now);
        Again { after, is_told }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_allowed_hears_of_it_within_an_eighth_of_the_wait_and_nobody_asks_for_ever_so_often() {
        const MOST: Duration = Duration::from_secs(30);
        let (start, mut operator) = (Instant::now(), Operator::default());
        let (mut now, mut asks, mut told) = (start, 0, 0);
        while now < start + Duration::from_secs(600) {
            let waited = now - start;
            let again = operator.again(MOST, now);
            assert!(again.after >= FIRST && again.after <= MOST.min(FIRST + waited / 8), "{again:?} after {waited:?}");
            (now, asks, told) = (now + again.after, asks + 1, told + u32::from(again.is_told));
        }
        // 29 until it waits for half a minute each time, which is after four minutes; and then as the gateway says.
        assert!((38..=44).contains(&asks), "{asks}");
        assert_eq!(told, asks - 28, "people are told at first, and then each half a minute");
    }

    #[test]
    fn a_gateway_that_may_be_asked_at_once_is() {
        let again = Operator::default().again(Duration::from_millis(200), Instant::now());
        assert_eq!(again, Again { after: Duration::from_millis(200), is_told: true });
    }
}
