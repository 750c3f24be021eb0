//! What is known of the readings of one series in one span.

use crate::store::ledger::value::Share;

/// The readings of one series in one span, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bucket {
    /// Its finite numbers and booleans, if there are any.
    pub numbers: Option<Numbers>,
    /// How many said `low`: below what could be measured.
    pub below: i64,
    /// How many said `high`.
    pub above: i64,
    /// How many were anything else.
    pub others: i64,
    /// Of all of these, how many are not there any more themselves.
    pub gone: i64,
}

/// Finite numbers, summed up. A boolean is 0 or 1, and -0.0 is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// How many.
    pub n: i64,
    /// Their sum, added up in the order of time; at its bounds where it would be beyond them.
    pub sum: f64,
    /// The sum of their squares, likewise.
    pub sum_squares: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
    /// The earliest; of several at one instant, the lowest.
    pub first: f64,
    /// When that was.
    pub first_us: i64,
    /// The latest; of several at one instant, the highest.
    pub last: f64,
    /// When that was.
    pub last_us: i64,
}

impl Numbers {
    fn one(time_us: i64, value: f64) -> Self {
        Self {
            n: 1,
            sum: value,
            sum_squares: within(value * value),
            min: value,
            max: value,
            first: value,
            first_us: time_us,
            last: value,
            last_us: time_us,
        }
    }

    /// Those of an earlier and a later span, or in any order where there is no better way to know.
    fn and(self, other: Self) -> Self {
        let (first, last) = (
            if other.first_us < self.first_us { other } else { self },
            if other.last_us >= self.last_us { other } else { self },
        );
        Self {
            n: self.n + other.n,
            sum: within(self.sum + other.sum),
            sum_squares: within(self.sum_squares + other.sum_squares),
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            first: first.first,
            first_us: first.first_us,
            last: last.last,
            last_us: last.last_us,
        }
    }

    /// Their mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^53 readings")]
        let n = self.n as f64;
        // A mean lies between the extremes; a rounded sum may not.
        (self.sum / n).clamp(self.min, self.max)
    }
}

/// A sum that has not overflowed, so that no later one is infinity less infinity.
fn within(sum: f64) -> f64 {
    sum.clamp(f64::MIN, f64::MAX)
}

impl Bucket {
    /// How many readings it tells of.
    #[must_use]
    pub fn readings(&self) -> i64 {
        self.numbers.map_or(0, |numbers| numbers.n) + self.below + self.above + self.others
    }

    /// Whether it tells of nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.readings() == 0
    }

    /// Takes in a reading. Equal to the bit only where numbers come in the order of time and then of height.
    pub(in crate::store) fn add(&mut self, time_us: i64, share: Share) {
        match share {
            Share::Number(value) => {
                let one = Numbers::one(time_us, value);
                self.numbers = Some(self.numbers.map_or(one, |numbers| numbers.and(one)));
            }
            Share::Below => self.below += 1,
            Share::Above => self.above += 1,
            Share::Other => self.others += 1,
        }
    }

    /// Takes in readings in any order: they are put in the order of time and then of height, which no order of arrival
    /// changes.
    pub(in crate::store) fn add_all(&mut self, mut readings: Vec<(i64, Share)>) {
        readings.sort_by(|(left_us, left), (right_us, right)| left_us.cmp(right_us).then(left.height_cmp(right)));
        readings.into_iter().for_each(|(time_us, share)| self.add(time_us, share));
    }

    /// Takes in another, which tells of other readings: of a later span, or else the sums are as good but not the same
    /// to the bit.
    pub fn merge(&mut self, other: &Self) {
        self.numbers = match (self.numbers, other.numbers) {
            (Some(ours), Some(theirs)) => Some(ours.and(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        self.below += other.below;
        self.above += other.above;
        self.others += other.others;
        self.gone += other.gone;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_stay_within_their_bounds() {
        let mut bucket = Bucket::default();
        for (time, value) in (0..).zip([f64::MAX, f64::MAX, f64::MIN, f64::MIN, f64::MIN]) {
            bucket.add(time, Share::Number(value));
        }
        let numbers = bucket.numbers.unwrap();
        assert!(numbers.sum.is_finite() && numbers.mean().is_finite());
        assert_eq!((numbers.sum_squares, numbers.min, numbers.max), (f64::MAX, f64::MIN, f64::MAX));
    }

    #[test]
    fn what_is_no_number_is_counted_apart() {
        let mut bucket = Bucket::default();
        bucket.add_all(vec![(3, Share::Above), (2, Share::Number(7.0)), (1, Share::Below), (4, Share::Other)]);
        assert_eq!((bucket.below, bucket.above, bucket.others, bucket.readings()), (1, 1, 1, 4));
        assert_eq!(bucket.numbers, Some(Numbers::one(2, 7.0)));
    }
}
