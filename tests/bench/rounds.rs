//! Two ways of doing the same, alternated, so that whatever else the machine does meets both.

use std::time::Duration;

/// What two ways gave: medians of a rate, and how far the rounds lay apart.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    /// Ours, in things a second.
    pub(crate) ours: f64,
    /// The other's.
    pub(crate) theirs: f64,
    ratios: Vec<f64>,
}

impl Compared {
    /// The rounds in words.
    #[must_use]
    pub(crate) fn words(&self) -> String {
        let (least, most) = (self.ratios.first().unwrap_or(&0.0), self.ratios.last().unwrap_or(&0.0));
        let rounds = self.ratios.len();
        format!("median of {rounds} alternated rounds; ratio of a round from {least:.3} to {most:.3}")
    }
}

/// Runs `ours` and `theirs` in turn, each first in every second round. Both answer a rate.
///
/// # Errors
/// The first error of either.
pub(crate) fn alternate(
    rounds: usize,
    mut ours: impl FnMut() -> anyhow::Result<f64>,
    mut theirs: impl FnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<Compared> {
    let mut pairs = Vec::with_capacity(rounds);
    for round in 0..rounds.max(1) {
        pairs.push(if round % 2 == 0 {
            let first = ours()?;
            (first, theirs()?)
        } else {
            let first = theirs()?;
            (ours()?, first)
        });
    }
    let mut ratios: Vec<f64> = pairs.iter().map(|(ours, theirs)| ours / theirs).collect();
    ratios.sort_by(f64::total_cmp);
    let ours = median(pairs.iter().map(|pair| pair.0).collect());
    let theirs = median(pairs.iter().map(|pair| pair.1).collect());
    Ok(Compared { ours, theirs, ratios })
}

/// The middle one of `values`; zero if there are none.
#[must_use]
pub(crate) fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

/// The value below which `share` of `values` lie; zero if there are none.
#[must_use]
pub(crate) fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index into what is in memory")]
    let place = (float(last) * share).round() as usize;
    values.get(place).copied().unwrap_or(0.0)
}

/// `count` things in `took`, as a rate.
#[must_use]
pub(crate) fn rate(count: usize, took: Duration) -> f64 {
    float(count) / took.as_secs_f64().max(1e-9)
}

/// A count as a number to divide with.
#[must_use]
pub(crate) fn float(count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let float = count as f64;
    float
}
