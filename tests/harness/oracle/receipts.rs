//! What receipts said, held against what the gateway's database says.

use std::collections::HashMap;

use super::{Holdings, Ledger, Place};

/// Numbers that the agent was told are settled, and that the gateway's database does not call so. `holdings` is to be
/// read before `ledger`, which only grows.
#[must_use]
pub fn early_receipts(holdings: &Holdings, ledger: &Ledger) -> Vec<Place> {
    holdings.covered.iter().flat_map(|(epoch, first, last)| open_numbers(ledger, *epoch, *first, *last)).collect()
}

/// Numbers that the agent has given and that the gateway has not settled: what is still to come.
#[must_use]
pub fn unsettled(holdings: &Holdings, ledger: &Ledger) -> Vec<Place> {
    holdings.epochs.iter().flat_map(|(epoch, last)| open_numbers(ledger, *epoch, 1, *last)).collect()
}

/// Batches that the ledger calls stored, and that have fewer readings than agent or ledger say.
pub(super) fn hollow(ledger: &Ledger, holdings: Option<&Holdings>) -> Vec<Place> {
    let mut found: HashMap<Place, u64> = HashMap::new();
    ledger.readings.iter().filter_map(|row| row.place).for_each(|place| *found.entry(place).or_default() += 1);
    let held = holdings.into_iter().flat_map(|holdings| &holdings.batches);
    let is_hollow = |(place, readings): &(&Place, &u64)| {
        ledger.state_of(**place) == Some(0) && found.get(*place).copied().unwrap_or(0) < **readings
    };
    let mut hollow: Vec<Place> = ledger.batches.iter().chain(held).filter(is_hollow).map(|(place, _)| *place).collect();
    hollow.sort_unstable();
    hollow.dedup();
    hollow
}

/// Numbers from `first` to `last` that no settled range has.
fn open_numbers(ledger: &Ledger, epoch: [u8; 8], first: i64, last: i64) -> Vec<Place> {
    let mut ranges: Vec<(i64, i64)> =
        ledger.settled.get(&epoch).into_iter().flatten().map(|(_, first, last)| (*first, *last)).collect();
    ranges.sort_unstable();
    let (mut open, mut next) = (Vec::new(), first);
    for (from, to) in ranges {
        open.extend((next..=last.min(from - 1)).map(|number| (epoch, number)));
        next = next.max(to + 1);
    }
    open.extend((next..=last).map(|number| (epoch, number)));
    open
}
