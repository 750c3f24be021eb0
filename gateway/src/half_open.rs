//! TLS handshakes under way at a door: a bounded number. Where all places are taken, the oldest goes once it is stalled,
//! and until then newcomers wait in the system's queue.
//!
//! Whoever opens sockets and stalls is pushed out that way within a fraction of a second. When a whole fleet comes back
//! at once it is this machine that is slow: to push out the oldest would throw away what is nearly done, and all would
//! begin again. So what counts as stalled is learned: from what handshakes take that succeed, and from having pushed
//! out many of which perhaps none was stalled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// No handshake is pushed out before it is this old. Six times as long as one takes over a round trip of 40 ms.
const PATIENCE_MIN: Duration = Duration::from_millis(250);
/// After this the handshake's own deadline ends it.
const PATIENCE_MAX: Duration = Duration::from_secs(10);
/// A handshake that takes so many times as long as those that succeeded lately is stalled.
const STALLED_FACTOR: u32 = 4;
/// How much the latest handshake counts in what they take just now: one part in so many.
const SMOOTHING: u32 = 8;
/// Pushing out as many as there are places, or this many, makes patience some three times as long.
const LESSON: u32 = 64;

/// All handshakes under way.
#[derive(Debug)]
pub(crate) struct HalfOpen {
    places_max: usize,
    places: Mutex<Places>,
    /// A place was given back.
    freed: Notify,
}

#[derive(Debug)]
struct Places {
    next: u64,
    taken: BTreeMap<u64, (Instant, CancellationToken)>,
    /// A handshake that is older is stalled.
    patience: Duration,
}

/// One handshake's place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    since: Instant,
    evicted: CancellationToken,
    all: Arc<HalfOpen>,
}

impl HalfOpen {
    pub(crate) fn new(places_max: usize) -> Arc<Self> {
        let places = Places { next: 0, taken: BTreeMap::new(), patience: PATIENCE_MIN };
        Arc::new(Self { places_max: places_max.max(1), places: Mutex::new(places), freed: Notify::new() })
    }

    /// Returns once there is a place, or one whose handshake is stalled. Cancel safe.
    pub(crate) async fn room(&self) {
        while let Some(stalled_at) = self.full_until() {
            if stalled_at <= Instant::now() {
                return;
            }
            tokio::select! {
                () = self.freed.notified() => {}
                () = sleep_until(stalled_at) => {}
            }
        }
    }

    /// A place for a new handshake. The second value says whether the oldest had to go for it.
    pub(crate) fn enter(self: &Arc<Self>, now: Instant) -> (Place, bool) {
        let evicted = CancellationToken::new();
        let mut places = self.places();
        let full = places.taken.len() >= self.places_max;
        if full && let Some((_, (_, oldest))) = places.taken.pop_first() {
            oldest.cancel();
            let lesson = LESSON.max(u32::try_from(self.places_max).unwrap_or(u32::MAX));
            places.patience = (places.patience + places.patience / lesson).min(PATIENCE_MAX);
        }
        let number = places.next;
        places.next += 1;
        places.taken.insert(number, (now, evicted.clone()));
        drop(places);
        (Place { number, since: now, evicted, all: Arc::clone(self) }, full)
    }

    /// When the oldest counts as stalled, if all places are taken.
    fn full_until(&self) -> Option<Instant> {
        let places = self.places();
        if places.taken.len() < self.places_max {
            return None;
        }
        places.taken.first_key_value().map(|(_, (since, _))| *since + places.patience)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Returns once a newer handshake has taken this place.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// The handshake has succeeded: what it took is what others may take.
    pub(crate) fn succeeded(self, now: Instant) {
        let allowed = now.saturating_duration_since(self.since) * STALLED_FACTOR;
        let mut places = self.all.places();
        let patience = (places.patience * (SMOOTHING - 1) + allowed) / SMOOTHING;
        places.patience = patience.clamp(PATIENCE_MIN, PATIENCE_MAX);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.places().taken.remove(&self.number);
        self.all.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_a_place_given_back_is_free() {
        let now = Instant::now();
        let half_open = HalfOpen::new(2);
        let (first, _) = half_open.enter(now);
        let (second, _) = half_open.enter(now);
        let (third, full) = half_open.enter(now);
        assert!(full && first.evicted.is_cancelled() && !second.evicted.is_cancelled());
        drop(third);
        let (_fourth, full) = half_open.enter(now);
        assert!(!full && !second.evicted.is_cancelled());
    }

    #[test]
    fn what_counts_as_stalled_follows_what_handshakes_take() {
        let start = Instant::now();
        let half_open = HalfOpen::new(1);
        assert_eq!(half_open.full_until(), None, "a place is free");
        let (first, _) = half_open.enter(start);
        assert_eq!(half_open.full_until(), Some(start + PATIENCE_MIN));
        drop(first);
        let second = Duration::from_secs(1);
        for _ in 0..100 {
            half_open.enter(start).0.succeeded(start + second);
        }
        let (slow, _) = half_open.enter(start);
        let patience = half_open.full_until().unwrap() - start;
        assert!(patience > 3 * second && patience <= 4 * second, "others take a second: {patience:?}");
        drop(slow);
        for _ in 0..100 {
            half_open.enter(start).0.succeeded(start + Duration::from_millis(5));
        }
        let (_last, _) = half_open.enter(start);
        assert_eq!(half_open.full_until(), Some(start + PATIENCE_MIN), "they are quick again");
    }

    /// A machine that needs `takes` for each handshake, and as many devices as want in: how many are pushed out before
    /// they succeed one after the other.
    fn pushed_out(takes: Duration) -> usize {
        let half_open = HalfOpen::new(100);
        let (mut now, mut out) = (Instant::now(), 0);
        let mut places: std::collections::VecDeque<Place> = std::collections::VecDeque::new();
        let mut done = 0;
        while done < 1_000 && out < 100_000 {
            match half_open.full_until() {
                None => places.push_back(half_open.enter(now).0),
                Some(stalled_at) => {
                    let oldest = places.pop_front().unwrap();
                    let ready_at = oldest.since + takes;
                    now = now.max(ready_at.min(stalled_at));
                    if ready_at <= stalled_at {
                        oldest.succeeded(now);
                        done += 1;
                    } else {
                        places.push_back(half_open.enter(now).0); // in the oldest one's place
                        out += 1;
                    }
                }
            }
        }
        out
    }

    #[test]
    fn a_fleet_that_comes_back_to_a_slow_machine_gets_in_and_few_are_pushed_out() {
        assert_eq!(pushed_out(Duration::from_millis(200)), 0);
        let out = [1, 3, 9].map(|seconds| pushed_out(Duration::from_secs(seconds)));
        assert!(out.iter().all(|out| (100..500).contains(out)), "{out:?}");
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_for_a_place_or_for_the_oldest_to_be_stalled() {
        let start = Instant::now();
        let half_open = HalfOpen::new(1);
        half_open.room().await;
        let (_kept, _) = half_open.enter(start);
        half_open.room().await;
        assert!(start.elapsed() >= PATIENCE_MIN, "nobody gives it back");
        let half_open = HalfOpen::new(1);
        let (place, _) = half_open.enter(start + 100 * PATIENCE_MIN);
        let other = Arc::clone(&half_open);
        let waiter = tokio::spawn(async move { other.room().await });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(place);
        waiter.await.unwrap();
        assert!(start.elapsed() < 100 * PATIENCE_MIN, "a place was given back");
    }
}
