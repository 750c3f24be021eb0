//! The judge: its own book of what was accepted, by content, and its own questions to the gateway's database.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use proto::message::{Receipt, Settlement};
use proto::{BootId, DeviceId, Epoch, Ranges};
use rusqlite::{Connection, OpenFlags};

use super::bodies::Content;
use crate::rig::{Fault, Found};

mod rows;

use self::rows::{Gaps, count_gaps, gap_of, gaps};

/// A batch that a buffer accepted.
struct Accepted {
    content: Content,
    /// It is no batch but so many readings that were lost before one was sealed of them.
    loss: Option<u64>,
    /// A buffer let go of it, and said so.
    evicted: bool,
    /// It was committed, and the database was then put back to an earlier day; or the only file that had it was.
    undone: bool,
}

/// Batches by device, epoch and number.
type Book = HashMap<(DeviceId, Epoch), BTreeMap<u64, Accepted>>;

/// What was accepted, and what of it was seen in the database.
pub(super) struct Oracle {
    book: Book,
    /// Offsets that a device gave for a boot.
    clocks: HashMap<BootId, Vec<i64>>,
    /// Values that are committed, as far as the rows were read.
    stored: HashSet<u64>,
    rows_read: i64,
    /// The gateway's gaps when it was last closed.
    gaps_before: Gaps,
    /// What receipts said and was found to be so.
    verified: HashMap<(DeviceId, Epoch), Ranges>,
    db: Option<Connection>,
}

impl Oracle {
    pub(super) fn new() -> Self {
        Self {
            book: HashMap::new(),
            clocks: HashMap::new(),
            stored: HashSet::new(),
            rows_read: 0,
            gaps_before: Gaps::new(),
            verified: HashMap::new(),
            db: None,
        }
    }

    /// Looks into the database at `path` from now on.
    ///
    /// # Errors
    /// When it does not open.
    pub(super) fn open(&mut self, path: &Path) -> anyhow::Result<()> {
        self.db = Some(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?);
        Ok(())
    }

