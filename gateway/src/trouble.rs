//! Saying what is wrong once, and not with each try.

use std::time::{Duration, Instant};

/// The same is said again after so long, lest it be forgotten.
const AGAIN_AFTER: Duration = Duration::from_secs(600);
/// Something else is said no sooner than this: words that count are other words each time.
const OTHER_AFTER: Duration = Duration::from_secs(30);

/// Something that fails, and is tried again until it works.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Option<Failing>);

#[derive(Debug)]
struct Failing {
    since: Instant,
    said: (Instant, String),
}

impl Trouble {
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// It failed, and `why`. Answers whether that is to be said.
    pub(crate) fn is_news(&mut self, why: &str, now: Instant) -> bool {
        let Some(failing) = &mut self.0 else {
            self.0 = Some(Failing { since: now, said: (now, why.to_owned()) });
            return true;
        };
        let (when, last) = &failing.said;
        let quiet = if last == why { AGAIN_AFTER } else { OTHER_AFTER };
        let is_due = now.saturating_duration_since(*when) >= quiet;
        if is_due {
            failing.said = (now, why.to_owned());
        }
        is_due
    }

    /// It worked. Answers how long it had failed, if it had.
    pub(crate) fn is_over(&mut self, now: Instant) -> Option<Duration> {
        self.0.take().map(|failing| now.saturating_duration_since(failing.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_and_again_after_ten_minutes_and_another_after_half_a_minute() {
        let (start, mut trouble) = (Instant::now(), Trouble::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(trouble.is_news("full", at(0)));
        assert!((1..600).all(|seconds| !trouble.is_news("full", at(seconds))));
        assert!(trouble.is_news("full", at(600)));
        assert!(!trouble.is_news("away", at(629)));
        assert!(trouble.is_news("away", at(630)));
        assert_eq!(trouble.is_over(at(640)), Some(Duration::from_secs(640)));
        assert_eq!(trouble.is_over(at(641)), None);
        assert!(trouble.is_news("away", at(642)), "another time");
    }
}
