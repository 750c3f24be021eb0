//! The ledger of what was offered, held against what is stored. It shares no code with agent or gateway: it writes down
//! what it offers itself, and reads both databases with SQL of its own.
//!
//! Each reading has a value of its own within its series, so that a reading with another time or another value is told
//! from one that was lost and one that was made up.

use std::collections::{BTreeMap, HashMap, HashSet};

mod holdings;
mod ledger;
mod receipts;
mod ruling;
mod server;
#[cfg(test)]
mod tests;

pub use holdings::Holdings;
pub use ledger::{GapRow, Ledger, StoredRow};
pub use receipts::{early_receipts, unsettled};
pub use ruling::Ruling;

/// A batch's place: its epoch, and its number there.
pub type Place = ([u8; 8], i64);

/// Stored readings of one series and epoch: the number each came in, and which offer it is.
type Sequence = Vec<(i64, usize)>;

/// A reading that was offered.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The series' name.
    pub series: &'static str,
    /// Its time.
    pub when: When,
    /// Its value, which no other reading of the series has.
    pub value: f64,
    /// Whether the agent has accepted it. One that was on the wire when the agent died may be stored once or not at all.
    pub sure: bool,
}

/// When a reading was taken, as far as it can be known from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Just then: microseconds since the Unix epoch.
    At(i64),
    /// Stamped by the device: microseconds since the Unix epoch, and how far off it may be.
    Around {
        /// When it was sent.
        us: i64,
        /// How far off it may be.
        within_us: i64,
    },
}

impl When {
    fn fits(self, time_us: i64) -> bool {
        match self {
            Self::At(us) => us == time_us,
            Self::Around { us, within_us } => us.abs_diff(time_us) <= within_us.unsigned_abs(),
        }
    }
}

/// What a rig brings about on purpose, so that it is no fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// Numbers that nothing explains: a database was restored.
    pub unexplained: bool,
    /// Readings of several epochs between one another: several agents send as one device.
    pub interleaved: bool,
}

/// Holds `ledger` and `holdings` against `offers`, once no agent runs and nothing is on its way any more.
#[must_use]
pub fn judge(offers: &[Offer], ledger: &Ledger, holdings: Option<&Holdings>, allowed: Allowed) -> Ruling {
    let mut ruling = Ruling::default();
    let found = match_readings(offers, ledger, &mut ruling);
    judge_order(&found, ledger, allowed, &mut ruling);
    judge_losses(offers, &found, ledger, allowed, &mut ruling);
    for place in receipts::hollow(ledger, holdings) {
        ruling.early_receipt += 1;
        ruling.example(|| format!("batch {} is called stored, and its readings are not there", place.1));
    }
    if let Some(holdings) = holdings {
        let early = early_receipts(holdings, ledger);
        ruling.early_receipt += early.len() as u64;
        early
            .iter()
            .for_each(|place| ruling.example(|| format!("the agent was told that batch {} is settled", place.1)));
    }
    ruling
}

/// Which offers are stored, by their place among the offers, with the stored row of each copy.
struct Match {
    copies: Vec<u64>,
    /// For each stored row, the offer that it is.
    offer_of: Vec<Option<usize>>,
}

fn match_readings(offers: &[Offer], ledger: &Ledger, ruling: &mut Ruling) -> Match {
    let by_value: HashMap<(&str, u64), usize> =
        offers.iter().enumerate().map(|(index, offer)| ((offer.series, offer.value.to_bits()), index)).collect();
    assert_eq!(by_value.len(), offers.len(), "each reading is offered with a value of its own");
    let mut found = Match { copies: vec![0; offers.len()], offer_of: vec![None; ledger.readings.len()] };
    let mut strange = Vec::new();
    for (row, stored) in ledger.readings.iter().enumerate() {
        let Some(&index) = by_value.get(&(stored.series.as_str(), stored.bits)) else {
            strange.push(stored);
            continue;
        };
        found.offer_of[row] = Some(index);
        found.copies[index] += 1;
        if found.copies[index] > 1 {
            ruling.doubled += 1;
            ruling.example(|| format!("doubled: {stored}"));
        } else if offers[index].when.fits(stored.time_us) {
            ruling.matched += 1;
        } else {
            ruling.mutated += 1;
            ruling.example(|| format!("at another time than {:?}: {stored}", offers[index].when));
        }
    }
    // A value that nobody offered, at an instant whose reading is missing, is that reading with another value.
    for stored in strange {
        let same = |(index, offer): &(usize, &Offer)| {
            found.copies[*index] == 0 && offer.series == stored.series && offer.when == When::At(stored.time_us)
        };
        let changed = offers.iter().enumerate().find(same).map(|(index, _)| index);
        match changed {
            Some(index) => {
                found.copies[index] = 1;
                ruling.mutated += 1;
                ruling.example(|| format!("with another value than {}: {stored}", offers[index].value));
            }
            None => {
                ruling.phantom += 1;
                ruling.example(|| format!("never offered: {stored}"));
            }
        }
    }
    found
}

