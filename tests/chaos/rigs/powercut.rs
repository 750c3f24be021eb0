//! The agent's buffer, cut off from power: a real buffer works under the recorder, and of every image that a cut could
//! leave, what it had accepted must be there.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use vfs::{Dice, Tape, Watch};

use self::workload::{Notebook, Workload};
use super::offers::{clear, scratch};
use crate::rig::{Fault, Found, Plan};

mod judge;
pub(super) mod seen;
mod workload;

/// Images of each workload: enough that recording it costs little beside them.
const IMAGES_A_WORKLOAD: u64 = 100;
/// As many as the machine has cores at the least.
const THREADS: u64 = 2;

/// Cuts the power of so many workloads as make up the images that are wanted.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let workloads = plan.amount(300, 9_000, 400_000) / IMAGES_A_WORKLOAD;
    in_threads(plan, workloads, |seed, found| {
        let work = scratch(&plan.folder)?;
        let (notebook, tape) = record(work.path(), seed).with_context(|| format!("workload {seed}"))?;
        let names = names(work.path())?;
        let images = scratch(&plan.folder)?;
        cut(&notebook, &tape, &names, images.path(), seed, found)
    })
}

/// Does `work` for seeds that follow on the plan's own, on a few threads.
pub(super) fn in_threads(
    plan: &Plan,
    count: u64,
    work: impl Fn(u64, &mut Found) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<Found> {
    let (next, all) = (AtomicU64::new(0), Mutex::new(Found::default()));
    let one = || -> anyhow::Result<()> {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= count {
                return Ok(());
            }
            let mut found = Found::default();
            work(plan.seed.wrapping_add(place), &mut found)?;
            all.lock().map_err(|_| anyhow::anyhow!("another thread panicked"))?.add(found);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(one)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the rig panicked"))))
    })?;
    all.into_inner().map_err(|_| anyhow::anyhow!("a thread panicked"))
}

/// Lets a workload run; answers what it was told, and what reached the disk when.
fn record(folder: &Path, seed: u64) -> anyhow::Result<(Notebook, Tape)> {
    let watch = Watch::folder(folder)?;
    let mut workload = Workload::start(folder, seed, &watch)?;
    workload.work()?;
    let notebook = workload.finish();
    Ok((notebook, watch.finish()))
}

/// The files that a buffer at work keeps beside its own.
fn names(folder: &Path) -> std::io::Result<BTreeSet<String>> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Makes images of `tape`, and judges each.
fn cut(
    notebook: &Notebook,
    tape: &Tape,
    names: &BTreeSet<String>,
    folder: &Path,
    seed: u64,
    found: &mut Found,
) -> anyhow::Result<()> {
    let mut dice = Dice::new(seed ^ 0x00C0_FFEE);
    let mut cuts: Vec<usize> = (0..IMAGES_A_WORKLOAD).map(|_| place(notebook, tape, &mut dice)).collect();
    cuts.sort_unstable();
    let mut replay = tape.replay();
    for cut in cuts {
        replay.advance(cut);
        clear(folder)?;
        let image_seed = dice.roll();
        replay.image(image_seed).write(folder)?;
        found.did("powercut_images", 1);
        let said = |what: &str| format!("{what}; workload {seed}, cut after operation {cut}, image {image_seed}");
        let mut blame = |fault: Fault, what: String| found.fault(fault, 1, || said(&what));
        judge::image(notebook, cut, folder, names, &mut blame)?;
    }
    Ok(())
}

/// Anywhere, or right after a call returned, which is where a promise is youngest.
fn place(notebook: &Notebook, tape: &Tape, dice: &mut Dice) -> usize {
    let notes = notebook.notes();
    if dice.chance(50) && !notes.is_empty() { notes[dice.place(notes.len())].end } else { dice.place(tape.mark() + 1) }
}
