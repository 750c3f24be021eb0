//! The one that writes: many items in one durable transaction.

use std::fs::File;
use std::path::{Path, PathBuf};

use proto::{DeviceId, Epoch, Range};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::watch;

use super::{Driver, Now, settings};
use crate::store::error::StoreError;
use crate::store::ledger::{Claim, Memory, SubjectSeed, TENANT, Work};
use crate::store::outbox::Relational;
use crate::store::sql::Db;
use crate::store::{Item, Ledger, Outcome, SettledRanges, Tick};

/// Records items. One thread has it, and calls it with as much as has come meanwhile.
pub struct Writer {
    db: Connection,
    path: PathBuf,
    /// The connection has seen the disk fail: it is not used any more.
    is_suspect: bool,
    memory: Memory,
    /// Whether what is recorded is claimed for a time-series store beside this one.
    is_claiming: bool,
    /// What the last commit claimed.
    claims: Vec<Claim>,
    now: Now,
    tick: watch::Sender<Tick>,
    /// Held for as long as the writer lives.
    _lock: File,
}

impl Ledger for Writer {
    fn record(&mut self, items: &[Item]) -> Result<Vec<Outcome>, StoreError> {
        self.claims.clear();
        let (outcomes, claims) = self.transact(|work| Ok((work.record(items)?, work.take_claims())))?;
        self.claims = claims;
        self.memory.forget_much();
        self.tick.send_modify(|tick| {
            tick.reading = self.memory.last_reading;
            tick.commits += 1;
        });
        Ok(outcomes)
    }

    fn settled_around(&mut self, device: &DeviceId, epoch: Epoch, around: Range) -> Result<SettledRanges, StoreError> {
        self.make_sure()?;
        let told = self.memory.settled(Db::new(&Driver::of(&self.db)), device, epoch, around);
        if let Err(error) = &told {
            self.is_suspect |= error.is_of_the_disk();
        }
        told
    }
}

impl Relational for Writer {
    fn claim_from_now_on(&mut self) {
        self.is_claiming = true;
    }

    fn take_claims(&mut self) -> Vec<Claim> {
        std::mem::take(&mut self.claims)
    }

    fn transact(&mut self, act: &mut dyn FnMut(Db<'_>) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.transact(|work| act(work.db()))
    }
}

impl Writer {
    pub(super) fn new(db: Connection, path: &Path, lock: File, now: Now) -> Result<Self, StoreError> {
        let memory = read_memory(&db)?;
        let tick = watch::Sender::new(Tick { reading: memory.last_reading, commits: 0 });
        Ok(Self {
            db,
            path: path.to_owned(),
            is_suspect: false,
            memory,
            is_claiming: false,
            claims: vec![],
            now,
            tick,
            _lock: lock,
        })
    }

    /// Where the store stands, now and after each commit.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Tick> {
        self.tick.subscribe()
    }

    pub(super) fn ensure_subject(&mut self, seed: &SubjectSeed) -> Result<(), StoreError> {
        self.transact(|work| work.ensure_subject(seed))
    }

    /// All of `act` or nothing of it.
    fn transact<T>(&mut self, act: impl FnOnce(&mut Work<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.make_sure()?;
        let now = (self.now)();
        let attempt: Result<T, StoreError> = (|| {
            let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let driver = Driver::of(&transaction);
            let work = Work::new(Db::new(&driver), &mut self.memory, now);
            let answer = act(&mut work.claiming(self.is_claiming))?;
            transaction.commit()?;
            Ok(answer)
        })();
        if let Err(error) = &attempt {
            // Not in autocommit: even the rollback failed.
            self.is_suspect |= error.is_of_the_disk() || !self.db.is_autocommit();
            // What is remembered may be of the transaction that has just been undone.
            if !self.is_suspect {
                match read_memory(&self.db) {
                    Ok(memory) => self.memory = memory,
                    Err(error) => {
                        self.is_suspect = true;
                        return Err(error);
                    }
                }
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
        self.memory = read_memory(&self.db)?;
        self.is_suspect = false;
        Ok(())
    }
}

/// Nothing but the place in the feed.
fn read_memory(db: &Connection) -> Result<Memory, StoreError> {
    let sql = "select last_reading from feed where tenant = ?";
    let last_reading = db.query_row(sql, [TENANT], |row| row.get(0))?;
    Ok(Memory::since(last_reading))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::Store;
    use proto::Instant;

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
