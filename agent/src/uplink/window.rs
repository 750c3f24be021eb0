//! What was sent and is not yet settled.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use proto::{Lane, Range, Ranges};

use super::Pace;

/// Of the window, the part that backfill may fill: live readings always find room.
const BACKFILL_SHARE: (usize, usize) = (3, 4);

/// Frames that a new connection may have under way: on a thin link they are plenty. Each that is settled makes room for
/// one more, so that the window doubles with each round trip.
const FRAMES_MIN: usize = 2;

/// One frame under way.
#[derive(Clone, Debug)]
struct Flight {
    rows: Range,
    bytes: usize,
    lane: Lane,
    sent_at: Instant,
    /// Sent before the hello that is not answered yet: if the answer lacks it, it was lost.
    asked: bool,
}

/// The frames under way, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Window {
    frames_max: usize,
    /// Frames that may be under way now.
    frames: usize,
    bytes_max: usize,
    flights: VecDeque<Flight>,
    deadline: Duration,
    deadline_min: Duration,
    deadline_max: Duration,
}

impl Window {
    pub(super) fn new(pace: &Pace) -> Self {
        Self {
            frames_max: pace.window_frames,
            frames: FRAMES_MIN.min(pace.window_frames),
            bytes_max: pace.window_bytes,
            flights: VecDeque::with_capacity(pace.window_frames),
            deadline: pace.deadline_min,
            deadline_min: pace.deadline_min,
            deadline_max: pace.deadline_max,
        }
    }

    /// How many bytes a frame of `lane` may still have; none when the window is full.
    pub(super) fn room(&self, lane: Lane) -> Option<usize> {
        let bytes: usize = self.flights.iter().map(|flight| flight.bytes).sum();
        let backfill = self.flights.iter().filter(|flight| flight.lane == Lane::Backfill);
        let (part, whole) = BACKFILL_SHARE;
        let full_of_backfill = lane == Lane::Backfill
            && (backfill.clone().count() >= (self.frames * part / whole).max(1)
                || backfill.map(|flight| flight.bytes).sum::<usize>() >= self.bytes_max * part / whole);
        if self.flights.len() >= self.frames || bytes >= self.bytes_max || full_of_backfill {
            return None;
        }
        Some(self.bytes_max - bytes)
    }

    pub(super) fn sent(&mut self, rows: Range, bytes: usize, lane: Lane, now: Instant) {
        self.flights.push_back(Flight { rows, bytes, lane, sent_at: now, asked: false });
    }

    /// Takes out the flights that `settled` covers whole. The time of those that were sent later starts anew: on a slow
    /// link they were queued behind these. What was overtaken was not: it may have been lost on the way, and is asked for
    /// in time however much else is settled meanwhile.
    pub(super) fn settle(&mut self, settled: &Ranges, now: Instant) {
        let before = self.flights.len();
        let covered = |rows: Range| settled.range_at(rows.first).is_some_and(|at| at.contains(rows.last));
        let Some(first) = self.flights.iter().position(|flight| covered(flight.rows)) else { return };
        self.flights.retain(|flight| !covered(flight.rows));
        self.frames = (self.frames + before - self.flights.len()).min(self.frames_max);
        self.deadline = (self.deadline / 2).max(self.deadline_min);
        self.flights.iter_mut().skip(first).for_each(|flight| flight.sent_at = now);
    }

    /// What is under way was queued until now: its time starts anew.
    pub(super) fn queued(&mut self, now: Instant) {
        self.flights.iter_mut().for_each(|flight| flight.sent_at = now);
    }

    /// Takes out the flights that have any of `rows`; answers all their rows.
    pub(super) fn drop_touching(&mut self, rows: &Ranges) -> Ranges {
        let touches = |flight: &Flight| rows.within(flight.rows).next().is_some();
        let dropped = self.flights.iter().filter(|flight| touches(flight)).map(|flight| flight.rows).collect();
        self.flights.retain(|flight| !touches(flight));
        dropped
    }

    /// How long an answer may take now.
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// A hello goes out: what is under way now should be in its answer.
    pub(super) fn ask(&mut self) {
        self.flights.iter_mut().for_each(|flight| flight.asked = true);
    }

    /// The hello is answered: what it should have covered and did not is lost. Takes those out and answers the rows of each.
    pub(super) fn lost(&mut self) -> Vec<Range> {
        let lost = self.flights.iter().filter(|flight| flight.asked).map(|flight| flight.rows).collect();
        self.flights.retain(|flight| !flight.asked);
        lost
    }

    /// Forgets all, as the connection is lost; answers their rows.
    pub(super) fn clear(&mut self) -> Ranges {
        self.frames = FRAMES_MIN.min(self.frames_max);
        self.flights.drain(..).map(|flight| flight.rows).collect()
    }

    /// When the oldest frame should have been settled.
    pub(super) fn due(&self) -> Option<Instant> {
        self.flights.front().map(|flight| flight.sent_at + self.deadline)
    }

    /// The deadline was missed: the next one is twice as long, counted from now.
    pub(super) fn missed(&mut self, now: Instant) {
        self.deadline = self.deadline.saturating_mul(2).min(self.deadline_max);
        self.frames = (self.frames / 2).max(FRAMES_MIN.min(self.frames_max));
        self.queued(now);
    }

    /// What is under way.
    pub(super) fn rows(&self) -> impl Iterator<Item = Range> + '_ {
        self.flights.iter().map(|flight| flight.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_others_overtake_is_asked_for_in_time_and_those_behind_others_get_theirs() {
        let (start, pace) = (Instant::now(), Pace::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::new(&pace);
        (1..=3).for_each(|row| window.sent(Range::one(row), 100, Lane::Live, at(row)));
        window.settle(&[Range::one(2)].into_iter().collect(), at(8));
        assert_eq!(window.due(), Some(at(1) + pace.deadline_min), "the first one was overtaken");
        window.settle(&[Range { first: 1, last: 2 }].into_iter().collect(), at(9));
        assert_eq!(window.due(), Some(at(9) + pace.deadline_min), "the third one was queued behind both");
        assert_eq!(window.rows().collect::<Vec<_>>(), [Range::one(3)]);
    }
}
