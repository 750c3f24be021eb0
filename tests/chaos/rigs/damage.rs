//! A buffer's file that rots: bits flip, pages turn to something else, ends are cut off. What can still be read is there
//! as it was accepted, what cannot is named as a gap, and capture goes on.
//!
//! One thing cannot be known from the files: a WAL cut off at its end, or damaged in its very last commit, looks just like
//! one whose last commits never were. Rows that were nowhere else are not asked for then.

use std::path::Path;

use anyhow::Context;
use vfs::{Dice, Image};

use self::base::Base;
use super::offers::{clear, scratch};
use super::powercut::in_threads;
use crate::rig::{Fault, Found, Plan};

mod base;
mod judge;

/// Damages of each buffer.
const DAMAGES_A_BASE: u64 = 15;
/// The page size of the buffer's file.
const PAGE: usize = 4_096;

/// Where the head of the file says which version made it. A higher one may be a newer program's, whose file the agent
/// leaves alone and says so: no damage that it could know.
const VERSION: std::ops::Range<usize> = 60..64;

/// A damage, in words, and the least offset of it in the WAL.
struct Damage {
    what: String,
    /// Where the WAL is cut off.
    wal_cut: Option<usize>,
    /// The first byte of the WAL that changed.
    wal_changed: Option<usize>,
}

/// Damages so many buffers as make up what is wanted.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<Found> {
    let bases = plan.amount(30, 450, 15_000) / DAMAGES_A_BASE;
    in_threads(plan, bases, |seed, found| {
        let work = scratch(&plan.folder)?;
        let base = Base::record(work.path(), seed).with_context(|| format!("buffer {seed}"))?;
        let folder = scratch(&plan.folder)?;
        let mut dice = Dice::new(seed ^ 0x00C0_FFEE);
        sound(&base, folder.path(), base.some_mark(&mut dice)).with_context(|| format!("buffer {seed}"))?;
        (0..DAMAGES_A_BASE).try_for_each(|_| damage(&base, folder.path(), seed, &mut dice, found))
    })
}

/// Fails where the judge finds fault with a buffer that is sound.
fn sound(base: &Base, folder: &Path, mark: usize) -> anyhow::Result<()> {
    clear(folder)?;
    base.image(mark).write(folder)?;
    let mut wrong = Vec::new();
    judge::image(base, mark, None, folder, &mut |fault, _, what| wrong.push((fault, what)))?;
    anyhow::ensure!(wrong.is_empty(), "without any damage: {wrong:?}");
    Ok(())
}

fn damage(base: &Base, folder: &Path, seed: u64, dice: &mut Dice, found: &mut Found) -> anyhow::Result<()> {
    let mark = base.some_mark(dice);
    let mut image = base.image(mark);
    let damage = Damage::do_some(base, &mut image, dice);
    clear(folder)?;
    image.write(folder)?;
    // The reserve, even an empty one, says whose a file is that has lost its head.
    std::fs::write(folder.join("buffer.db.reserve"), "")?;
    found.did("bit_flips", 1);
    let said = |what: &str| format!("{what}; buffer {seed} after operation {mark}, {}", damage.what);
    let mut blame = |fault: Fault, count: u64, what: String| found.fault(fault, count, || said(&what));
    judge::image(base, mark, Some(&damage), folder, &mut blame)
}

impl Damage {
    fn do_some(base: &Base, image: &mut Image, dice: &mut Dice) -> Self {
        let mut damage = Self { what: String::new(), wal_cut: None, wal_changed: None };
        match dice.below(100) {
            0..20 => damage.flip(image, "buffer.db", dice),
            20..35 => damage.flip_small(image, base, dice),
            35..50 => damage.flip(image, "buffer.db-wal", dice),
            50..70 => damage.overwrite(image, "buffer.db", dice),
            70..80 => damage.cut(image, "buffer.db", dice),
            80..90 => damage.cut(image, "buffer.db-wal", dice),
            _ => {
                damage.flip(image, "buffer.db", dice);
                damage.cut(image, "buffer.db-wal", dice);
            }
        }
        damage
    }

    fn note(&mut self, name: &str, what: &str, place: usize) {
        self.what = format!("{}{name} {what} {place}; ", self.what);
    }

    /// Flips one bit, or a few that lie together.
    fn flip(&mut self, image: &mut Image, name: &str, dice: &mut Dice) {
        let Some(bytes) = bytes(image, name) else { return };
        let place = if dice.chance(10) { dice.place(100.min(bytes.len())) } else { dice.place(bytes.len()) };
        let is_version = |at: &usize| name == "buffer.db" && VERSION.contains(at);
        for at in (place..bytes.len()).take(1 + dice.place(3)) {
            let bit = 1 << dice.below(8);
            if !is_version(&at) {
                bytes[at] ^= bit;
            }
        }
        self.changed(name, place);
        self.note(name, "flipped at", place);
    }

    /// Flips a bit where one of the small tables keeps its values: few places of the file, and those that matter most.
    fn flip_small(&mut self, image: &mut Image, base: &Base, dice: &mut Dice) {
        let Some(bytes) = bytes(image, "buffer.db") else { return };
        let page = base.small_pages[dice.place(base.small_pages.len())];
        let used = |place: &usize| bytes.get(*place).is_some_and(|byte| *byte != 0);
        let used: Vec<usize> = (page * PAGE..(page + 1) * PAGE).filter(used).collect();
        let Some(place) = used.get(dice.place(used.len().max(1))).copied() else { return };
        bytes[place] ^= 1 << dice.below(8);
        self.note("buffer.db", "flipped in a small table at", place);
    }

    /// Turns a page into zeros, into noise, or into another page.
    fn overwrite(&mut self, image: &mut Image, name: &str, dice: &mut Dice) {
        let Some(bytes) = bytes(image, name) else { return };
        let pages = bytes.len() / PAGE;
        let (page, other) = (dice.place(pages), dice.place(pages));
        let new = match dice.below(3) {
            0 => vec![0; PAGE],
            1 => dice.bytes(PAGE),
            _ => bytes[other * PAGE..(other + 1) * PAGE].to_vec(),
        };
        bytes[page * PAGE..(page + 1) * PAGE].copy_from_slice(&new);
        self.changed(name, page * PAGE);
        self.note(name, "overwritten at", page * PAGE);
    }

    fn cut(&mut self, image: &mut Image, name: &str, dice: &mut Dice) {
        let Some(bytes) = bytes(image, name) else { return };
        let length = dice.place(bytes.len());
        bytes.truncate(length);
        if name.ends_with("-wal") {
            self.wal_cut = Some(length);
        }
        self.note(name, "cut to", length);
    }

    fn changed(&mut self, name: &str, place: usize) {
        if name.ends_with("-wal") {
            self.wal_changed = Some(place);
        }
    }
}

/// The bytes of a file, if there are any.
fn bytes<'i>(image: &'i mut Image, name: &str) -> Option<&'i mut Vec<u8>> {
    image.files.iter_mut().find(|(known, bytes)| known == name && bytes.len() >= PAGE).map(|(_, bytes)| bytes)
}
