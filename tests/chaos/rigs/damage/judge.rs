//! Holds what a damaged buffer hands out, and what it calls lost, against what it had accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use agent::buffer::{Append, Buffer, BufferError};
use proto::message::GapReason;
use proto::{Clock, Quality, Range};
use vfs::Dice;

use super::Damage;
use super::base::{Accepted, Base};
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
    let unknowable = damage.map(|damage| unknowable(base, mark, damage)).unwrap_or_default();
    // Before anything new takes a row.
    if let Err(error) = standing(base, mark, &unknowable, &mut buffer, blame) {
        blame(Fault::Lost, 1, format!("what it holds cannot be read: {error:?}"));
    }
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
    for (identity, (body, clock)) in &there {
        let (body, clock) = (body, *clock);
        match accepted.get(identity) {
            Some((place, offered)) if offered == body => {
                let known = base.accepted[*place].clock;
                // A time that is not known is none that is wrong.
                let unset = clock.boot == known.boot && clock.quality == Quality::Unset;
                if clock != known && !unset {
                    blame(Fault::Mutated, 1, format!("{identity:?} is of {known:?}, and said to be of {clock:?}"));
                }
            }
            Some(_) => blame(Fault::Mutated, 1, format!("{identity:?} is handed out otherwise than it was accepted")),
            None if *body == new.sealed.body => {}
            None if accepted.values().any(|(_, offered)| offered == body) => {
                blame(Fault::Doubled, 1, format!("{identity:?} has the bytes of another batch"));
            }
            None => blame(Fault::Phantom, 1, format!("{identity:?} was never accepted")),
        }
    }
    if !there.values().any(|(body, _)| *body == new.sealed.body) {
        blame(Fault::Lost, 1, "what is appended after the damage is not handed out".to_owned());
    }
    let reported = match Reported::by(&mut buffer, &accepted) {
        Ok(reported) => reported,
        Err(error) => {
            blame(Fault::Lost, 1, format!("its gaps can no longer be read: {error:?}"));
            return Ok(());
        }
    };
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

/// What the buffer says beside its batches: what receipts cover, and where the source resumes.
fn standing(
    base: &Base,
    mark: usize,
    unknowable: &BTreeSet<usize>,
    buffer: &mut Buffer,
    blame: &mut Blame<'_>,
) -> Result<(), BufferError> {
    let contents = buffer.contents()?;
    let marked: BTreeSet<u64> = base.marked.iter().map(|place| base.accepted[*place].row).collect();
    for row in contents.settled.iter().flat_map(|range| range.first..=range.last.min(range.first + GAPS_MAX as u64)) {
        if !marked.contains(&row) {
            blame(Fault::Lost, 1, format!("row {row} may leave, and no receipt covers it"));
        }
    }
    let cursor = buffer.cursors()?.remove("meter");
    if cursor.is_none() {
        let mut known = base.accepted.iter().enumerate().filter(|(_, batch)| batch.end <= mark);
        let begun = known.any(|(place, _)| !unknowable.contains(&place));
        if begun && buffer.lost_cursors(&["meter"])?.is_empty() {
            blame(Fault::Doubled, 1, "the source begins anew, and nothing says that it had begun".to_owned());
        }
        return Ok(());
    }
    // It may stand before batches that are gone, which the judge asks for elsewhere, and never before one that is there.
    let known: Vec<&Accepted> = base.accepted.iter().filter(|batch| batch.end <= mark).collect();
    let at = known.iter().rposition(|batch| Some(&batch.cursor) == cursor.as_ref());
    let newest = known.iter().rposition(|batch| contents.held.contains(batch.row));
    match (at, newest) {
        (None, _) => blame(Fault::Mutated, 1, format!("the source resumes at {cursor:?}, where it never was")),
        (Some(at), Some(newest)) if at < newest => {
            let count = (newest - at) as u64;
            blame(Fault::Doubled, count, format!("the source resumes {count} batches before the newest that is there"));
        }
        _ => {}
    }
    Ok(())
}

/// Takes out all that is held, row by row, as it would be sent. What is damaged may be noted on the way.
fn walk(buffer: &mut Buffer, there: &mut BTreeMap<Identity, (Vec<u8>, Clock)>) -> Result<(), BufferError> {
    let mut failed = Ok(());
    for row in buffer.contents()?.held.iter().flat_map(|range| range.first..=range.last) {
        match buffer.peek(Range::one(row), false, usize::MAX) {
            Ok(Some(parcel)) => {
                let header = parcel.frame.header;
                for (number, sealed) in (header.first..).zip(parcel.frame.bodies) {
                    there.insert((header.epoch.0.to_vec(), number), (sealed.body, header.clock));
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
