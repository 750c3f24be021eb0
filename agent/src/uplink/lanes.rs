//! What waits to be sent, in its two queues.

use proto::{Lane, Range, Ranges};

/// Rows that wait. Live rows leave newest first, so that what people watch is fresh; backfill oldest first, so that
/// history grows without holes. Where both wait, they take turns.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    live: Ranges,
    backfill: Ranges,
    /// Whose turn it is not.
    last: Option<Lane>,
}

impl Lanes {
    /// `rows` wait to leave by `lane`.
    pub(super) fn add(&mut self, lane: Lane, rows: Range) {
        match lane {
            Lane::Live => self.live.insert(rows),
            Lane::Backfill => self.backfill.insert(rows),
        }
    }

    /// `rows` wait no longer.
    pub(super) fn remove(&mut self, rows: Range) {
        self.live.remove(rows);
        self.backfill.remove(rows);
    }

    /// What is live now was missed by the time the next connection stands: it leaves as backfill. Only the newest
    /// stays live, so that the first thing to arrive is how things are.
    pub(super) fn demote(&mut self) {
        let newest = self.live.last();
        self.backfill.extend(std::mem::take(&mut self.live).iter());
        if let Some(newest) = newest.map(Range::one) {
            self.backfill.remove(newest);
            self.live.insert(newest);
        }
    }

    /// The rows to take from next, of the first lane in turn that `has_room` allows.
    pub(super) fn next(&self, has_room: impl Fn(Lane) -> bool) -> Option<(Lane, Range)> {
        let order =
            if self.last == Some(Lane::Live) { [Lane::Backfill, Lane::Live] } else { [Lane::Live, Lane::Backfill] };
        order.into_iter().filter(|lane| has_room(*lane)).find_map(|lane| Some((lane, self.edge(lane)?)))
    }

    /// The newest run of live rows, or the oldest of backfill.
    fn edge(&self, lane: Lane) -> Option<Range> {
        match lane {
            Lane::Live => self.live.iter().next_back(),
            Lane::Backfill => self.backfill.iter().next(),
        }
    }

    /// `lane` had its turn.
    pub(super) fn took_turn(&mut self, lane: Lane) {
        self.last = Some(lane);
    }

    /// How many rows wait.
    pub(super) fn waiting(&self) -> u64 {
        self.live.count() + self.backfill.count()
    }
}
