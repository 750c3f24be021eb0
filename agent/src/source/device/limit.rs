//! How many rejects of a port are kept: a wrong baud rate must not fill the buffer.

use std::time::Duration;

use tokio::time::Instant;

use crate::source::Reject;

/// Rejects kept in each window; the others are counted.
const KEPT_MAX: u32 = 10;
/// How long a window is.
const WINDOW: Duration = Duration::from_secs(1);

/// Lets a bounded number of rejects through, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Limit {
    since: Option<Instant>,
    kept: u32,
    /// Rejects that were not kept and of which no kept one tells yet.
    untold: u64,
}

impl Limit {
    /// The reject if it is to be kept; it then tells how many before it were not.
    pub(crate) fn admit(&mut self, mut reject: Reject, now: Instant) -> Option<Reject> {
        if self.since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            self.since = Some(now);
            self.kept = 0;
        }
        if self.kept == KEPT_MAX {
            self.untold += 1;
            return None;
        }
        self.kept += 1;
        if self.untold > 0 {
            reject.reason = format!("{}; before it {}", reject.reason, told(std::mem::take(&mut self.untold)));
        }
        Some(reject)
    }

    /// How long until what is left to tell is to be told; none where there is nothing.
    pub(crate) fn patience(&self, now: Instant) -> Option<Duration> {
        let since = self.since.filter(|_| self.untold > 0)?;
        Some((since + WINDOW).saturating_duration_since(now))
    }

    /// What is left to tell, as a reject of its own.
    pub(crate) fn rest(&mut self, place: String) -> Option<Reject> {
        let untold = std::mem::take(&mut self.untold);
        (untold > 0).then(|| Reject::new(place, told(untold), &[]))
    }
}

fn told(count: u64) -> String {
    format!("{count} more were rejected, too many to keep; check the settings and the cable")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject() -> Reject {
        Reject::new("port line 1".into(), "is wrong".into(), b"x")
    }

    #[test]
    fn beyond_ten_a_second_rejects_are_counted_and_told_of() {
        let (mut limit, start) = (Limit::default(), Instant::now());
        let kept = (0..25).filter(|_| limit.admit(reject(), start).is_some()).count();
        assert_eq!((kept, limit.untold), (10, 15));
        let next = limit.admit(reject(), start + WINDOW).unwrap();
        assert!(next.reason.starts_with("is wrong; before it 15 more were"), "{}", next.reason);
        assert_eq!(limit.rest("port".into()), None);
    }

    #[test]
    fn what_nobody_told_of_is_told_at_the_end() {
        let (mut limit, start) = (Limit::default(), Instant::now());
        for _ in 0..11 {
            limit.admit(reject(), start);
        }
        assert!(limit.rest("port".into()).unwrap().reason.starts_with("1 more were"));
    }
}