/// Within a series, readings stand in the order in which they were offered: by number within an epoch, and no epoch's
/// readings between those of another.
fn judge_order(found: &Match, ledger: &Ledger, allowed: Allowed, ruling: &mut Ruling) {
    let mut by_epoch: BTreeMap<(&str, [u8; 8]), Sequence> = BTreeMap::new();
    for (row, stored) in ledger.readings.iter().enumerate() {
        if let (Some((epoch, number)), Some(index)) = (stored.place, found.offer_of[row]) {
            by_epoch.entry((&stored.series, epoch)).or_default().push((number, index));
        }
    }
    let mut spans: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
    for ((series, _), mut rows) in by_epoch {
        rows.sort_by_key(|(number, _)| *number); // stable: within a batch, rows stand as they were stored
        let turned = rows.windows(2).filter(|pair| pair[0].1 > pair[1].1).count() as u64;
        ruling.mutated += turned;
        if turned > 0 {
            ruling.example(|| format!("out of order within an epoch: {turned} times in {series}"));
        }
        let places = rows.iter().map(|(_, index)| *index);
        spans.entry(series).or_default().push((places.clone().min().unwrap_or(0), places.max().unwrap_or(0)));
    }
    for (series, mut spans) in spans {
        spans.sort_unstable();
        let overlaps = spans.windows(2).filter(|pair| pair[0].1 >= pair[1].0).count() as u64;
        // What was doubled over epochs is counted as that already.
        if overlaps > 0 && !allowed.interleaved && ruling.doubled == 0 {
            ruling.mutated += overlaps;
            ruling.example(|| format!("out of order between epochs: {overlaps} times in {series}"));
        }
    }
}

/// Holds gaps against what is not stored.
fn judge_losses(offers: &[Offer], found: &Match, ledger: &Ledger, allowed: Allowed, ruling: &mut Ruling) {
    let missing = |sure: bool| {
        let is_missing = |(index, offer): &(usize, &Offer)| found.copies[*index] == 0 && offer.sure == sure;
        offers.iter().enumerate().filter(is_missing).map(|(_, offer)| offer).collect::<Vec<_>>()
    };
    let (gone, perhaps) = (missing(true), missing(false).len() as u64);
    let counted: u64 = ledger.gaps.iter().filter_map(|gap| gap.readings).sum();
    let uncounted = ledger.gaps.iter().any(|gap| gap.readings.is_none());
    let lost = gone.len() as u64;
    let unnamed = if uncounted { 0 } else { lost.saturating_sub(counted) };
    ruling.lost += unnamed;
    ruling.named += lost - unnamed;
    if let Some(first) = gone.first().filter(|_| unnamed > 0) {
        ruling.example(|| {
            format!("lost, {unnamed} of {lost} in no gap: {} {:?} {}", first.series, first.when, first.value)
        });
    }
    let too_many = counted.saturating_sub(lost + perhaps);
    if too_many > 0 {
        ruling.wrong_gap += too_many;
        ruling.example(|| format!("gaps count {counted} readings, and {lost} are lost: {:?}", ledger.gaps[0]));
    }
    let stored: HashSet<Place> = ledger.readings.iter().filter_map(|row| row.place).collect();
    let names_stored = |gap: &&GapRow| {
        let Some((epoch, first, last)) = gap.numbers else { return false };
        stored.iter().any(|(of, number)| *of == epoch && (first..=last).contains(number))
    };
    let names_nothing_lost = |gap: &&GapRow| lost + perhaps == 0 && gap.readings.is_none();
    for gap in &ledger.gaps {
        let unexplained = gap.reason == "unexplained";
        let wrong = names_stored(&gap) || !allowed.unexplained && (unexplained || names_nothing_lost(&gap));
        if wrong {
            ruling.wrong_gap += 1;
            ruling.example(|| format!("a gap that is wrong: {gap:?}"));
        }
    }
}
