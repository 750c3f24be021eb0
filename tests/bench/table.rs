//! What was measured: a line for a person as soon as it is known, and JSON at the end.

use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

/// What is said of a figure where others have their settings and the rows that were read back.
pub(crate) const IN_MEMORY: &str = "in memory: no store, so nothing is synced and no row is there to be read back";

/// A limit that the design states.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// The value is at most this.
    AtMost(f64),
    /// The value is less than this.
    Below(f64),
    /// The value is at least this.
    AtLeast(f64),
    /// The value divided by what it is compared with is at least this.
    RatioAtLeast(f64),
}

impl Limit {
    fn words(self) -> String {
        match self {
            Self::AtMost(most) => format!("at most {}", number(most)),
            Self::Below(bound) => format!("below {}", number(bound)),
            Self::AtLeast(least) => format!("at least {}", number(least)),
            Self::RatioAtLeast(least) => format!("ratio at least {}", number(least)),
        }
    }

    fn bound(self) -> f64 {
        match self {
            Self::AtMost(bound) | Self::Below(bound) | Self::AtLeast(bound) | Self::RatioAtLeast(bound) => bound,
        }
    }
}

/// One figure.
#[derive(Clone, Debug)]
pub(crate) struct Measure {
    name: String,
    value: f64,
    unit: &'static str,
    /// What it is compared with, and that one's figure in the same unit.
    against: Option<(String, f64)>,
    limit: Option<Limit>,
    /// Settings, row counts, and whatever must be known to read the figure.
    notes: Vec<String>,
}

impl Measure {
    /// `value` in `unit`.
    #[must_use]
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, against: None, limit: None, notes: Vec::new() }
    }

    /// Compared with `what`, which has `value` in the same unit.
    #[must_use]
    pub(crate) fn against(mut self, what: impl Into<String>, value: f64) -> Self {
        self.against = Some((what.into(), value));
        self
    }

    /// The design's limit.
    #[must_use]
    pub(crate) fn limit(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Something to know about it.
    #[must_use]
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The figure divided by what it is compared with; where that is nothing else, by its limit.
    fn ratio(&self) -> Option<f64> {
        let limit = self.limit.map(Limit::bound);
        let base = self.against.as_ref().map(|(_, value)| *value).or(limit)?;
        Some(self.value / base)
    }

    fn is_kept(&self) -> bool {
        match self.limit {
            None => true,
            Some(Limit::AtMost(most)) => self.value <= most,
            Some(Limit::Below(bound)) => self.value < bound,
            Some(Limit::AtLeast(least)) => self.value >= least,
            Some(Limit::RatioAtLeast(least)) => self.ratio().is_some_and(|ratio| ratio >= least),
        }
    }

    fn compared_with(&self) -> Option<String> {
        let other = self.against.as_ref().map(|(what, value)| format!("{what}: {}", number(*value)));
        other.or_else(|| self.limit.map(|limit| format!("limit: {}", limit.words())))
    }

    fn json(&self) -> Value {
        let Self { name, value, unit, .. } = self;
        json!({"name": name, "value": value, "unit": unit, "compared_with": self.compared_with(), "ratio": self.ratio()})
    }
}

/// Everything that was measured so far.
pub(crate) struct Table {
    figures: Vec<Value>,
    /// What broke its limit or could not be measured though it should.
    broken: Vec<String>,
    /// Whether a broken limit counts: in a debug build it says nothing.
    is_strict: bool,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub(crate) fn begin(is_strict: bool) -> Self {
        if !is_strict {
            println!("a debug build: no figure here says anything, and no limit counts\n");
        }
        println!("{:<30} {:>10} {:<15} {:>7}  compared with", "measure", "value", "unit", "ratio");
        Self { figures: Vec::new(), broken: Vec::new(), is_strict }
    }

