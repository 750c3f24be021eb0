//! Side by side: parts wait more than they work.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Does `work` for each place below `count`, so many `at_once`; the last begin first, as they take longest. `tell` hears
/// what came of each in the order of their places, as soon as that can be.
pub(crate) fn run<T: Send>(
    count: usize,
    at_once: usize,
    work: impl Fn(usize) -> T + Sync,
    mut tell: impl FnMut(usize, T),
) {
    if at_once <= 1 {
        return (0..count).for_each(|place| tell(place, work(place)));
    }
    let left = AtomicUsize::new(count);
    let next = || {
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.ok().map(|left| left - 1)
    };
    let (done, all) = mpsc::sync_channel(count);
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(count) {
            let (done, next, work) = (done.clone(), &next, &work);
            scope.spawn(move || {
                while let Some(place) = next() {
                    let _ = done.send((place, work(place))); // there is room for all, and the other end outlives this
                }
            });
        }
        drop(done);
        let (mut known, mut told) = (BTreeMap::new(), 0);
        for (place, what) in all {
            known.insert(place, what);
            while let Some(what) = known.remove(&told) {
                tell(told, what);
                told += 1;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn each_is_done_once_and_told_in_order_and_never_more_than_so_many_at_once() {
        for at_once in [1, 2, 3, 20] {
            let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let work = |place: usize| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // The later it stands, the longer it takes.
                let began = Instant::now();
                while began.elapsed() < Duration::from_millis(place as u64) {
                    std::thread::yield_now();
                }
                now.fetch_sub(1, Ordering::SeqCst);
                place * place
            };
            let mut told = Vec::new();
            run(10, at_once, work, |place, square| told.push((place, square)));
            assert_eq!(told, (0..10).map(|place| (place, place * place)).collect::<Vec<_>>());
            let most = most.into_inner();
            assert!(most <= at_once && (most > 1) == (at_once > 1), "{most} at once of {at_once}");
        }
        run(0, 3, |place| place, |_, _| panic!("there is nothing to tell"));
    }
}
