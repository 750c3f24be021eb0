//! Disks that fail: each read, write, sync, truncation, opening and mapping of a short workload fails once, or from then
//! on until it is healed; agent and gateway go on, and what they promised is there.

use std::path::Path;

use vfs::{Dice, Failure, Watch, What};

use super::offers::scratch;
use super::powercut::in_threads;
use crate::rig::{Fault, Found, Plan, Size};

mod buffer;
mod process;
mod store;

/// Told of everything that is wrong.
type Blame<'b> = dyn FnMut(Fault, String) + 'b;
/// Works in a folder whose disk is about to fail, and judges what is left.
type Work = fn(&Path, u64, &Watch, &mut Blame<'_>) -> anyhow::Result<()>;

/// Who works on the failing disk.
const WORKS: [(&str, Work); 2] = [("the agent's buffer", buffer::work), ("the gateway's store", store::work)];
/// Attempts until something must have worked once the disk is well.
const ATTEMPTS_MAX: usize = 4;

/// One fault, and who meets it.
struct Case {
    name: &'static str,
    work: Work,
    failure: Failure,
}

/// Lets each operation fail, or a choice of them.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let mut cases = Vec::new();
    for (name, work) in WORKS {
        for what in What::ALL {
            let count = count(plan, work, what)?;
            let failure = |place: u64| Failure { what, after: place / 2, lasting: !place.is_multiple_of(2) };
            cases.extend((0..count * 2).map(|place| Case { name, work, failure: failure(place) }));
        }
    }
    let mut dice = Dice::new(plan.seed);
    for place in (1..cases.len()).rev() {
        cases.swap(place, dice.place(place + 1));
    }
    let wanted = plan.amount(60, 900, u64::MAX).min(cases.len() as u64);
    let found = in_threads(plan, wanted, |seed, found| {
        let place = usize::try_from(seed.wrapping_sub(plan.seed))?;
        cases.get(place).map_or(Ok(()), |case| strike(plan, case, found))
    });
    let mut found = found?;
    if plan.size != Size::Short {
        process::run(plan, &mut found)?;
    }
    Ok(found)
}

/// How many operations of a workload `what` could strike.
fn count(plan: &Plan, work: Work, what: What) -> anyhow::Result<u64> {
    let folder = scratch(&plan.folder)?;
    let watch = Watch::folder(folder.path())?;
    watch.fail(Failure { what, after: u64::MAX, lasting: true });
    let mut wrong = Vec::new();
    work(folder.path(), plan.seed, &watch, &mut |fault, what| wrong.push((fault, what)))?;
    anyhow::ensure!(wrong.is_empty(), "without any fault: {wrong:?}");
    Ok(watch.passed())
}

fn strike(plan: &Plan, case: &Case, found: &mut Found) -> anyhow::Result<()> {
    let Case { name, work, failure } = case;
    let folder = scratch(&plan.folder)?;
    let watch = Watch::folder(folder.path())?;
    watch.fail(*failure);
    let seed = plan.seed;
    work(folder.path(), seed, &watch, &mut |fault, what| {
        found.fault(fault, 1, || format!("{what}; {name} under {failure:?}, seed {seed}"));
    })?;
    if watch.struck() > 0 {
        found.did("io_faults", 1);
    }
    Ok(())
}

/// Does `act` as one who does not give up, and heals the disk when it first fails for good. None, and blame, if it still
/// fails then.
fn persist<T, E: std::fmt::Debug>(
    watch: &Watch,
    what: &str,
    blame: &mut Blame<'_>,
    mut act: impl FnMut() -> Result<T, E>,
) -> Option<T> {
    let mut last = None;
    for attempt in 0..=ATTEMPTS_MAX {
        if attempt == 2 {
            watch.heal();
        }
        match act() {
            Ok(done) => return Some(done),
            Err(error) => last = Some(error),
        }
    }
    blame(Fault::Lost, format!("{what} never works again: {last:?}"));
    None
}
