//! Handshakes under way: a bounded number. Where all places are taken, the oldest goes once it takes longer than
//! handshakes take just now, and until then newcomers wait in the system's queue.
//!
//! Whoever opens sockets and stalls is pushed out that way within a fraction of a second. When a whole fleet comes back
//! at once it is this machine that is slow: then to push out the oldest would throw away what is nearly done, and all
//! would begin again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// No handshake is pushed out before it is this old. Six times as long as one takes over a round trip of 40 ms.
const PATIENCE: Duration = Duration::from_millis(250);
/// A handshake that takes so many times as long as those that succeeded lately is stalled.
const STALLED_FACTOR: u32 = 4;
/// How much the latest handshake counts in what they take just now: one part in so many.
const SMOOTHING: u32 = 8;

/// All handshakes under way.
#[derive(Debug)]
pub(super) struct HalfOpen {
    places_max: usize,
    places: Mutex<Places>,
    /// A place was given back.
    freed: Notify,
}

#[derive(Debug)]
struct Places {
    next: u64,
    taken: BTreeMap<u64, (Instant, CancellationToken)>,
    /// What handshakes take just now.
    typical: Duration,
    /// When the last one succeeded.
    succeeded: Instant,
}

/// One handshake's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    since: Instant,
    evicted: CancellationToken,
    all: Arc<HalfOpen>,
}

impl HalfOpen {
    pub(super) fn new(places_max: usize, now: Instant) -> Arc<Self> {
        let places = Places { next: 0, taken: BTreeMap::new(), typical: Duration::ZERO, succeeded: now };
        Arc::new(Self { places_max: places_max.max(1), places: Mutex::new(places), freed: Notify::new() })
    }

    /// Returns once there is a place, or one whose handshake is stalled. Cancel safe.
    pub(super) async fn room(&self) {
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
    pub(super) fn enter(self: &Arc<Self>, now: Instant) -> (Place, bool) {
        let evicted = CancellationToken::new();
        let mut places = self.places();
        let full = places.taken.len() >= self.places_max;
        if full && let Some((_, (_, oldest))) = places.taken.pop_first() {
            oldest.cancel();
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
        let (since, _) = places.taken.first_key_value().map(|(_, oldest)| oldest)?;
        let too_long = *since + places.typical * STALLED_FACTOR;
        Some((*since + PATIENCE).max(too_long.min(places.succeeded + PATIENCE)))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Returns once a newer handshake has taken this place.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// The handshake has succeeded: what it took is what others may take.
    pub(super) fn succeeded(self, now: Instant) {
        let mut places = self.all.places();
        places.typical = (places.typical * (SMOOTHING - 1) + now.saturating_duration_since(self.since)) / SMOOTHING;
        places.succeeded = now;
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
        let half_open = HalfOpen::new(2, now);
        let (first, _) = half_open.enter(now);
        let (second, _) = half_open.enter(now);
        let (third, full) = half_open.enter(now);
        assert!(full && first.evicted.is_cancelled() && !second.evicted.is_cancelled());
        drop(third);
        let (_fourth, full) = half_open.enter(now);
        assert!(!full && !second.evicted.is_cancelled());
    }

    #[test]
    fn the_oldest_is_stalled_when_it_takes_much_longer_than_others_or_none_succeeds() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let half_open = HalfOpen::new(2, start);
        let (_stalled, _) = half_open.enter(start);
        let (other, _) = half_open.enter(start);
        assert_eq!(half_open.full_until(), Some(at(250)), "none has succeeded at all");
        other.succeeded(at(20));
        assert_eq!(half_open.full_until(), None, "a place is free");
        let (_other, _) = half_open.enter(at(20));
        assert_eq!(half_open.full_until(), Some(at(250)), "others are quick");
        drop(_other);
        // A fleet comes back: this machine is slow, and handshakes succeed all the same.
        for _ in 0..40 {
            half_open.enter(at(1_000)).0.succeeded(at(2_000));
        }
        let (_other, _) = half_open.enter(at(2_000));
        let until = half_open.full_until().unwrap();
        assert!(until > at(2_200) && until <= at(2_250), "{:?}", until - start);
        drop(_stalled);
        let (_busy, _) = half_open.enter(at(2_000));
        half_open.places().succeeded = at(60_000);
        let until = half_open.full_until().unwrap();
        assert!(until > at(5_900), "it may take four times as long as others: {:?}", until - start);
    }

    #[tokio::test]
    async fn who_finds_no_room_waits_for_a_place_or_for_the_oldest_to_be_stalled() {
        let start = Instant::now();
        let half_open = HalfOpen::new(1, start);
        half_open.room().await;
        let (_kept, _) = half_open.enter(start);
        half_open.room().await;
        assert!(start.elapsed() >= PATIENCE, "nobody gives it back");
        let half_open = HalfOpen::new(1, start + 100 * PATIENCE);
        let (place, _) = half_open.enter(start + 100 * PATIENCE);
        let other = Arc::clone(&half_open);
        let waiter = tokio::spawn(async move { other.room().await });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        drop(place);
        waiter.await.unwrap();
        assert!(start.elapsed() < 100 * PATIENCE, "a place was given back");
    }
}
