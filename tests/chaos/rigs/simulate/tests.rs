//! The simulation itself: it repeats, and what it must see it sees.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use super::*;

#[test]
fn the_same_seed_lives_the_same_world_twice() {
    let folder = place(Path::new(".")).unwrap();
    let hash = |seed, name: &str| live(seed, &folder.path().join(name), false).unwrap().hash;
    // The last one has buffers that must evict.
    for seed in [1, 2, 3, 4, 5, 6, 38] {
        assert_eq!(hash(seed, "one"), hash(seed, "other"), "seed {seed}");
    }
    assert_ne!(hash(1, "one"), hash(2, "other"));
}
