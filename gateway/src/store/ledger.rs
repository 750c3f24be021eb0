//! The rules of the ledger, the same for every database: what becomes of each item, in one transaction.
//!
//! What is looked up often is kept in memory: names, ranges, where a series has no readings. All of that can be read
//! again, and is, after a transaction that failed or when another gateway has written of the same device meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proto::{DeviceId, Epoch, Instant, Range};

use super::alarm::{AlarmKind, Raised, raise};
use super::error::StoreError;
use super::rollup::{Level, pass::MARK};
use super::sql::{Cell, Db};
use super::{Item, Outcome, SettledRanges};
use held::Extent;

pub(super) mod batches;
mod claims;
mod clocks;
pub(super) mod epochs;
mod gaps;
mod held;
mod identity;
mod names;
mod ordinals;
mod origins;
mod packs;
mod people;
mod quarantine;
mod ranges;
mod tidy;
pub(super) mod value;

pub(super) use claims::{Claim, Claimed};
pub use people::SubjectSeed;

/// The one tenant until accounts exist; the first migration creates it.
pub(super) const TENANT: i64 = 1;

/// Marks that wait to be written together.
const MARKS_MAX: usize = 10_000;

/// What can be read again from the database.
#[derive(Default)]
pub(super) struct Memory {
    names: names::Names,
    epochs: epochs::Epochs,
    strangers: identity::Strangers,
    /// The last id that was given to a reading.
    pub(super) last_reading: i64,
    /// Of devices that others may write as well: the version that the rest of this is of.
    versions: HashMap<i64, i64>,
}

/// A transaction at work.
pub(super) struct Work<'a> {
    db: Db<'a>,
    memory: &'a mut Memory,
    now: Instant,
    /// The readings of this transaction come after this one, once it is known.
    first_reading: Option<i64>,
    /// Rows of batches that are still to be written.
    batch_rows: BTreeMap<(i64, i64), batches::BatchRow>,
    /// Minutes of series whose rollups are to be made anew, still to be written.
    marks: BTreeSet<(i64, i64)>,
    /// How many batch rows this transaction may still let go of; the rest can wait.
    batch_rows_to_go: u64,
    /// What this transaction claims for a time-series store beside this one, if there is one.
    claims: Option<Vec<Claim>>,
    /// Alarms that it noted and that are to be told of once it is committed.
    raised: Vec<Raised>,
}

impl<'a> Work<'a> {
    /// Begins to work in the transaction that `db` is in.
    pub(super) fn new(db: Db<'a>, memory: &'a mut Memory, now: Instant) -> Self {
        let (batch_rows, marks) = (BTreeMap::new(), BTreeSet::new());
        let batch_rows_to_go = tidy::BATCH_ROWS_AT_ONCE;
        Self {
            db,
            memory,
            now,
            first_reading: None,
            batch_rows,
            marks,
            batch_rows_to_go,
            claims: None,
            raised: Vec::new(),
        }
    }

    /// Records `items`, in their order.
    pub(super) fn record(&mut self, items: &[Item]) -> Result<Vec<Outcome>, StoreError> {
        self.lock(items)?;
        let outcomes = items.iter().map(|item| self.item(item)).collect::<Result<_, StoreError>>()?;
        self.write_back()?;
        Ok(outcomes)
    }

    /// Makes sure that a person or place of the settings is there as they say.
    pub(super) fn ensure_subject(&mut self, seed: &SubjectSeed) -> Result<(), StoreError> {
        people::ensure_subject(self, seed)?;
        self.write_back()
    }

    /// Sees to it that nobody else writes of the devices of `items` before this transaction ends, and that what is
    /// remembered of them is of now.
    fn lock(&mut self, items: &[Item]) -> Result<(), StoreError> {
        let mut devices: Vec<&DeviceId> = items.iter().map(Item::device).collect();
        devices.sort_unstable();
        devices.dedup();
        for locked in self.db.driver().lock(&devices)? {
            let known = self.memory.versions.insert(locked.key, locked.version + 1);
            if known != Some(locked.version) {
                self.memory.forget_device(locked.key);
            }
        }
        Ok(())
    }

