//! What the judge found.

use std::fmt;

/// What the judge found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruling {
    /// Offered and stored, as it was offered.
    pub matched: u64,
    /// Accepted, not stored, and named by no gap.
    pub lost: u64,
    /// Accepted, not stored, and within what gaps name.
    pub named: u64,
    /// Stored more than once.
    pub doubled: u64,
    /// Stored and never offered.
    pub phantom: u64,
    /// Stored with another time or another value, or out of order.
    pub mutated: u64,
    /// Gaps that name what was not lost.
    pub wrong_gap: u64,
    /// Batches that a receipt or the ledger calls stored, and that are not.
    pub early_receipt: u64,
    /// The first few of what is wrong.
    pub examples: Vec<String>,
}

impl Ruling {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let Self { lost, doubled, phantom, mutated, wrong_gap, early_receipt, .. } = self;
        [lost, doubled, phantom, mutated, wrong_gap, early_receipt].iter().all(|count| **count == 0)
    }

    /// Takes in what was found of another device.
    pub fn add(&mut self, other: Self) {
        self.matched += other.matched;
        self.lost += other.lost;
        self.named += other.named;
        self.doubled += other.doubled;
        self.phantom += other.phantom;
        self.mutated += other.mutated;
        self.wrong_gap += other.wrong_gap;
        self.early_receipt += other.early_receipt;
        self.examples.extend(other.examples);
        self.examples.truncate(8);
    }

    pub(super) fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < 8 {
            self.examples.push(text());
        }
    }
}

impl fmt::Display for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { matched, lost, named, doubled, phantom, mutated, wrong_gap, early_receipt, examples } = self;
        write!(
            f,
            "{matched} matched, {lost} lost, {named} lost and named, {doubled} doubled, {phantom} never offered, "
        )?;
        write!(f, "{mutated} changed, {wrong_gap} wrong gaps, {early_receipt} early receipts")?;
        examples.iter().try_for_each(|example| write!(f, "; {example}"))
    }
}
