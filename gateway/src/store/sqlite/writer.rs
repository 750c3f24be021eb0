//! The one that writes: many items in one durable transaction.
//!
//! What it looks up often it keeps in memory: names, ledger ranges, where a series has no readings. All of that can
//! be read again, and is, after a transaction that failed.

use std::fs::File;
use std::path::{Path, PathBuf};

use proto::{DeviceId, Epoch, Instant, Range};
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::watch;

use super::held::Extent;
use super::ledger::Epochs;
use super::names::Names;
use super::tidy::BATCH_ROWS_AT_ONCE;
use super::{Now, StoreError, SubjectSeed, TENANT, people, settings};
use crate::store::{Item, Outcome, SettledRanges};

/// Where the store stands. It moves after each commit that has something to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// The id of the last committed reading: where the feed ends.
    pub reading: i64,
    /// Grows with each commit.
    pub commits: u64,
}

/// Records items. One thread has it, and calls it with as much as has come meanwhile.
pub struct Writer {
    db: Connection,
    path: PathBuf,
    /// The connection has seen the disk fail: it is not used any more.
    is_suspect: bool,
    memory: Memory,
    now: Now,
    tick: watch::Sender<Tick>,
    /// Held for as long as the writer lives.
    _lock: File,
}

/// What can be read again from the database.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) names: Names,
    pub(super) epochs: Epochs,
    /// The last id that was given to a reading.
    pub(super) last_reading: i64,
}

/// A transaction at work.
pub(super) struct Work<'a> {
    pub(super) db: &'a Connection,
    pub(super) memory: &'a mut Memory,
    pub(super) now: Instant,
    /// How many batch rows this transaction may still let go of; the rest can wait.
    pub(super) batch_rows_to_go: u64,
}

impl Writer {
    pub(super) fn new(db: Connection, path: &Path, lock: File, now: Now) -> Result<Self, StoreError> {
        let mut memory = Memory::default();
        memory.reload(&db)?;
        let tick = watch::Sender::new(Tick { reading: memory.last_reading, commits: 0 });
        Ok(Self { db, path: path.to_owned(), is_suspect: false, memory, now, tick, _lock: lock })
    }

    /// Records `items` in one transaction, and answers what became of each. When this returns, they are on the disk.
    ///
    /// # Errors
    /// Nothing was recorded. See [`StoreError::is_unavailable`] for whether the items or the store are to blame.
    pub fn record(&mut self, items: &[Item]) -> Result<Vec<Outcome>, StoreError> {
        let outcomes = self.transact(|work| {
            // Looked up in here: a connection that was just replaced has read it again.
            let before = work.memory.last_reading;
            let outcomes = items.iter().map(|item| work.item(item)).collect::<Result<_, StoreError>>()?;
            work.write_back(before)?;
            Ok(outcomes)
        })?;
        self.memory.forget_much();
        self.tick.send_modify(|tick| {
            tick.reading = self.memory.last_reading;
            tick.commits += 1;
        });
        Ok(outcomes)
    }

    /// What a device may be told is settled of an epoch: ascending ranges, touching ones of one state joined. A gap is
    /// left out where the device said that it holds the batch after all, lest it lets go of what then never comes.
    ///
    /// # Errors
    /// The disk.
    pub fn settled(&mut self, device: &DeviceId, epoch: Epoch) -> Result<SettledRanges, StoreError> {
        self.settled_around(device, epoch, Range { first: 0, last: u64::MAX })
    }

    /// Those of [`Writer::settled`] that share a number with `around`, whole: what a receipt after a commit adds.
    ///
    /// # Errors
    /// The disk.
    pub fn settled_around(
        &mut self,
        device: &DeviceId,
        epoch: Epoch,
        around: Range,
    ) -> Result<SettledRanges, StoreError> {
        self.make_sure()?;
        let Self { db, memory, .. } = self;
        let found = memory.names.known_device(db, device).and_then(|device| match device {
            Some(device) => memory.epochs.known(db, device, epoch),
            None => Ok(None),
        });
        let told = found.map(|epoch| epoch.map(|epoch| epoch.to_tell(around)).unwrap_or_default());
        if let Err(error) = &told {
            self.is_suspect |= error.is_of_the_disk();
        }
        told
    }

