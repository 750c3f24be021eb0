//! What all parts did and found, for people and as `target/security.json`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use harness::trial;
use serde_json::{Value, json};

use crate::part::Found;

/// Wrong answers of one part that are shown; the others are counted.
const SHOWN_MAX: usize = 20;

/// The sum over all parts.
pub(crate) struct Report {
    seed: u64,
    short: bool,
    figures: BTreeMap<String, Value>,
    seconds: BTreeMap<&'static str, f64>,
    /// Of all parts, some of which may have run side by side.
    took: Duration,
    wrong: Vec<String>,
    open: Vec<String>,
    skipped: Vec<String>,
    /// Whether what was skipped is to be passed over; else it is not shown, and the report not clean.
    allows_skips: bool,
}

impl Report {
    pub(crate) fn new(seed: u64, short: bool, allows_skips: bool) -> Self {
        let (figures, seconds) = (BTreeMap::new(), BTreeMap::new());
        let (wrong, open, skipped) = (Vec::new(), Vec::new(), Vec::new());
        Self { seed, short, figures, seconds, took: Duration::ZERO, wrong, open, skipped, allows_skips }
    }

    /// Takes in what `part` found, and says it.
    pub(crate) fn add(&mut self, part: &'static str, found: &Found, took: Duration) {
        let figures: Vec<String> = found.figures.iter().map(|(what, count)| format!("{count} {what}")).collect();
        let verdict = match (found.wrong.is_empty(), found.skipped.is_empty()) {
            (true, true) => "clean",
            (true, false) => "SKIPPED",
            (false, _) => "FAILED",
        };
        found.said.iter().for_each(|line| println!("    {line}"));
        println!("{part:<16} {verdict:<7} {:>6.1} s  {}", took.as_secs_f64(), figures.join(", "));
        found.wrong.iter().take(SHOWN_MAX).for_each(|what| println!("    wrong: {what}"));
        if let Some(more) = found.wrong.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
            println!("    and {more} more");
        }
        found.open.iter().for_each(|what| println!("    open: {what}"));
        found.skipped.iter().for_each(|reason| println!("    skipped: {reason}"));
        self.seconds.insert(part, took.as_secs_f64());
        self.wrong.extend(found.wrong.iter().map(|what| format!("{part}: {what}")));
        self.open.extend(found.open.iter().map(|what| format!("{part}: {what}")));
        self.skipped.extend(found.skipped.iter().map(|what| format!("{part}: {what}")));
        self.figures.extend(found.figures.iter().map(|(what, count)| ((*what).to_owned(), json!(count))));
        self.figures.extend(found.details.iter().map(|(what, value)| ((*what).to_owned(), value.clone())));
        self.figures.insert(format!("{part}_wrong"), json!(found.wrong.len()));
    }

    /// All parts have run, within this.
    pub(crate) fn took(&mut self, took: Duration) {
        self.took = took;
    }

    /// Whether nothing is wrong, and nothing was left out that had to be shown.
    pub(crate) fn is_clean(&self) -> bool {
        self.wrong.is_empty() && (self.skipped.is_empty() || self.allows_skips)
    }

    /// Writes the figures by name.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut figures = self.figures.clone();
        figures.insert("open".into(), json!(self.open));
        figures.insert("skipped".into(), json!(self.skipped));
        figures.insert("seed".into(), json!(self.seed));
        figures.insert("size".into(), json!(if self.short { "short" } else { "full" }));
        figures.insert("seconds".into(), json!(self.seconds));
        let total = self.took.as_secs_f64();
        figures.insert("seconds_in_all".into(), json!(total));
        // Once more, last: of a long run often the end alone is looked at.
        self.wrong.iter().take(SHOWN_MAX).for_each(|what| println!("wrong: {what}"));
        let (wrong, open, skipped) = (self.wrong.len(), self.open.len(), self.skipped.len());
        println!("{wrong} wrong, {open} open, {skipped} skipped in {total:.0} s; {}", path.display());
        if skipped > 0 && !self.allows_skips {
            println!(
                "what was skipped was not shown: install what is missing, or say --allow-skips (never with CI=true)"
            );
        }
        trial::write(path, &figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(allows_skips: bool, wrong: &[&str], skipped: &[&str]) -> Report {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        let mut report = Report::new(1, false, allows_skips);
        let found = Found { wrong: texts(wrong), skipped: texts(skipped), ..Found::default() };
        report.add("part", &found, Duration::ZERO);
        report
    }

    #[test]
    fn what_was_skipped_was_not_shown() {
        assert!(report(false, &[], &[]).is_clean());
        assert!(!report(false, &[], &["no strace"]).is_clean());
        assert!(report(true, &[], &["no strace"]).is_clean(), "unless that is allowed");
        assert!(!report(true, &["something"], &["no strace"]).is_clean());
    }
}
