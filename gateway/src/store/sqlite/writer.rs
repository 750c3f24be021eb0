//! The one that writes: many items in one durable transaction.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::{DeviceId, Epoch, Instant, Range};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::watch;

use super::{Driver, Now, Roller, Trail, settings};
use crate::store::alarm::Raised;
use crate::store::error::StoreError;
use crate::store::ledger::{Claim, Memory, SubjectSeed, TENANT, Work};
use crate::store::outbox::Relational;
use crate::store::sql::Db;
use crate::store::{Item, Ledger, Outcome, Place, SettledRanges, Tick};

/// Records items. One thread has it, and calls it with as much as has come meanwhile.
pub struct Writer {
    desk: Desk,
    tick: watch::Sender<Tick>,
}

/// Where all writing is done, in turns: by the recorder, and now and then by who keeps the rollups
/// or the audit trail. One connection, so
/// that neither finds what it keeps of the file outdated by the other, and neither asks again and again for a lock.
#[derive(Clone)]
pub(super) struct Desk(Arc<Mutex<Pen>>);

/// The one connection of this process that writes.
struct Pen {
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
    /// Held for as long as the writer lives.
    _lock: File,
}

impl Ledger for Writer {
    fn record(&mut self, items: &[Item]) -> Result<Vec<Outcome>, StoreError> {
        let mut pen = self.desk.turn();
        pen.claims.clear();
        let is_claiming = pen.is_claiming;
        let (outcomes, claims, raised) = pen.work(|work| {
            work.claim_from_now_on(is_claiming);
            Ok((work.record(items)?, work.take_claims(), work.take_raised()))
        })?;
        raised.iter().for_each(Raised::tell);
        pen.claims = claims;
        pen.memory.forget_much();
        let reading = pen.memory.last_reading;
        drop(pen);
        self.tick.send_modify(|tick| {
            tick.end = Place { turn: 0, reading };
            tick.commits += 1;
        });
        Ok(outcomes)
    }

    fn settled_around(&mut self, device: &DeviceId, epoch: Epoch, around: Range) -> Result<SettledRanges, StoreError> {
        let mut pen = self.desk.turn();
        pen.make_sure()?;
        let Pen { db, memory, .. } = &mut *pen;
        let told = memory.settled(Db::new(&Driver::of(db)), device, epoch, around);
        if let Err(error) = &told {
            pen.is_suspect |= error.is_of_the_disk();
        }
        told
    }
}

impl Relational for Writer {
    fn claim_from_now_on(&mut self) {
        self.desk.turn().is_claiming = true;
    }

    fn take_claims(&mut self) -> Vec<Claim> {
        std::mem::take(&mut self.desk.turn().claims)
    }

    fn transact(&mut self, act: &mut dyn FnMut(Db<'_>) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.desk.transact(act)
    }
}

impl Writer {
    pub(super) fn new(db: Connection, path: &Path, lock: File, now: Now) -> Result<Self, StoreError> {
        let memory = read_memory(&db)?;
        let tick = watch::Sender::new(Tick { end: Place { turn: 0, reading: memory.last_reading }, commits: 0 });
        let (is_claiming, claims) = (false, Vec::new());
        let pen = Pen { db, path: path.to_owned(), is_suspect: false, memory, is_claiming, claims, now, _lock: lock };
        Ok(Self { desk: Desk(Arc::new(Mutex::new(pen))), tick })
    }

    /// Where the store stands, now and after each commit.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Tick> {
        self.tick.subscribe()
    }

    /// Who keeps the rollups. Have only one.
    #[must_use]
    pub fn roller(&self) -> Roller {
        Roller::new(self.desk.clone(), self.desk.turn().path.clone())
    }

    /// The audit trail of this database.
    #[must_use]
    pub fn trail(&self) -> Trail {
        Trail::at(self.desk.clone(), self.desk.turn().path.clone())
    }

    pub(super) fn ensure_subject(&mut self, seed: &SubjectSeed) -> Result<(), StoreError> {
        self.desk.turn().work(|work| work.ensure_subject(seed))
    }
}

impl Desk {
    fn turn(&self) -> MutexGuard<'_, Pen> {
        // Who panicked has undone its transaction; what the ledger remembers is not touched by others.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of `act` or nothing of it, in a turn of its own, which must be short: devices wait for it.
    pub(super) fn transact<T>(&self, act: impl FnOnce(Db<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.turn().transact(|db, _, _| act(db))
    }
}

impl Pen {
    fn work<T>(&mut self, act: impl FnOnce(&mut Work<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.transact(|db, memory, now| act(&mut Work::new(db, memory, now)))
    }

    /// All of `act` or nothing of it.
    fn transact<T>(
        &mut self,
        act: impl FnOnce(Db<'_>, &mut Memory, Instant) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.make_sure()?;
        let now = (self.now)();
        let attempt: Result<T, StoreError> = (|| {
            let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let answer = act(Db::new(&Driver::of(&transaction)), &mut self.memory, now)?;
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
            let pen = writer.desk.turn();
            let pages: i64 = pen.db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
            pen.db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        };
        full(&writer);
        let many: Vec<Item> = (0..2_000).map(|number| presence(&format!("meter-{number}"))).collect();
        let error = writer.record(&many).unwrap_err();
        assert!(error.is_unavailable() && error.is_of_the_disk(), "{error}");
        let is_suspect = |pen: &Pen| pen.db.is_autocommit() && pen.is_suspect;
        assert!(is_suspect(&writer.desk.turn()));
        let outcomes = writer.record(&many).unwrap();
        assert_eq!(outcomes.len(), 2_000, "on a connection without that bound");
        let pen = writer.desk.turn();
        assert_eq!(pen.db.query_row("select count(*) from device", [], |row| row.get(0)), Ok(2_000));
        let synchronous: i64 = pen.db.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(synchronous, 2, "the new one is as careful");
    }

    #[test]
    fn a_lock_of_another_program_is_no_failure_of_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.db");
        let Store { mut writer, .. } = Store::open(&path, || Instant(0)).unwrap();
        let backup = Connection::open(&path).unwrap();
        backup.execute_batch("begin immediate").unwrap();
        writer.desk.turn().db.busy_timeout(std::time::Duration::from_millis(1)).unwrap();
        let error = writer.record(&[presence("meter-1")]).unwrap_err();
        assert!(error.is_unavailable() && !error.is_of_the_disk(), "{error}");
        assert!(!writer.desk.turn().is_suspect);
    }
}
