//! Sets of whole numbers that mostly come in runs.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// The numbers `first ..= last`. Holds at least one number when made by [`Range::new`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Range {
    /// The lowest number.
    pub first: u64,
    /// The highest number.
    pub last: u64,
}

impl Range {
    /// `first ..= last`, if that is not empty.
    #[must_use]
    pub fn new(first: u64, last: u64) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// Just `number`.
    #[must_use]
    pub fn one(number: u64) -> Self {
        Self { first: number, last: number }
    }

    /// How many numbers there are, saturating at `u64::MAX`.
    #[must_use]
    pub fn count(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// Whether `number` is one of them.
    #[must_use]
    pub fn contains(self, number: u64) -> bool {
        self.first <= number && number <= self.last
    }

    /// The numbers in both.
    #[must_use]
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}

/// A set of numbers as ascending ranges that neither touch nor overlap.
#[derive(Clone, PartialEq, Eq, Default, Hash)]
pub struct Ranges(Vec<Range>);

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl Ranges {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[Range] {
        &self.0
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range> + ExactSizeIterator + '_ {
        self.0.iter().copied()
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers are in the set, saturating at `u64::MAX`.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.iter().fold(0, |sum, range| sum.saturating_add(range.count()))
    }

    /// The lowest number.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.0.first().map(|range| range.first)
    }

    /// The highest number.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|range| range.last)
    }

    /// Whether `number` is in the set.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        self.range_at(number).is_some()
    }

    /// The range that holds `number`.
    #[must_use]
    pub fn range_at(&self, number: u64) -> Option<Range> {
        let index = self.0.partition_point(|range| range.last < number);
        self.0.get(index).copied().filter(|range| range.contains(number))
    }

    /// Adds `range`, joining what it touches.
    pub fn insert(&mut self, range: Range) {
        let start = self.0.partition_point(|have| have.last < range.first && have.last + 1 < range.first);
        let end = self.0.partition_point(|have| have.first <= range.last.saturating_add(1));
        let touched = self.0.get(start..end).unwrap_or_default();
        let joined = Range {
            first: touched.first().map_or(range.first, |have| have.first.min(range.first)),
            last: touched.last().map_or(range.last, |have| have.last.max(range.last)),
        };
        self.0.splice(start..end.max(start), [joined]);
    }

    /// Takes `range` out.
    pub fn remove(&mut self, range: Range) {
        let start = self.0.partition_point(|have| have.last < range.first);
        let end = self.0.partition_point(|have| have.first <= range.last);
        let touched = self.0.get(start..end).unwrap_or_default();
        let before = touched.first().and_then(|have| Range::new(have.first, range.first.checked_sub(1)?));
        let after = touched.last().and_then(|have| Range::new(range.last.checked_add(1)?, have.last));
        self.0.splice(start..end.max(start), before.into_iter().chain(after));
    }

    /// The numbers of `range` that are in the set.
    pub fn within(&self, range: Range) -> impl DoubleEndedIterator<Item = Range> + '_ {
        let start = self.0.partition_point(|have| have.last < range.first);
        let end = self.0.partition_point(|have| have.first <= range.last);
        self.0.get(start..end.max(start)).unwrap_or_default().iter().filter_map(move |have| have.intersect(range))
    }

    /// The numbers of `range` that are not in the set.
    #[must_use]
    pub fn missing_in(&self, range: Range) -> Self {
        let mut missing = Self(Vec::from([range]));
        for have in self.within(range) {
            missing.remove(have);
        }
        missing
    }
}

impl FromIterator<Range> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

impl Extend<Range> for Ranges {
    fn extend<I: IntoIterator<Item = Range>>(&mut self, ranges: I) {
        for range in ranges {
            self.insert(range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    fn plain(set: &Ranges) -> BTreeSet<u64> {
        set.iter().flat_map(|range| range.first..=range.last).collect()
    }

    proptest! {
        #[test]
        fn ranges_behave_as_a_plain_set_does(steps in prop::collection::vec((any::<bool>(), 0_u64..40, 0_u64..6), 0..60)) {
            let (mut ours, mut model) = (Ranges::new(), BTreeSet::new());
            for (add, first, more) in steps {
                let range = Range::new(first, first + more).unwrap();
                if add {
                    ours.insert(range);
                    model.extend(range.first..=range.last);
                } else {
                    ours.remove(range);
                    model.retain(|number| !range.contains(*number));
                }
                prop_assert_eq!(&plain(&ours), &model);
                prop_assert!(ours.as_slice().windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
                let asked = Range::new(first / 2, first + 3).unwrap();
                let within: BTreeSet<_> = ours.within(asked).flat_map(|range| range.first..=range.last).collect();
                let missing = plain(&ours.missing_in(asked));
                prop_assert!((asked.first..=asked.last).all(|n| within.contains(&n) == model.contains(&n)));
                prop_assert!((asked.first..=asked.last).all(|n| missing.contains(&n) != model.contains(&n)));
                prop_assert_eq!(ours.count(), model.len() as u64);
            }
        }
    }

    #[test]
    fn the_largest_numbers_overflow_nothing() {
        let mut set = Ranges::new();
        set.insert(Range::new(0, u64::MAX).unwrap());
        set.insert(Range::one(u64::MAX));
        assert_eq!(set.count(), u64::MAX);
        set.remove(Range::one(u64::MAX));
        set.remove(Range::one(0));
        assert_eq!(set.as_slice(), [Range::new(1, u64::MAX - 1).unwrap()]);
    }
}