    fn item(&mut self, item: &Item) -> Result<Outcome, StoreError> {
        match item {
            Item::Batch(batch) => self.batch(batch),
            Item::Pack(pack) => self.pack(pack),
            Item::Quarantine(quarantine) => self.quarantine(quarantine),
            Item::Gaps { device, gaps } => self.gaps(device, gaps),
            Item::Held { device, held } => self.held(device, held, Extent::Whole),
            Item::HeldPart { device, held } => self.held(device, held, Extent::Part),
            Item::Clock { device, clock } => {
                let device = self.device(device, Some(self.now))?;
                Ok(if self.learn_clock(device, clock)? { Outcome::Recorded } else { Outcome::Known })
            }
            Item::Contested { device } => {
                let device = self.device(device, Some(self.now))?;
                self.alarm(device, AlarmKind::DeviceTwice)?;
                Ok(Outcome::Recorded)
            }
            Item::Presence { device, connected } => {
                let device = self.device(device, Some(self.now))?;
                self.db.driver().note_presence(device, *connected)?;
                Ok(Outcome::Recorded)
            }
        }
    }

    /// Writes what was gathered in memory: one row per device, series and epoch that was touched.
    fn write_back(&mut self) -> Result<(), StoreError> {
        self.write_batch_rows()?;
        self.write_claims()?;
        self.write_marks()?;
        self.memory.names.write_back(self.db)?;
        self.memory.epochs.write_back(self.db)?;
        if let Some(before) = self.first_reading.filter(|before| *before != self.memory.last_reading) {
            self.db.driver().note_feed(before, self.memory.last_reading)?;
        }
        Ok(())
    }

    /// Notes that a reading that was there at `time_us` is not, or the reverse: the rollups there are made anew.
    fn mark(&mut self, series: i64, time_us: i64) -> Result<(), StoreError> {
        self.marks.insert((series, Level::Minute.start_us(time_us)));
        if self.marks.len() < MARKS_MAX { Ok(()) } else { self.write_marks() }
    }

    fn write_marks(&mut self) -> Result<(), StoreError> {
        let marks = std::mem::take(&mut self.marks);
        let cells = |(series, minute)| vec![Cell::Int(TENANT), Cell::Int(series), Cell::Int(minute)];
        let rows: Vec<_> = marks.into_iter().map(cells).collect();
        Ok(self.db.driver().execute_many(&MARK, &rows)?)
    }

    /// Makes sure that there are ids for readings.
    fn reserve_readings(&mut self) -> Result<(), StoreError> {
        if self.first_reading.is_none() {
            let before = self.db.driver().reserve_readings(self.memory.last_reading)?;
            self.memory.last_reading = before;
            self.first_reading = Some(before);
        }
        Ok(())
    }

    /// Notes something that a person should look at.
    fn alarm(&mut self, device: i64, kind: AlarmKind) -> Result<(), StoreError> {
        self.raised.extend(raise(self.db, device, kind, 1, self.now)?);
        Ok(())
    }

    /// What is to be told once this is committed.
    pub(super) fn take_raised(&mut self) -> Vec<Raised> {
        std::mem::take(&mut self.raised)
    }
}

impl Memory {
    /// Nothing but the place in the feed.
    pub(super) fn since(last_reading: i64) -> Self {
        Self { last_reading, ..Self::default() }
    }

    /// Forgets what is remembered of a device.
    fn forget_device(&mut self, device: i64) {
        self.names.forget(device);
        self.epochs.forget_all(device);
    }

    /// Forgets what is remembered of a device that somebody else may have written of.
    pub(super) fn doubt(&mut self, device: &DeviceId) {
        if let Some(key) = self.names.remembered_key(device) {
            self.forget_device(key);
            self.versions.remove(&key);
        }
    }

    /// Keeps what is remembered within its bounds.
    pub(super) fn forget_much(&mut self) {
        if self.names.forget_much() {
            self.versions.clear();
            self.epochs = epochs::Epochs::default();
        }
        self.epochs.forget_much();
    }

    /// What a device may be told is settled of the numbers `around`, and where others write as well, as of now.
    pub(super) fn settled(
        &mut self,
        db: Db<'_>,
        device: &DeviceId,
        epoch: Epoch,
        around: Range,
    ) -> Result<SettledRanges, StoreError> {
        let Some(device) = self.names.known_device(db, device)? else { return Ok(SettledRanges::default()) };
        let found = self.epochs.known(db, device, epoch)?;
        Ok(found.map(|epoch| epoch.to_tell(around)).unwrap_or_default())
    }
}

/// A number of the protocol as databases keep it. What lies beyond i64 was refused at the door or is cut here.
pub(super) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The reverse.
pub(super) fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A sum that the database reckoned in floating point, so that no claim of a device overflows it.
pub(super) fn from_sum(sum: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "`as` cuts at the ends of i64, which is what is wanted")]
    let cut = sum as i64;
    cut
}
