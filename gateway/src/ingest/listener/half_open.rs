//! Handshakes under way: a bounded number, of which the newest always has a place.
//!
//! Whoever opens sockets and stalls can only push out what is older, and an honest handshake takes milliseconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// All handshakes under way.
#[derive(Debug)]
pub(super) struct HalfOpen {
    places_max: usize,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    next: u64,
    taken: BTreeMap<u64, CancellationToken>,
}

/// One handshake's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    evicted: CancellationToken,
    all: Arc<HalfOpen>,
}

impl HalfOpen {
    pub(super) fn new(places_max: usize) -> Arc<Self> {
        Arc::new(Self { places_max: places_max.max(1), places: Mutex::default() })
    }

    /// A place for a new handshake. The second value says whether the oldest had to go for it.
    pub(super) fn enter(self: &Arc<Self>) -> (Place, bool) {
        let evicted = CancellationToken::new();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let full = places.taken.len() >= self.places_max;
        if full && let Some((_, oldest)) = places.taken.pop_first() {
            oldest.cancel();
        }
        let number = places.next;
        places.next += 1;
        places.taken.insert(number, evicted.clone());
        drop(places);
        (Place { number, evicted, all: Arc::clone(self) }, full)
    }
}

impl Place {
    /// Returns once a newer handshake has taken this place.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.places.lock().unwrap_or_else(PoisonError::into_inner).taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_a_place_given_back_is_free() {
        let half_open = HalfOpen::new(2);
        let (first, _) = half_open.enter();
        let (second, _) = half_open.enter();
        let (third, full) = half_open.enter();
        assert!(full && first.evicted.is_cancelled() && !second.evicted.is_cancelled());
        drop(third);
        let (_fourth, full) = half_open.enter();
        assert!(!full && !second.evicted.is_cancelled());
    }
}
