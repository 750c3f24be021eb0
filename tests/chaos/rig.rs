//! What a rig is given, and what it finds.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// How much a rig does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// A commit's worth: seconds.
    Short,
    /// What is promised: minutes, all rigs together at most fifteen.
    Full,
    /// A night's.
    Long,
}

/// What a rig is given.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Where all that is random in it comes from.
    pub(crate) seed: u64,
    /// How much to do.
    pub(crate) size: Size,
    /// An empty folder of its own.
    pub(crate) folder: PathBuf,
}

impl Plan {
    /// The amount for the size at hand.
    pub(crate) fn amount(&self, short: u64, full: u64, long: u64) -> u64 {
        match self.size {
            Size::Short => short,
            Size::Full => full,
            Size::Long => long,
        }
    }
}

/// What went wrong with readings, or with what was said of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Accepted, and neither stored nor in a gap with a reason; or a backlog that never ends.
    Lost,
    /// Stored more than once.
    Doubled,
    /// Stored and never offered.
    Phantom,
    /// Stored otherwise than it was offered.
    Mutated,
    /// A gap or an alarm for what was not lost, or a loss without one.
    WrongGap,
    /// A receipt said more than was stored.
    EarlyReceipt,
    /// A device lost its connection, and neither it nor the link nor the gateway had failed.
    SentAway,
    /// A bug that was switched on, and no rig noticed.
    BugMissed,
}

impl Fault {
    pub(crate) const ALL: [Self; 8] = [
        Self::Lost,
        Self::Doubled,
        Self::Phantom,
        Self::Mutated,
        Self::WrongGap,
        Self::EarlyReceipt,
        Self::SentAway,
        Self::BugMissed,
    ];

    /// Its name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Doubled => "doubled",
            Self::Phantom => "phantom",
            Self::Mutated => "mutated",
            Self::WrongGap => "wrong_gap_reports",
            Self::EarlyReceipt => "receipts_above_stored",
            Self::SentAway => "sent_away",
            Self::BugMissed => "seeded_bugs_missed",
        }
    }
}

/// What a rig did, and what it found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// What it did, by the names of the report: `kills`, `cut_points` …
    pub(crate) did: BTreeMap<&'static str, u64>,
    /// What it found wrong.
    faults: BTreeMap<Fault, u64>,
    /// The first few of them, in words, with what repeats them.
    pub(crate) examples: Vec<String>,
    /// What could not be run here, and why.
    pub(crate) skipped: Vec<String>,
    /// Why this size has none of it.
    pub(crate) left_out: Option<&'static str>,
}

impl Found {
    /// So many of `what` were done.
    pub(crate) fn did(&mut self, what: &'static str, count: u64) {
        *self.did.entry(what).or_default() += count;
    }

    /// `count` readings have `fault`; `example` names one, and how to see it again.
    pub(crate) fn fault(&mut self, fault: Fault, count: u64, example: impl FnOnce() -> String) {
        if count > 0 {
            *self.faults.entry(fault).or_default() += count;
            if self.examples.len() < 5 {
                self.examples.push(format!("{}: {}", fault.name(), example()));
            }
        }
    }

    /// This part could not be run here.
    pub(crate) fn skip(&mut self, what: &str, reason: &str) {
        self.skipped.push(format!("{what}: {reason}"));
    }

    /// A rig that this size has no time for.
    pub(crate) fn left_out(why: &'static str) -> Self {
        Self { left_out: Some(why), ..Self::default() }
    }

    /// What is to be said of it in a word: what was not run was not shown.
    pub(crate) fn verdict(&self) -> &'static str {
        if !self.is_clean() {
            "FAILED"
        } else if self.left_out.is_some() {
            "not run"
        } else if !self.skipped.is_empty() {
            "SKIPPED"
        } else {
            "clean"
        }
    }

    /// How many have `fault`.
    pub(crate) fn count(&self, fault: Fault) -> u64 {
        self.faults.get(&fault).copied().unwrap_or(0)
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// Takes in what a part of the rig found.
    pub(crate) fn add(&mut self, part: Self) {
        for (what, count) in part.did {
            *self.did.entry(what).or_default() += count;
        }
        for (fault, count) in part.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.examples.extend(part.examples);
        self.examples.truncate(5);
        self.skipped.extend(part.skipped);
    }
}

/// A rig.
pub(crate) type Rig = fn(&Plan) -> anyhow::Result<Found>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_run_is_not_clean_and_a_fault_outweighs_it() {
        let (mut skipped, mut found) = (Found::default(), Found::left_out("it takes too long"));
        assert_eq!((skipped.verdict(), found.verdict()), ("clean", "not run"));
        skipped.skip("powercut_images", "no kernel");
        found.fault(Fault::Lost, 1, || "one".to_owned());
        assert_eq!((skipped.verdict(), found.verdict()), ("SKIPPED", "FAILED"));
    }
}
