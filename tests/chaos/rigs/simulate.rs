//! Whole worlds in invented time: the agent's real session and buffer, the gateway's real judge, store and receipts, and
//! between them a network, clocks and an operator that mean no good. All of it follows from one number, the seed.
//!
//! A world has a hostile time and then a quiet one. In the quiet one every backlog must reach zero within a stated time;
//! then an oracle, which knows nothing but what was accepted, holds the gateway's database against it.
//!
//! To see one seed again: `SIMULATE_SEEDS=1 SIMULATE_LOG=1 target/debug/tributary-chaos --only simulate --seed N`. The
//! first seed of a run is the run's own, so that N alone says everything; the log is what happened, line by line.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;

use crate::rig::{Found, Plan};

mod bodies;
mod cloud;
mod device;
mod faults;
mod links;
mod log;
mod network;
mod oracle;
mod quiet;
mod random;
mod shell;
mod sources;
#[cfg(test)]
mod tests;
mod world;

/// Worlds at once: one for each core that there surely is.
const WORKERS: usize = 2;
/// Worlds that must fail before no more are tried: the first few say enough.
const FAILING_MAX: u64 = 3;
/// Of six worlds, how many have buffers that must evict.
const EVICTIONS_IN_SIX: u64 = 1;
/// Where databases cost no disk. The rigs that cut the power are others.
const MEMORY: &str = "/dev/shm";

/// Runs as many worlds as the plan wants.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let seeds = number_from("SIMULATE_SEEDS").unwrap_or_else(|| plan.amount(60, 2_000, 40_000));
    let text = number_from("SIMULATE_LOG").is_some();
    let (next, failing) = (AtomicU64::new(0), AtomicU64::new(0));
    let place = place(&plan.folder)?;
    let work = |worker: usize| {
        let mut found = Found::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= seeds || failing.load(Ordering::Relaxed) >= FAILING_MAX {
                return Ok(found);
            }
            let seed = plan.seed.wrapping_add(index);
            let folder = place.path().join(format!("world-{worker}"));
            let lived = live(seed, &folder, text).with_context(|| format!("seed {seed}"))?;
            failing.fetch_add(u64::from(!lived.found.is_clean()), Ordering::Relaxed);
            found.add(lived.found);
        }
    };
    let found = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
        let ended = workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow::anyhow!("a world panicked"))?);
        ended.collect::<anyhow::Result<Vec<Found>>>()
    })?;
    let mut sum = Found::default();
    found.into_iter().for_each(|part| sum.add(part));
    Ok(sum)
}

/// What became of one world.
struct Lived {
    found: Found,
    /// Of everything that happened, in order: the same seed gives the same.
    #[cfg_attr(not(test), allow(dead_code, reason = "for the test of determinism"))]
    hash: u64,
}

/// One world from its beginning to its judgement, in a folder of its own.
fn live(seed: u64, folder: &Path, text: bool) -> anyhow::Result<Lived> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    let mut world = world::World::begin(seed, folder, text)?;
    let found = world.live()?;
    Ok(Lived { found, hash: world.log.hash() })
}

fn place(fallback: &Path) -> anyhow::Result<tempfile::TempDir> {
    let base = if Path::new(MEMORY).is_dir() { PathBuf::from(MEMORY) } else { fallback.into() };
    tempfile::Builder::new().prefix("simulate-").tempdir_in(base).context("make a folder for the worlds")
}

/// A number that a person gave to look closer.
fn number_from(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