    /// Where the store stands, now and after each commit.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Tick> {
        self.tick.subscribe()
    }

    pub(super) fn ensure_subject(&mut self, seed: &SubjectSeed) -> Result<(), StoreError> {
        self.transact(|work| people::ensure_subject(work, seed))
    }

    /// All of `act` or nothing of it.
    fn transact<T>(&mut self, act: impl FnOnce(&mut Work<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.make_sure()?;
        let now = (self.now)();
        let attempt: Result<T, StoreError> = (|| {
            let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let memory = &mut self.memory;
            let answer = act(&mut Work { db: &transaction, memory, now, batch_rows_to_go: BATCH_ROWS_AT_ONCE })?;
            transaction.commit()?;
            Ok(answer)
        })();
        if let Err(error) = &attempt {
            // Not in autocommit: even the rollback failed.
            self.is_suspect |= error.is_of_the_disk() || !self.db.is_autocommit();
            // What is remembered may be of the transaction that has just been undone.
            if !self.is_suspect
                && let Err(error) = self.memory.reload(&self.db)
            {
                self.is_suspect = true;
                return Err(error);
            }
        }
        attempt
    }

    /// A connection that has seen the disk fail is replaced before it is used again, and nothing that was remembered is
    /// believed: after a failed fsync nobody knows which pages of its cache the disk has (the kernel reports the error
    /// once and then takes the pages for written), so a second try on it could succeed without being durable. What the
    /// new one reads from the file and its WAL is what counts; if the commit that failed is there after all, its batches
    /// are known when they are tried again.
    fn make_sure(&mut self) -> Result<(), StoreError> {
        if !self.is_suspect {
            return Ok(());
        }
        // Opening touches nothing yet; the old one must be gone, and its locks with it, before the new one is used.
        drop(std::mem::replace(&mut self.db, Connection::open(&self.path)?));
        settings::prepare_writer(&self.db)?;
        self.memory.reload(&self.db)?;
        self.is_suspect = false;
        Ok(())
    }
}

impl Memory {
    /// Forgets everything but the place in the feed, which is read again.
    fn reload(&mut self, db: &Connection) -> Result<(), StoreError> {
        *self = Self::default();
        self.last_reading =
            db.query_row("select last_reading from feed where tenant = ?", [TENANT], |row| row.get(0))?;
        Ok(())
    }

    /// Keeps what is remembered within its bounds.
    fn forget_much(&mut self) {
        self.names.forget_much();
        self.epochs.forget_much();
    }
}

impl Work<'_> {
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
                self.alarm(device, "device_twice")?;
                Ok(Outcome::Recorded)
            }
            Item::Presence { device, connected } => {
                let device = self.device(device, Some(self.now))?;
                let sql = "update device set connected = ?2 where id = ?1";
                self.db.prepare_cached(sql)?.execute(params![device, connected])?;
                Ok(Outcome::Recorded)
            }
        }
    }

    /// Writes what was gathered in memory: one row per device, series and epoch that was touched.
    fn write_back(&mut self, last_reading_before: i64) -> Result<(), StoreError> {
        self.memory.names.write_back(self.db)?;
        self.memory.epochs.write_back(self.db)?;
        if self.memory.last_reading != last_reading_before {
            let sql = "update feed set last_reading = ?2 where tenant = ?1";
            self.db.prepare_cached(sql)?.execute(params![TENANT, self.memory.last_reading])?;
        }
        Ok(())
    }

    /// Notes something that a person should look at.
    pub(super) fn alarm(&self, device: i64, kind: &str) -> Result<(), StoreError> {
        let sql = "insert into alarm (tenant, device, kind, first_us, last_us, count) values (?1, ?2, ?3, ?4, ?4, 1)
                   on conflict do update set last_us = ?4, count = count + 1";
        self.db.prepare_cached(sql)?.execute(params![TENANT, device, kind, self.now.0])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::Store;

    fn presence(device: &str) -> Item {
        Item::Presence { device: device.parse().unwrap(), connected: true }
    }

    #[test]
    fn a_connection_that_has_seen_the_disk_fail_is_never_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.db");
        let Store { mut writer, .. } = Store::open(&path, || Instant(0)).unwrap();
        writer.record(&[presence("meter-1")]).unwrap();
        // A connection that may not grow its file: SQLite answers as it does on a full disk.
        let full = |writer: &Writer| {
            let pages: i64 = writer.db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
            writer.db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        };
        full(&writer);
        let many: Vec<Item> = (0..2_000).map(|number| presence(&format!("meter-{number}"))).collect();
        let error = writer.record(&many).unwrap_err();
        assert!(error.is_unavailable() && error.is_of_the_disk(), "{error}");
        assert!(writer.db.is_autocommit() && writer.is_suspect);
        let outcomes = writer.record(&many).unwrap();
        assert_eq!(outcomes.len(), 2_000, "on a connection without that bound");
        assert_eq!(writer.db.query_row("select count(*) from device", [], |row| row.get(0)), Ok(2_000));
        let synchronous: i64 = writer.db.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(synchronous, 2, "the new one is as careful");
    }

    #[test]
    fn a_lock_of_another_program_is_no_failure_of_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.db");
        let Store { mut writer, .. } = Store::open(&path, || Instant(0)).unwrap();
        let backup = Connection::open(&path).unwrap();
        backup.execute_batch("begin immediate").unwrap();
        writer.db.busy_timeout(std::time::Duration::from_millis(1)).unwrap();
        let error = writer.record(&[presence("meter-1")]).unwrap_err();
        assert!(error.is_unavailable() && !error.is_of_the_disk() && !writer.is_suspect, "{error}");
    }
}