    /// The database is about to be closed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn close(&mut self) -> anyhow::Result<()> {
        if let Some(db) = self.db.take() {
            self.gaps_before = gaps(&db)?;
        }
        Ok(())
    }

    /// A buffer has accepted a batch.
    pub(super) fn accepted(&mut self, device: &DeviceId, epoch: Epoch, number: u64, content: Content) {
        let batch = Accepted { content, loss: None, evicted: false, undone: false };
        self.book.entry((device.clone(), epoch)).or_default().insert(number, batch);
    }

    /// A buffer has noted that `count` readings are lost.
    pub(super) fn lost(&mut self, device: &DeviceId, epoch: Epoch, number: u64, boot: BootId, count: u64) {
        let content = Content { boot, readings: Vec::new(), padding: 0 };
        let batch = Accepted { content, loss: Some(count), evicted: true, undone: false };
        self.book.entry((device.clone(), epoch)).or_default().insert(number, batch);
    }

    /// A buffer says that it let go of these.
    pub(super) fn evicted(&mut self, device: &DeviceId, epoch: Epoch, number: u64) {
        if let Some(batch) = self.book.get_mut(&(device.clone(), epoch)).and_then(|epoch| epoch.get_mut(&number)) {
            batch.evicted = true;
        }
    }

    /// A device gives this offset for a boot.
    pub(super) fn clock(&mut self, boot: BootId, offset_us: i64) {
        let known = self.clocks.entry(boot).or_default();
        if !known.contains(&offset_us) {
            known.push(offset_us);
        }
    }

    /// Reads what was committed since the last look.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) fn look(&mut self) -> anyhow::Result<()> {
        let Some(db) = &self.db else { return Ok(()) };
        let mut statement = db.prepare_cached("select id, value from reading where id > ? order by id")?;
        let rows = statement.query_map([self.rows_read], |row| Ok((row.get(0)?, row.get::<_, Option<f64>>(1)?)))?;
        for row in rows {
            let (id, value) = row?;
            self.rows_read = id;
            self.stored.extend(value.and_then(whole));
        }
        Ok(())
    }

    /// The database was put back to an earlier day: what it had stored, and what it had been told of gaps, may be gone
    /// for good, for a device keeps neither when it needs the space.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) fn restored(&mut self) -> anyhow::Result<()> {
        let before = std::mem::take(&mut self.stored);
        self.rows_read = 0;
        self.verified.clear();
        self.look()?;
        let Some(db) = &self.db else { return Ok(()) };
        let (stored, told_before, told) = (&self.stored, &self.gaps_before, gaps(db)?);
        for ((device, epoch), batches) in &mut self.book {
            let place = (device.to_string(), epoch.0);
            for (number, batch) in batches {
                let was_stored = batch.values().any(|value| before.contains(&value) && !stored.contains(&value));
                let is_gap = |gaps| gap_of(gaps, &place, *number).is_some();
                batch.undone |= was_stored || (is_gap(told_before) && !is_gap(&told));
            }
        }
        Ok(())
    }

    /// An older file was put in place of a buffer's: what is not stored and was only there may be gone for good.
    pub(super) fn buffer_put_back(&mut self, device: &DeviceId) {
        let stored = &self.stored;
        let batches =
            self.book.iter_mut().filter(|((of, _), _)| of == device).flat_map(|(_, epoch)| epoch.values_mut());
        batches.filter(|batch| !batch.values().all(|value| stored.contains(&value))).for_each(|batch| {
            batch.undone = true;
        });
    }

    /// Holds a receipt against what is committed at this moment.
    pub(super) fn receipt(&mut self, device: &DeviceId, receipt: &Receipt, found: &mut Found, seed: u64) {
        let place = (device.clone(), receipt.epoch);
        let verified = self.verified.entry(place.clone()).or_default();
        let book = self.book.get(&place);
        for said in receipt.ranges.iter().filter(|said| said.state == Settlement::Stored) {
            let (first, last) = (said.range.first, said.range.last);
            for news in verified.missing_in(said.range).iter().collect::<Vec<_>>() {
                let is_stored = |number: &u64| {
                    let batch = book.and_then(|epoch| epoch.get(number));
                    batch.is_some_and(|batch| {
                        batch.loss.is_none() && batch.values().all(|value| self.stored.contains(&value))
                    })
                };
                let early = (news.first..=news.last.min(news.first + 100_000)).find(|number| !is_stored(number));
                found.fault(Fault::EarlyReceipt, u64::from(early.is_some()), || {
                    format!("seed {seed}: a receipt says {first} to {last} of {device}, and {early:?} is not stored")
                });
                verified.insert(news);
            }
        }
    }

    /// The judgement. `held` is what devices still hold, by identity; while `is_history_whole`, nothing can be missing
    /// without a reason, not even for a while.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) fn judge(
        &self,
        held: &HashSet<(DeviceId, Epoch, u64)>,
        is_history_whole: bool,
        seed: u64,
    ) -> anyhow::Result<Found> {
        let Some(db) = &self.db else { anyhow::bail!("nothing to judge by") };
        let mut found = Found::default();
        let seen = self.readings(db, &mut found, seed)?;
        let gaps = gaps(db)?;
        for ((device, epoch), batches) in &self.book {
            let place = (device.to_string(), epoch.0);
            for (number, batch) in batches {
                let whole = batch.loss.is_none() && seen.has(&batch.content);
                let part = seen.count(&batch.content) > 0;
                let undone = batch.undone || (batch.loss.is_some() && !is_history_whole);
                let is_held = held.contains(&(device.clone(), *epoch, *number));
                let gap = gap_of(&gaps, &place, *number);
                let reason = gap.map_or("none", |gap| gap.reason.as_str());
                // What was let go of in silence, or stays in a buffer for ever, is lost; so is a part of a batch.
                let is_lost = !whole && (part || is_held || (gap.is_none() && !undone));
                let due = if batch.loss.is_some() { "overrun" } else { "evicted" };
                let is_other = is_history_whole && reason != due;
                let is_wrong = gap.is_some() && (whole || is_held || is_other || !(batch.evicted || undone));
                let name = || {
                    let (count, Accepted { evicted, .. }) = (batch.count(), batch);
                    format!(
                        "seed {seed}: number {number} of {device}, {count} readings; stored {whole}, held {is_held}, evicted {evicted}, undone {undone}, gap {reason}"
                    )
                };
                found.fault(Fault::Lost, u64::from(is_lost), name);
                found.fault(Fault::WrongGap, u64::from(is_wrong), name);
            }
            count_gaps(gaps.get(&place).map_or(&[][..], Vec::as_slice), batches, &mut found, seed);
        }
        let kinds = "select 'quarantined' from quarantine union all select kind from alarm";
        let mut statement = db.prepare(kinds)?;
        for kind in statement.query_map([], |row| row.get::<_, String>(0))? {
            let kind = kind?;
            let fault = match kind.as_str() {
                "quarantined" | "conflict" => Fault::Mutated,
                "unexplained_gap" if is_history_whole => Fault::WrongGap,
                _ => continue,
            };
            found.fault(fault, 1, || format!("seed {seed}: {kind}, and nothing was wrong"));
        }
        Ok(found)
    }
}

impl Accepted {
    /// How many readings it has, or is the loss of.
    fn count(&self) -> u64 {
        self.loss.unwrap_or_else(|| self.content.count())
    }

    fn values(&self) -> impl Iterator<Item = u64> + '_ {
        self.content.readings.iter().map(|reading| reading.value)
    }
}

/// A double that is a whole number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be a small whole number")]
fn whole(value: f64) -> Option<u64> {
    (value.fract() == 0.0 && (0.0..9e15).contains(&value)).then_some(value as u64)
}
