//! Whether the pipeline gets on: what the watchdog is fed on.
//!
//! Judge and recorders each count how often they come round. Idle, they come round because they are prodded; busy, with
//! what they have to do; a recorder whose store takes nothing, with each try. So a commit that hangs is no progress,
//! nor is a thread that is gone, nor a judge that never ends with one message. A database that is away is neither: to
//! start anew would not bring it back, and cost the devices their connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::WeakSender;
use tokio::time::sleep;

use super::Event;
use super::pipeline::Given;
use super::totals::Totals;

/// How often it is looked at whether all have come round.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often somebody has come round.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds(Arc<AtomicU64>);

impl Rounds {
    pub(super) fn come_round(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All of the pipeline, to be asked whether it gets on. It keeps nobody from ending.
pub struct Heart {
    judge: (WeakSender<Event>, Rounds),
    recorders: Vec<(WeakSender<Given>, Rounds)>,
    totals: &'static Totals,
}

impl Heart {
    pub(super) fn new(
        judge: (WeakSender<Event>, Rounds),
        recorders: Vec<(WeakSender<Given>, Rounds)>,
        totals: &'static Totals,
    ) -> Self {
        Self { judge, recorders, totals }
    }

    /// Waits until all have come round once more, however long that takes.
    pub async fn beat(&self) {
        let judged = self.judge.1.get();
        let recorded: Vec<u64> = self.recorders.iter().map(|(_, rounds)| rounds.get()).collect();
        self.prod();
        loop {
            let all = self.recorders.iter().zip(&recorded).all(|((_, rounds), before)| rounds.get() != *before);
            // A judge waits for a recorder whose store takes nothing, as all do.
            if all && (self.judge.1.get() != judged || self.totals.store.is_failing()) {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Gives something to all who have nothing to do. Who has no room for it has enough.
    fn prod(&self) {
        if let Some(judge) = self.judge.0.upgrade() {
            let _ = judge.try_send(Event::Pulse);
        }
        for recorder in self.recorders.iter().filter_map(|(lane, _)| lane.upgrade()) {
            let _ = recorder.try_send(Given::Pulse);
        }
    }

    /// A line for people.
    #[must_use]
    pub fn words(&self) -> String {
        let readings = self.totals.readings.get();
        if self.totals.store.is_failing() {
            return format!(
                "the store takes nothing; devices keep what they have; readings recorded since the start: {readings}"
            );
        }
        format!("readings recorded since the start: {readings}")
    }
}
