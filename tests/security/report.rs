//! What all parts did and found, for people and as `target/security.json`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
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
    wrong: usize,
    open: Vec<String>,
    skipped: Vec<String>,
}

impl Report {
    pub(crate) fn new(seed: u64, short: bool) -> Self {
        let (figures, seconds) = (BTreeMap::new(), BTreeMap::new());
        Self { seed, short, figures, seconds, wrong: 0, open: Vec::new(), skipped: Vec::new() }
    }

    /// Takes in what `part` found, and says it.
    pub(crate) fn add(&mut self, part: &'static str, found: &Found, took: Duration) {
        let figures: Vec<String> = found.figures.iter().map(|(what, count)| format!("{count} {what}")).collect();
        let verdict = if found.wrong.is_empty() { "clean" } else { "FAILED" };
        println!("{part:<16} {verdict:<7} {:>6.1} s  {}", took.as_secs_f64(), figures.join(", "));
        found.wrong.iter().take(SHOWN_MAX).for_each(|what| println!("    wrong: {what}"));
        if let Some(more) = found.wrong.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
            println!("    and {more} more");
        }
        found.open.iter().for_each(|what| println!("    open: {what}"));
        found.skipped.iter().for_each(|reason| println!("    skipped: {reason}"));
        self.seconds.insert(part, took.as_secs_f64());
        self.wrong += found.wrong.len();
        self.open.extend(found.open.iter().map(|what| format!("{part}: {what}")));
        self.skipped.extend(found.skipped.iter().map(|what| format!("{part}: {what}")));
        self.figures.extend(found.figures.iter().map(|(what, count)| ((*what).to_owned(), json!(count))));
        self.figures.extend(found.details.iter().map(|(what, value)| ((*what).to_owned(), value.clone())));
        self.figures.insert(format!("{part}_wrong"), json!(found.wrong.len()));
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.wrong == 0
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
        let total: f64 = self.seconds.values().sum();
        figures.insert("seconds_in_all".into(), json!(total));
        println!("{} wrong, {} open in {total:.0} s; {}", self.wrong, self.open.len(), path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))
    }
}
