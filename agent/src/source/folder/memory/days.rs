//! Days that were read of: so few numbers that years of them can be kept where records cannot.

/// Spans that are kept; beyond, the two oldest become one.
const SPANS_MAX: usize = 256;
/// Seconds of a day.
pub(super) const DAY: u64 = 86_400;

/// Days since the Unix epoch, as spans that neither overlap nor touch, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Days(Vec<(u64, u64)>);

impl Days {
    pub(super) fn has(&self, day: u64) -> bool {
        let behind = self.0.partition_point(|(first, _)| *first <= day);
        behind.checked_sub(1).is_some_and(|place| self.0[place].1 >= day)
    }

    /// From `first` to `last`, both included.
    pub(super) fn insert(&mut self, first: u64, last: u64) {
        let from = self.0.partition_point(|span| span.1.saturating_add(1) < first);
        let until = self.0.partition_point(|span| span.0 <= last.saturating_add(1));
        let joined = self.0.get(from..until).unwrap_or_default();
        let (first, last) = joined.iter().fold((first, last), |(a, b), span| (a.min(span.0), b.max(span.1)));
        self.0.splice(from..until, [(first, last)]);
        if self.0.len() > SPANS_MAX {
            let (_, last) = self.0.remove(1);
            self.0[0].1 = last;
        }
    }

    /// Takes all of `other` in.
    pub(super) fn append(&mut self, other: &mut Self) {
        std::mem::take(&mut other.0).into_iter().for_each(|(first, last)| self.insert(first, last));
    }

    /// How many spans there are, then first and last of each.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        let spans = self.0.iter().flat_map(|(first, last)| [*first, *last]);
        std::iter::once(self.0.len() as u64).chain(spans)
    }

    /// Reads those; none where they are not what is written here.
    pub(super) fn read(next: &mut impl FnMut() -> Option<u64>) -> Option<Self> {
        let count = usize::try_from(next()?).ok().filter(|count| *count <= SPANS_MAX)?;
        let mut spans: Vec<(u64, u64)> = Vec::new();
        for _ in 0..count {
            let (first, last) = (next()?, next()?);
            let follows = spans.last().is_none_or(|before| before.1.saturating_add(1) < first);
            if first > last || !follows {
                return None;
            }
            spans.push((first, last));
        }
        Some(Self(spans))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn of_too_many_spans_the_oldest_become_one() {
        let mut days = Days::default();
        (0..SPANS_MAX as u64).for_each(|number| days.insert(number * 10, number * 10));
        assert!(days.has(10) && !days.has(5));
        days.insert(9_000, 9_000);
        assert_eq!(days.0.len(), SPANS_MAX);
        assert!(days.has(5) && !days.has(15) && days.has(9_000), "what lies between the oldest two counts as read");
    }

    proptest! {
        #[test]
        fn what_was_put_in_is_there_and_nothing_else(spans in proptest::collection::vec((0_u64..60, 0_u64..6), 0..20)) {
            let (mut days, mut all) = (Days::default(), BTreeSet::new());
            for (first, length) in spans {
                days.insert(first, first + length);
                all.extend(first..=first + length);
                prop_assert!(days.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{days:?}");
            }
            prop_assert!((0..80).all(|day| days.has(day) == all.contains(&day)), "{days:?} {all:?}");
            let mut numbers = days.numbers().collect::<Vec<_>>().into_iter();
            prop_assert_eq!(Days::read(&mut || numbers.next()), Some(days));
        }
    }
}
