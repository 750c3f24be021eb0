//! A buffer with known batches, as it was at any moment of its making.

use std::collections::BTreeSet;
use std::path::Path;

use agent::buffer::Append;
use anyhow::Context;
use proto::{BootId, Clock, Quality, Range, Ranges};
use vfs::{Dice, Image, Operation, Tape, Watch};

use crate::rigs::offers::{Offers, open_with};

const APPENDS: u64 = 50;
/// Nothing is evicted.
const BYTES_MAX: u64 = 64 << 20;
const WAL: &str = "buffer.db-wal";

/// A batch that was accepted.
pub(super) struct Accepted {
    pub(super) epoch: Vec<u8>,
    pub(super) number: u64,
    pub(super) body: Vec<u8>,
    pub(super) row: u64,
    /// The clock that its boot had to the end.
    pub(super) clock: Clock,
    /// Where its source resumes behind it.
    pub(super) cursor: Vec<u8>,
    /// The tape's length after its append.
    pub(super) end: usize,
}

/// What was accepted when, and all that reached the disk.
pub(super) struct Base {
    pub(super) accepted: Vec<Accepted>,
    /// Batches that receipts cover, by their place: nobody asks for them.
    pub(super) marked: BTreeSet<usize>,
    /// Pages of the small tables, counted from 0.
    pub(super) small_pages: Vec<usize>,
    tape: Tape,
}

impl Base {
    /// Fills a buffer in `folder`.
    pub(super) fn record(folder: &Path, seed: u64) -> anyhow::Result<Self> {
        let (mut dice, mut offers) = (Dice::new(seed), Offers::new());
        let watch = Watch::folder(folder)?;
        let mut clock = some_clock(&mut dice);
        let mut buffer = Some(open_with(folder, BYTES_MAX, clock)?);
        let (mut span, mut accepted, mut marked) = (None, Vec::new(), BTreeSet::new());
        for _ in 0..APPENDS {
            if dice.chance(8) {
                drop(buffer.take()); // the file is closed, and its WAL copied back
                clock = some_clock(&mut dice);
                (buffer, span) = (Some(open_with(folder, BYTES_MAX, clock)?), None);
            }
            let open = buffer.as_mut().context("it is open")?;
            let mut append = Append::default();
            for _ in 0..=dice.below(3) {
                append.batches.push(offers.batch(&mut dice, 700)?);
            }
            let cursor = watch.mark().to_be_bytes().to_vec();
            append.cursors = vec![("meter".into(), cursor.clone())];
            let appended = open.append(&append)?;
            span = appended.began.or(span);
            let (span, rows) = span.zip(appended.rows).context("an append has an epoch and rows")?;
            for (row, batch) in (rows.first..).zip(append.batches) {
                if dice.chance(20) {
                    open.mark(&Ranges::from_iter([Range::one(row)]));
                    marked.insert(accepted.len());
                }
                let (epoch, number, body) = (span.epoch.0.to_vec(), row - span.base, batch.sealed.body);
                accepted.push(Accepted { epoch, number, body, row, clock, cursor: cursor.clone(), end: 0 });
            }
            let end = watch.mark();
            accepted.iter_mut().filter(|batch| batch.end == 0).for_each(|batch| batch.end = end);
        }
        drop(buffer);
        let small_pages = small_pages(folder)?;
        Ok(Self { accepted, marked, small_pages, tape: watch.finish() })
    }

    /// Right after some append, or after all and closed.
    pub(super) fn some_mark(&self, dice: &mut Dice) -> usize {
        if dice.chance(20) {
            return self.tape.mark();
        }
        let late = self.accepted.len() / 3;
        let place = late + dice.place(self.accepted.len() - late);
        self.accepted.get(place).map_or(self.tape.mark(), |batch| batch.end)
    }

    /// The files as they were after `mark` operations.
    pub(super) fn image(&self, mark: usize) -> Image {
        let mut replay = self.tape.replay();
        replay.advance(mark);
        replay.whole()
    }

    /// Those of the batches accepted by `mark` that lie in the WAL at `offset` or behind it, by their place, and in how
    /// many commits.
    pub(super) fn behind(&self, mark: usize, offset: usize) -> (BTreeSet<usize>, usize) {
        let played = self.tape.operations().iter().enumerate().take(mark);
        let is_wal = |operation: &Operation| operation.file().is_some_and(|file| self.tape.name(file) == WAL);
        let mut begun = 0;
        // How far the WAL was written when.
        let mut reached: Vec<(usize, usize)> = Vec::new();
        for (place, operation) in played.filter(|(_, operation)| is_wal(operation)) {
            match operation {
                Operation::Write(_, at, bytes) => {
                    let at = usize::try_from(*at).unwrap_or(usize::MAX);
                    if at == 0 {
                        (begun, reached) = (place, Vec::new());
                    }
                    reached.push((place, at + bytes.len()));
                }
                Operation::Create(_) | Operation::Truncate(..) | Operation::Delete(_) => {
                    (begun, reached) = (place, Vec::new());
                }
                _ => {}
            }
        }
        let until = |end: usize| reached.iter().take_while(|(place, _)| *place < end).map(|(_, until)| *until).max();
        let known = self.accepted.iter().enumerate().filter(|(_, batch)| batch.end <= mark && batch.end > begun);
        let behind = known.filter(|(_, batch)| until(batch.end).is_some_and(|until| until > offset));
        let behind: BTreeSet<usize> = behind.map(|(place, _)| place).collect();
        let commits: BTreeSet<usize> =
            behind.iter().filter_map(|place| self.accepted.get(*place)).map(|batch| batch.end).collect();
        (behind, commits.len())
    }
}

/// A boot of its own, with a clock of its own.
fn some_clock(dice: &mut Dice) -> Clock {
    let seconds = i64::try_from(dice.below(1_000_000)).unwrap_or(0);
    let mut boot = [0; 8];
    boot.copy_from_slice(&dice.bytes(8));
    Clock { boot: BootId(boot), offset_us: 1_790_000_000_000_000 + seconds * 1_000_001, quality: Quality::Held }
}

/// Where the tables lie that say who, when and where to resume; each is one page here.
fn small_pages(folder: &Path) -> anyhow::Result<Vec<usize>> {
    let file = rusqlite::Connection::open(folder.join("buffer.db"))?;
    let mut query = file.prepare("select rootpage from sqlite_schema where rootpage > 0 and name <> 'batch'")?;
    let pages = query.query_map([], |row| row.get::<_, i64>(0))?;
    pages.map(|page| Ok(usize::try_from(page? - 1)?)).collect()
}
