//! What was counted, and in what time.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::load::Done;
use rustix::time::{ClockId, clock_gettime};

/// Different reasons that are told apart; the rest is `other`.
const REASONS_MAX: usize = 12;

/// Reasons, with how often.
#[derive(Debug, Default)]
pub(crate) struct Reasons(BTreeMap<String, u64>);

impl Reasons {
    pub(crate) fn add(&mut self, reason: String) {
        let is_known = self.0.contains_key(&reason) || self.0.len() < REASONS_MAX;
        *self.0.entry(if is_known { reason } else { "other".to_owned() }).or_default() += 1;
    }

    pub(crate) fn take(&mut self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.0)
    }
}

/// Messages that receipts cover, by how long that took.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    took_us: Vec<u32>,
}

impl Tally {
    pub(crate) fn add(&mut self, took: Duration) {
        self.took_us.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    pub(crate) fn done(mut self, took: Duration, readings: usize, reasons: &mut Reasons) -> Done {
        self.took_us.sort_unstable();
        let at = |share: usize| {
            let place = self.took_us.len().saturating_sub(1) * share / 100;
            f64::from(self.took_us.get(place).copied().unwrap_or(0)) / 1e3
        };
        Done {
            readings: self.took_us.len() * readings,
            messages: self.took_us.len(),
            seconds: took.as_secs_f64(),
            processor_s: 0.0,
            p50_ms: at(50),
            p99_ms: at(99),
            most_ms: at(100),
            sessions: 0,
            failures: reasons.take(),
        }
    }
}

/// Processor time that this process took so far.
pub(crate) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