    /// Adds `measure`, and prints it.
    pub(crate) fn add(&mut self, measure: &Measure) {
        let Measure { name, value, unit, limit, notes, .. } = measure;
        let ratio = measure.ratio().map_or_else(String::new, |ratio| format!("{ratio:.3}"));
        let compared = measure.compared_with().unwrap_or_default();
        println!("{name:<30} {:>10} {unit:<15} {ratio:>7}  {compared}", number(*value));
        if let Some(limit) = limit {
            let verdict = if measure.is_kept() { "kept" } else { "BROKEN" };
            println!("{:6}limit {}: {verdict}", "", limit.words());
        }
        notes.iter().for_each(|note| println!("{:6}{note}", ""));
        if !measure.is_kept() {
            let limit = limit.map(Limit::words).unwrap_or_default();
            self.broken.push(format!("{name} is {} {unit} (limit: {limit})", number(*value)));
        }
        self.figures.push(measure.json());
    }

    /// `name` cannot be measured here.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        println!("{name:<30} skipped: {reason}");
        let why = format!("skipped: {reason}");
        self.figures.push(json!({"name": name, "value": null, "unit": null, "compared_with": why, "ratio": null}));
    }

    /// `name` could not be measured though it should.
    pub(crate) fn failed(&mut self, name: &str, why: &str) {
        println!("{name:<30} FAILED: {why}");
        self.broken.push(format!("{name}: {why}"));
        let why = format!("failed: {why}");
        self.figures.push(json!({"name": name, "value": null, "unit": null, "compared_with": why, "ratio": null}));
    }

    /// Writes the list to `path`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(&self.figures).context("write JSON")?;
        std::fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))?;
        println!("\nwritten to {}", path.display());
        Ok(())
    }

    /// Says what was broken. Answers whether nothing was.
    #[must_use]
    pub(crate) fn end(self) -> bool {
        if self.broken.is_empty() {
            println!("\nevery limit was kept");
            return true;
        }
        println!("\nbroken:");
        self.broken.iter().for_each(|what| println!("  {what}"));
        !self.is_strict
    }
}

/// Digits enough to compare, in groups of three.
#[must_use]
pub(crate) fn number(value: f64) -> String {
    if value.abs() < 1_000.0 {
        return format!("{value:.*}", if value.abs() < 10.0 { 3 } else { 1 });
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_limit_fails_the_run_and_what_is_skipped_does_not() {
        let ends_well = |measure: Measure| {
            let mut table = Table::begin(true);
            table.skip("other", "not here");
            table.add(&measure);
            table.end()
        };
        let measure = |value| Measure::new("a", value, "s");
        assert!(ends_well(measure(2.0).limit(Limit::AtMost(2.0))));
        assert!(!ends_well(measure(2.1).limit(Limit::AtMost(2.0))));
        assert!(!ends_well(measure(2.0).limit(Limit::Below(2.0))));
        assert!(ends_well(measure(2.0).limit(Limit::AtLeast(2.0))));
        assert!(!ends_well(measure(1.9).limit(Limit::AtLeast(2.0))));
        assert!(ends_well(measure(5.0).against("b", 10.0).limit(Limit::RatioAtLeast(0.5))));
        assert!(!ends_well(measure(4.9).against("b", 10.0).limit(Limit::RatioAtLeast(0.5))));
        assert!(!ends_well(measure(f64::NAN).limit(Limit::AtMost(2.0))), "what is no number keeps no limit");
    }

    #[test]
    fn json_has_the_five_fields_of_the_design() {
        let json = Measure::new("a", 3.0, "s").against("b", 2.0).limit(Limit::AtMost(9.0)).json();
        assert_eq!(json, json!({"name": "a", "value": 3.0, "unit": "s", "compared_with": "b: 2.000", "ratio": 1.5}));
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!([1_234_567.0, 999.0, 1_000.0, 0.852].map(number), ["1 234 567", "999.0", "1 000", "0.852"]);
    }
}
