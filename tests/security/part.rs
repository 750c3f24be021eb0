//! What a part is given, and what it finds.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a part is given.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Where all that is random in it comes from.
    pub(crate) seed: u64,
    /// Whether a commit's worth is enough.
    pub(crate) short: bool,
    /// An empty folder of its own.
    pub(crate) folder: PathBuf,
}

impl Plan {
    /// The amount for the size at hand.
    pub(crate) fn amount(&self, short: usize, full: usize) -> usize {
        if self.short { short } else { full }
    }
}

/// What a part did, and what it found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// By the names of the report.
    pub(crate) figures: BTreeMap<&'static str, u64>,
    /// Answers that were not the ones due, in words.
    pub(crate) wrong: Vec<String>,
    /// Answers that are known not to be what they should be: counted apart, never as passed.
    pub(crate) open: Vec<String>,
    /// What could not be run here, and why.
    pub(crate) skipped: Vec<String>,
    /// What people are told beside the figures, a line each.
    pub(crate) said: Vec<String>,
    /// What else the report is to hold, by name.
    pub(crate) details: BTreeMap<&'static str, serde_json::Value>,
}

impl Found {
    /// So many more of `what`.
    pub(crate) fn count(&mut self, what: &'static str, count: usize) {
        *self.figures.entry(what).or_default() += count as u64;
    }

    /// `what` is `value`.
    pub(crate) fn measured(&mut self, what: &'static str, value: u64) {
        self.figures.insert(what, value);
    }

    /// One answer was wrong.
    pub(crate) fn wrong(&mut self, what: impl Into<String>) {
        self.wrong.push(what.into());
    }

    /// Wrong unless `holds`.
    pub(crate) fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(what());
        }
    }
}

/// A part.
pub(crate) type Part = fn(&Plan) -> anyhow::Result<Found>;
