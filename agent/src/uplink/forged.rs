//! Receipts that the gateway did not sign: told at once, and then as one sum from time to time, however many come.

use std::time::{Duration, Instant};

/// For how long they are summed up at first; twice as long each time that some came meanwhile …
const SPAN: Duration = Duration::from_secs(10);
/// … up to this: so who writes them fills neither a log nor a flash.
const SPAN_MAX: Duration = Duration::from_secs(3_600);

/// What came and is not told yet.
#[derive(Debug, Default)]
pub(super) struct Forged {
    untold: u64,
    /// When it is told again, and how long the span until then is.
    quiet: Option<(Instant, Duration)>,
}

impl Forged {
    /// One came. Answers how many are to be told of now, if any.
    pub(super) fn met(&mut self, now: Instant) -> Option<u64> {
        self.untold = self.untold.saturating_add(1);
        match self.quiet {
            None => {
                self.quiet = Some((now + SPAN, SPAN));
                Some(std::mem::take(&mut self.untold))
            }
            Some(_) => self.due(now),
        }
    }

    /// How many are to be told of by now, if any.
    pub(super) fn due(&mut self, now: Instant) -> Option<u64> {
        let (until, span) = self.quiet?;
        if now < until {
            return None;
        }
        if self.untold == 0 {
            self.quiet = None;
            return None;
        }
        let span = (span * 2).min(SPAN_MAX);
        self.quiet = Some((now + span, span));
        Some(std::mem::take(&mut self.untold))
    }

    /// How many are left to tell of at the end.
    pub(super) fn rest(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.untold)).filter(|count| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_a_day_of_ten_a_second_in_a_few_dozen_sums() {
        let (start, mut forged) = (Instant::now(), Forged::default());
        assert_eq!(forged.met(start), Some(1));
        let tenths = 1..864_000_u32;
        let told: Vec<u64> =
            tenths.filter_map(|tenth| forged.met(start + Duration::from_millis(100) * tenth)).collect();
        assert!(told.len() < 50, "{}", told.len());
        assert_eq!(told.iter().sum::<u64>() + forged.rest().unwrap_or(0), 863_999);
    }

    #[test]
    fn after_a_quiet_span_the_next_is_told_at_once_again() {
        let (start, mut forged) = (Instant::now(), Forged::default());
        forged.met(start);
        assert_eq!(forged.met(start + SPAN / 2), None);
        assert_eq!(forged.due(start + SPAN), Some(1));
        assert_eq!(forged.due(start + SPAN * 2), None);
        assert_eq!(forged.due(start + SPAN * 3), None, "nothing came");
        assert_eq!(forged.met(start + SPAN * 4), Some(1));
        assert_eq!(forged.rest(), None);
    }
}
