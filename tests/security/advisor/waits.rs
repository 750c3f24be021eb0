//! What kind of waiting a list of waits is: blind to how they were made, as Device Advisor judges it from outside.

/// Waits between connections in seconds, a row for each agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits {
    pub(super) all: Vec<Vec<f64>>,
}

/// Kinds, as the log of Device Advisor names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Constant,
    Linear,
    Exponential,
    /// Random, around a mean that doubles.
    ExponentialWithJitter,
    /// Random, around a mean that does not.
    Jitter,
}

/// A fleet that waits within a tenth of each other comes back at once.
const VARIATION_MIN: f64 = 0.1;
/// A mean that grows by less from one wait to the next is not exponential.
const GROWTH_MIN: f64 = 1.5;
/// The waits that growth is measured between: both far from the first, which is mostly the machine's own time, and the
/// last below the longest.
const EARLY: std::ops::Range<usize> = 2..5;
const LATE: std::ops::Range<usize> = 5..8;

impl Waits {
    fn sum(&self, places: std::ops::Range<usize>) -> f64 {
        self.all.iter().filter_map(|waits| waits.get(places.clone())).flatten().sum()
    }

    /// By how much the mean grows from one wait to the next.
    pub(super) fn growth(&self) -> f64 {
        (self.sum(LATE) / self.sum(EARLY)).cbrt()
    }

    /// How much waits of one place vary between agents: the standard deviation in means, of the place in the middle. At one
    /// place all may be alike by chance, or because the machine stood still for them all.
    fn variation(&self) -> f64 {
        let of = |place: usize| {
            let waits: Vec<f64> = self.all.iter().filter_map(|waits| waits.get(place)).copied().collect();
            let mean = mean(&waits);
            mean_of(waits.iter().map(|wait| (wait - mean).powi(2))).sqrt() / mean
        };
        let mut variations: Vec<f64> = (EARLY.start..LATE.end).map(of).collect();
        variations.sort_by(f64::total_cmp);
        variations.get(variations.len() / 2).copied().unwrap_or(0.0)
    }

    /// What kind it is.
    pub(super) fn kind(&self) -> Kind {
        let steps =
            self.all.iter().flat_map(|waits| waits.get(EARLY.start..LATE.end)).flat_map(|waits| waits.windows(2));
        let steps: Vec<f64> = steps.map(|pair| pair[1] - pair[0]).collect();
        match (self.variation() > VARIATION_MIN, self.growth() >= GROWTH_MIN) {
            (true, true) => Kind::ExponentialWithJitter,
            (true, false) => Kind::Jitter,
            (false, true) => Kind::Exponential,
            (false, false)
                if mean(&steps) > 0.05 * self.all.first().and_then(|all| all.first()).copied().unwrap_or(1.0) =>
            {
                Kind::Linear
            }
            (false, false) => Kind::Constant,
        }
    }

    /// How likely waits that differ as much as these from uniform ones between nothing and `ceiling` are (Kolmogorov and
    /// Smirnov), and of how many. The first ones are mostly the machine's own time and left out.
    pub(super) fn uniform(&self, ceiling: impl Fn(usize) -> f64) -> (f64, usize) {
        let shares = self.all.iter().flat_map(|waits| waits.iter().enumerate().skip(LATE.start));
        let mut shares: Vec<f64> = shares.map(|(place, wait)| wait / ceiling(place)).collect();
        shares.sort_by(f64::total_cmp);
        let count = number(shares.len());
        let steps = shares.iter().enumerate().map(|(place, share)| {
            let (below, above) = (number(place) / count, number(place + 1) / count);
            (share - below).abs().max((above - share).abs())
        });
        let distance = steps.fold(0.0, f64::max);
        let scaled = (count.sqrt() + 0.12 + 0.11 / count.sqrt()) * distance;
        let term = |k: f64| 2.0 * (-1.0_f64).powf(k - 1.0) * (-2.0 * k * k * scaled * scaled).exp();
        let likely: f64 = (1..=100).map(|k| term(f64::from(k))).sum();
        (if scaled < 0.3 { 1.0 } else { likely.clamp(0.0, 1.0) }, shares.len())
    }
}

fn mean(all: &[f64]) -> f64 {
    mean_of(all.iter().copied())
}

fn mean_of(all: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = all.fold((0.0, 0.0), |(sum, count), one| (sum + one, count + 1.0));
    sum / count
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use harness::world::Random;

    use super::*;

    fn ceiling(place: usize) -> f64 {
        2.0_f64.powf(number(place)).min(300.0)
    }

    /// What `of` makes of a place and a random share, for so many agents.
    fn waits(agents: u64, of: impl Fn(usize, f64) -> f64) -> Waits {
        let mut random = Random::new(agents);
        let mut share = || f64::from(u32::try_from(random.below(1 << 20)).unwrap()) / f64::from(1 << 20);
        Waits { all: (0..agents).map(|_| (0..11).map(|place| of(place, share())).collect()).collect() }
    }

    #[test]
    fn each_kind_of_waiting_is_told_from_the_others() {
        for agents in [6, 20, 60] {
            assert_eq!(waits(agents, |_, _| 4.0).kind(), Kind::Constant);
            assert_eq!(waits(agents, |place, _| 4.0 + 4.0 * number(place)).kind(), Kind::Linear);
            assert_eq!(waits(agents, |place, _| ceiling(place)).kind(), Kind::Exponential);
            assert_eq!(waits(agents, |_, share| 30.0 * share).kind(), Kind::Jitter);
            assert_eq!(waits(agents, |place, share| ceiling(place) * share).kind(), Kind::ExponentialWithJitter);
        }
    }

    #[test]
    fn a_moment_for_which_the_machine_stands_still_is_not_taken_for_the_agents_way_to_wait() {
        let of = |place: usize, share: f64| if place == 3 { 7.0 + 0.1 * share } else { ceiling(place) * share };
        assert_eq!(waits(6, of).kind(), Kind::ExponentialWithJitter);
    }

    #[test]
    fn full_jitter_looks_uniform_and_half_of_it_does_not() {
        let (likely, _) = waits(20, |place, share| ceiling(place) * share).uniform(ceiling);
        assert!(likely > 0.01, "{likely}");
        for other in [|share: f64| 0.5 + share / 2.0, |share: f64| share * share, |share: f64| 0.2 + 0.6 * share] {
            let (likely, count) = waits(20, |place, share| ceiling(place) * other(share)).uniform(ceiling);
            assert!(likely < 0.000_1 && count == 120, "{likely} of {count}");
        }
    }
}
