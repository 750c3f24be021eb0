//! From what the judge says to what a rig reports.

use harness::oracle::Ruling;

use crate::rig::{Fault, Found};

impl Found {
    /// Takes in what the judge found; `case` says where.
    pub(crate) fn rule(&mut self, case: &str, ruling: &Ruling) {
        let faults = [
            (Fault::Lost, ruling.lost),
            (Fault::Doubled, ruling.doubled),
            (Fault::Phantom, ruling.phantom),
            (Fault::Mutated, ruling.mutated),
            (Fault::WrongGap, ruling.wrong_gap),
            (Fault::EarlyReceipt, ruling.early_receipt),
        ];
        for (fault, count) in faults {
            self.fault(fault, count, || format!("{case}: {ruling}"));
        }
    }
}
