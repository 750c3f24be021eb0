//! Holds what a damaged buffer hands out, and what it calls lost, against what it had accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use agent::buffer::{Append, Buffer, BufferError};
use proto::Range;
use proto::message::GapReason;
use vfs::Dice;

use super::Damage;
use super::base::Base;
use crate::rig::Fault;
use crate::rigs::offers::{Offers, open};

/// Told of everything that is wrong.
type Blame<'b> = dyn FnMut(Fault, u64, String) + 'b;
/// Epoch and number.
type Identity = (Vec<u8>, u64);

const BYTES_MAX: u64 = 64 << 20;
/// How often the buffer is walked: what is found damaged on the way may be noted on the way.
const WALKS: usize = 3;
const GAPS_MAX: usize = 100_000;

/// Opens the files in `folder` as the agent does, and judges what it makes of them.
pub(super) fn image(
    base: &Base,
    mark: usize,
    damage: Option<&Damage>,
    folder: &Path,
    blame: &mut Blame<'_>,
) -> anyhow::Result<()> {
    let mut buffer = match open(folder, BYTES_MAX) {
        Ok(buffer) => buffer,
        Err(error) => {
            blame(Fault::Lost, 1, format!("the agent does not start on it: {error:?}"));
            return Ok(());
        }
    };
    let new = Offers::new().batch(&mut Dice::new(7), 20)?;
    if let Err(error) = buffer.append(&Append { batches: vec![new.clone()], ..Append::default() }) {
        blame(Fault::Lost, 1, format!("nothing can be appended any more: {error:?}"));
    }
    let mut there = BTreeMap::new();
    let mut failed = None;
    for _ in 0..WALKS {
        failed = walk(&mut buffer, &mut there).err();
    }
    let accepted: BTreeMap<Identity, (usize, &[u8])> = base
        .accepted
        .iter()
        .enumerate()
        .filter(|(_, batch)| batch.end <= mark)
        .map(|(place, batch)| ((batch.epoch.clone(), batch.number), (place, batch.body.as_slice())))
        .collect();
    for (identity, body) in &there {
        match accepted.get(identity) {
            Some((_, offered)) if offered == body => {}
            Some(_) => blame(Fault::Mutated, 1, format!("{identity:?} is handed out otherwise than it was accepted")),
            None if *body == new.sealed.body => {}
            None if accepted.values().any(|(_, offered)| offered == body) => {
                blame(Fault::Doubled, 1, format!("{identity:?} has the bytes of another batch"));
            }
            None => blame(Fault::Phantom, 1, format!("{identity:?} was never accepted")),
        }
    }
    if !there.values().any(|body| *body == new.sealed.body) {
        blame(Fault::Lost, 1, "what is appended after the damage is not handed out".to_owned());
    }
    let reported = match Reported::by(&mut buffer, &accepted) {
        Ok(reported) => reported,
        Err(error) => {
            blame(Fault::Lost, 1, format!("its gaps can no longer be read: {error:?}"));
            return Ok(());
        }
    };
    let unknowable = damage.map(|damage| unknowable(base, mark, damage)).unwrap_or_default();
    let missing = accepted.iter().filter(|(identity, (place, _))| {
        !there.contains_key(*identity)
            && !base.marked.contains(place)
            && !unknowable.contains(place)
            && !reported.names(identity)
    });
    let missing: Vec<&Identity> = missing.map(|(identity, _)| identity).collect();
    if let Some((_, number)) = missing.first() {
        let count = missing.len() as u64;
        let failed = failed.map(|error| format!(" ({error})")).unwrap_or_default();
        blame(
            Fault::Lost,
            count,
            format!("{count} batches, from number {number} on, are gone, and no gap says so{failed}"),
        );
    }
    Ok(())
}

/// Takes out all that is held, row by row, as it would be sent. What is damaged may be noted on the way.
fn walk(buffer: &mut Buffer, there: &mut BTreeMap<Identity, Vec<u8>>) -> Result<(), BufferError> {
    let mut failed = Ok(());
    for row in buffer.contents()?.held.iter().flat_map(|range| range.first..=range.last) {
        match buffer.peek(Range::one(row), false, usize::MAX) {
            Ok(Some(parcel)) => {
                let header = parcel.frame.header;
                for (number, sealed) in (header.first..).zip(parcel.frame.bodies) {
                    there.insert((header.epoch.0.to_vec(), number), sealed.body);
                }
            }
            Ok(None) => {}
            Err(error) => failed = Err(error),
        }
    }
    failed
}

/// What the buffer says is lost.
struct Reported {
    numbers: BTreeSet<Identity>,
    /// A loss that it could not name by number.
    some: bool,
}

impl Reported {
    fn by(buffer: &mut Buffer, accepted: &BTreeMap<Identity, (usize, &[u8])>) -> Result<Self, BufferError> {
        let all = Range { first: 1, last: u64::MAX };
        let mut reported = Self { numbers: BTreeSet::new(), some: false };
        for gap in buffer.gaps(all, GAPS_MAX)? {
            let known = gap.epoch.filter(|epoch| accepted.keys().any(|(known, _)| *known == epoch.0));
            match (known, gap.range) {
                (Some(epoch), Some(range)) => {
                    let last = range.last.min(range.first + GAPS_MAX as u64);
                    reported.numbers.extend((range.first..=last).map(|number| (epoch.0.to_vec(), number)));
                }
                _ => reported.some |= gap.reason == GapReason::Damaged,
            }
        }
        Ok(reported)
    }

    fn names(&self, identity: &Identity) -> bool {
        self.some || self.numbers.contains(identity)
    }
}

/// Batches that nothing in the files speaks of any more.
fn unknowable(base: &Base, mark: usize, damage: &Damage) -> BTreeSet<usize> {
    let mut unknowable = BTreeSet::new();
    if let Some(length) = damage.wal_cut {
        unknowable.extend(base.behind(mark, length).0);
    }
    if let Some(offset) = damage.wal_changed {
        let (behind, commits) = base.behind(mark, offset);
        // The last commit is torn by a power cut just so. Of one before it, those that follow still speak.
        if commits < 2 {
            unknowable.extend(behind);
        }
    }
    unknowable
}
