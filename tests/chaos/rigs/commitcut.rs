//! The gateway's store, cut off from power: the real pipeline records under the recorder, and of every image that a cut
//! could leave, what receipts and PUBACKs had said until then must be in it.

use anyhow::Context;
use vfs::Dice;

use self::feed::Feed;
use super::offers::{clear, scratch};
use super::powercut::in_threads;
use crate::rig::{Fault, Found, Plan};

mod ears;
pub(super) mod feed;
pub(super) mod image;
pub(super) mod judge;

/// Images of each run of the pipeline.
const IMAGES_A_RUN: u64 = 50;

/// Cuts the power of so many runs as make up the images that are wanted.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let runs = plan.amount(100, 2_500, 100_000) / IMAGES_A_RUN;
    in_threads(plan, runs, |seed, found| {
        let work = scratch(&plan.folder)?;
        let feed = Feed::record(work.path(), seed).with_context(|| format!("run {seed}"))?;
        let images = scratch(&plan.folder)?;
        cut(&feed, images.path(), seed, found)
    })
}

/// Makes images of what was recorded, and judges each.
fn cut(feed: &Feed, folder: &std::path::Path, seed: u64, found: &mut Found) -> anyhow::Result<()> {
    let mut dice = Dice::new(seed ^ 0x00C0_FFEE);
    // Anywhere, or right when something was said, which is where a promise is youngest.
    let mut place = |_| match feed.heard.get(dice.place(feed.heard.len())) {
        Some(heard) if dice.chance(60) => heard.mark,
        _ => dice.place(feed.tape.mark() + 1),
    };
    let mut cuts: Vec<usize> = (0..IMAGES_A_RUN).map(&mut place).collect();
    cuts.sort_unstable();
    let mut replay = feed.tape.replay();
    for cut in cuts {
        replay.advance(cut);
        clear(folder)?;
        let image_seed = dice.roll();
        replay.image(image_seed).write(folder)?;
        found.did("powercut_images", 1);
        let said = |what: &str| format!("{what}; run {seed}, cut after operation {cut}, image {image_seed}");
        let mut blame = |fault: Fault, what: String| found.fault(fault, 1, || said(&what));
        judge::image(feed, cut, folder, &mut blame)?;
    }
    Ok(())
}
