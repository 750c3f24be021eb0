//! The agent's store of sealed batches: what is in here was *accepted*, and leaves only when a receipt covers it or a
//! gap names it.
//!
//! One SQLite file in WAL mode with `synchronous=FULL`, written by one thread ([`Handle`]). A batch's row is its
//! epoch's base plus its number, so the rest of the agent speaks of rows: one growing line of numbers over all starts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use proto::frame::{Header, Sealed};
use proto::{BodyHash, BootId, Clock, Epoch, Frame, Lane, Range, Ranges};
use rusqlite::Connection;

use crate::seeded::Bug;
use crate::source::{Reject, SourceName};

use self::rows::{
    begin_epoch, clock_of, epochs, insert_batch, insert_marks, insert_rest, lane_of, ranges, row_key, span_of,
    write_clock, write_settled,
};

mod handle;
mod open;
mod retention;
mod rows;

pub use handle::Handle;
pub use open::Access;

/// Marks of receipts ride in every eighth append, so that they cost little flash. A lost mark costs one more hello.
const APPENDS_PER_MARKING: u32 = 8;

/// Free bytes below which a failed write is put down to a full disk: SQLite's shared memory alone takes 32 KiB.
const SPARE_BYTES_MIN: u64 = 64 * 1024;

/// How large the buffer may grow, and where it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file; its `-wal` and `-shm` lie beside it.
    pub path: PathBuf,
    /// Bytes that file and WAL may take together.
    pub bytes_max: u64,
}

impl Settings {
    /// How many rejects are kept: at 4 KiB each, a sixteenth of the file, so that they never drive readings out.
    fn rejects_max(&self) -> u64 {
        (self.bytes_max / 16 / 4_096).clamp(64, 10_000)
    }
}

/// What can go wrong with the buffer.
#[derive(Debug, thiserror::Error)]
pub enum BufferError {
    /// Nothing can be written any more.
    #[error("no space left for the buffer {}; free some on its disk or lower `buffer.bytes_max`", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Made by a later agent.
    #[error("buffer {} has schema version {found}, this agent knows {known}; install the newer agent again, or move the file aside", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Not a database of ours.
    #[error("{} is no buffer of this agent (application id {found:#x}); point `buffer.path` at another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: i64,
    },
    /// A setting that durability rests on did not take.
    #[error("buffer {}: {setting} is {found} but must be {wanted}; is the file on a network or read-only disk?", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// Which setting.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        wanted: String,
    },
    /// The file cannot be opened.
    #[error("cannot open buffer {}: is the folder there and writable for this user?", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Another agent holds the file.
    #[error("buffer {} is in use by another agent; two agents need two buffers", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The thread that writes has ended.
    #[error("the buffer's thread has ended")]
    Gone,
    /// Anything else that SQLite says.
    #[error("buffer: SQLite failed")]
    Sqlite(#[from] rusqlite::Error),
}

/// A batch on its way into the buffer.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Which queue it leaves by.
    pub lane: Lane,
    /// How many readings it holds.
    pub readings: u64,
    /// The sealed bytes.
    pub sealed: Sealed,
}

/// What is stored in one transaction, or not at all.
#[derive(Clone, Debug, Default)]
pub struct Append {
    /// Batches, in order.
    pub batches: Vec<Batch>,
    /// Where sources resume once this is stored.
    pub cursors: Vec<(SourceName, Vec<u8>)>,
    /// Input that became no reading.
    pub rejects: Vec<(SourceName, Reject)>,
    /// Readings that were lost before they could be sealed: each takes a number, so that receipts can confirm it.
    pub losses: Vec<Loss>,
}

/// Readings that will never come, though no batch had been sealed of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The source that lost them, where it is known.
    pub source: Option<SourceName>,
    /// From when, on the clock of this boot.
    pub from: Option<proto::Instant>,
    /// Until when.
    pub until: Option<proto::Instant>,
    /// How many, where it is known.
    pub count: Option<u64>,
    /// Why.
    pub reason: proto::message::GapReason,
}

/// Where an epoch's rows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochSpan {
    /// Which epoch.
    pub epoch: Epoch,
    /// Its number `n` is row `base + n`.
    pub base: u64,
    /// The boot its batches were sealed in.
    pub boot: BootId,
}

/// Batches taken out to be sent, as one frame.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The rows in the frame.
    pub rows: Range,
    /// What to publish.
    pub frame: Frame,
}

/// What the buffer holds, as the uplink needs it at start.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Rows of batches that are there.
    pub held: Ranges,
    /// Rows that receipts covered.
    pub settled: Ranges,
    /// Rows that will never come, as far as no receipt has confirmed that the gateway knows.
    pub gaps: Ranges,
    /// Rows that the gateway refused for good.
    pub aside: Ranges,
    /// All epochs that still have rows, oldest first.
    pub epochs: Vec<EpochSpan>,
}

/// What an append did.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The rows that were added, none if there were only cursors or rejects.
    pub rows: Option<Range>,
    /// The epoch they are of, if this append began it.
    pub began: Option<EpochSpan>,
    /// Rows that had to leave to make room.
    pub evicted: Ranges,
    /// Rows that became a gap: those of `evicted` that no receipt covered, and losses.
    pub gaps: Ranges,
}

/// The buffer, for the thread that owns it.
pub struct Buffer {
    connection: Connection,
    /// Held so that no second agent writes the file; let go of with the process, however it ends.
    _lock: std::fs::File,
    settings: Settings,
    clock: Clock,
    epoch: Option<EpochSpan>,
    next_row: u64,
    /// Marks that await the next append.
    marks: Ranges,
    /// Rows that left and nobody was told of, because the append that drove them out failed.
    untold: Ranges,
    appends: u32,
}

impl Buffer {
    /// Stores `append` and returns once it is on disk.
    ///
    /// # Errors
    /// [`BufferError::DiskFull`] when even making room did not help; nothing of `append` is stored then.
    pub fn append(&mut self, append: &Append) -> Result<Appended, BufferError> {
        let evicted = self.make_room(append)?;
        self.untold.extend(evicted.iter());
        let appended = match self.try_append(append) {
            Err(error) if is_full(&error, &self.settings.path) => {
                // The disk is fuller than our own cap says: let go of what we can, then try once more.
                let evicted = self.evict_some()?;
                self.untold.extend(evicted.iter());
                self.try_append(append)
            }
            result => result,
        };
        let appended = appended.map_err(|error| self.explain(error))?;
        Ok(Appended { evicted: std::mem::take(&mut self.untold), ..appended })
    }

    fn try_append(&mut self, append: &Append) -> Result<Appended, rusqlite::Error> {
        let marking = !self.marks.is_empty() && self.appends.is_multiple_of(APPENDS_PER_MARKING);
        let first_row = self.next_row;
        if Bug::NumberOutside.is_on() {
            self.next_row += append.batches.len() as u64;
        }
        if Bug::CursorFirst.is_on() {
            let transaction = self.connection.transaction()?;
            let cursors = Append { cursors: append.cursors.clone(), ..Append::default() };
            insert_rest(&transaction, &cursors, self.settings.rejects_max())?;
            transaction.commit()?;
        }
        let transaction = self.connection.transaction()?;
        let mut epoch = self.epoch;
        let mut began = None;
        if epoch.is_none() && !append.batches.is_empty() {
            let span = begin_epoch(&transaction, &self.clock, first_row)?;
            (epoch, began) = (Some(span), Some(span));
        }
        let mut next_row = first_row;
        for batch in &append.batches {
            insert_batch(&transaction, next_row, batch)?;
            next_row += 1;
        }
        insert_rest(&transaction, append, self.settings.rejects_max())?;
        if marking {
            insert_marks(&transaction, &self.marks)?;
        }
        transaction.commit()?;

        let rows = Range::new(first_row, next_row.saturating_sub(1));
        (self.epoch, self.next_row) = (epoch, next_row);
        self.appends = self.appends.wrapping_add(1);
        if marking {
            self.marks = Ranges::new();
        }
        Ok(Appended { rows, began, evicted: Ranges::new(), gaps: Ranges::new() })
    }

    /// Consecutive batches of one epoch out of `within`, as many as fit `bytes_max` (at least one), from its end or its start.
    /// None when nothing is there any more.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn peek(&self, within: Range, newest_first: bool, bytes_max: usize) -> Result<Option<Parcel>, BufferError> {
        let (order, edge) = if newest_first { ("desc", within.last) } else { ("asc", within.first) };
        let Some((span, rows)) = span_of(&self.connection, edge)? else { return Ok(None) };
        let Some(within) = within.intersect(rows) else { return Ok(None) };
        let query =
            format!("select row, hash, body, readings from batch where row between ? and ? order by row {order}");
        let mut statement = self.connection.prepare_cached(&query)?;
        let mut rows = statement.query([row_key(within.first), row_key(within.last)])?;
        let mut found: Vec<(u64, Sealed)> = Vec::new();
        let mut left = bytes_max.saturating_sub(proto::frame::HEADER_BYTES_MAX);
        let mut readings_left = proto::frame::FRAME_READINGS_MAX;
        while let Some(row) = rows.next()? {
            let number: u64 = row.get::<_, i64>(0)?.cast_unsigned();
            let sealed = Sealed { hash: BodyHash(row.get(1)?), body: row.get(2)? };
            let consecutive = found.last().is_none_or(|(last, _)| last.abs_diff(number) == 1);
            let readings = usize::try_from(row.get::<_, i64>(3)?).unwrap_or(0);
            let fits = (sealed.frame_bytes() <= left && readings <= readings_left) || found.is_empty();
            if !consecutive || !fits || found.len() == proto::frame::FRAME_BATCHES_MAX {
                break;
            }
            left = left.saturating_sub(sealed.frame_bytes());
            readings_left = readings_left.saturating_sub(readings);
            found.push((number, sealed));
        }
        drop(rows);
        if newest_first {
            found.reverse();
        }
        self.parcel(&span, found)
    }

    fn parcel(&self, span: &EpochSpan, found: Vec<(u64, Sealed)>) -> Result<Option<Parcel>, BufferError> {
        let (Some(first), Some(last)) = (found.first().map(|f| f.0), found.last().map(|f| f.0)) else {
            return Ok(None);
        };
        let clock = if span.boot == self.clock.boot { self.clock } else { clock_of(&self.connection, span.boot)? };
        let header =
            Header { epoch: span.epoch, first: first - span.base, lane: lane_of(&self.connection, last)?, clock };
        let bodies = found.into_iter().map(|(_, sealed)| sealed).collect();
        Ok(Some(Parcel { rows: Range { first, last }, frame: Frame { header, bodies } }))
    }

    /// Notes that receipts cover `rows`: they are the first to go when space is needed. Written with a later append.
    pub fn mark(&mut self, rows: &Ranges) {
        self.marks.extend(rows.iter());
    }

    /// Lets go of `rows` as nothing but a seeded bug may: without a receipt, without a gap.
    #[cfg(feature = "seeded-bugs")]
    pub(crate) fn forget(&mut self, rows: Range) -> Result<(), BufferError> {
        let rows = [row_key(rows.first), row_key(rows.last)];
        self.connection.execute("delete from batch where row between ? and ?", rows)?;
        Ok(())
    }

    /// Takes marks back: the gateway no longer has `rows`.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn unmark(&mut self, rows: &Ranges) -> Result<(), BufferError> {
        self.flush_marks()?;
        let mut settled = self.settled()?;
        rows.iter().for_each(|range| settled.remove(range));
        let transaction = self.connection.transaction()?;
        write_settled(&transaction, &settled)?;
        transaction.commit()?;
        Ok(())
    }

    /// Writes marks that no append has taken along.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn flush_marks(&mut self) -> Result<(), BufferError> {
        if !self.marks.is_empty() {
            let transaction = self.connection.transaction()?;
            insert_marks(&transaction, &self.marks)?;
            transaction.commit()?;
            self.marks = Ranges::new();
        }
        Ok(())
    }

    /// The gaps of `within`, oldest first, at most `limit` of them: what the gateway has to be told.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn gaps(&self, _within: Range, _limit: usize) -> Result<Vec<proto::message::Gap>, BufferError> {
        Ok(Vec::new())
    }

    /// Notes that the gateway refused `row` for good: it stays, and is not sent again, not even after a restart.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn set_aside(&mut self, _row: u64, _reason: &str) -> Result<(), BufferError> {
        Ok(())
    }

    /// Tells the buffer what is now known of this boot's time; kept for batches that are sent after a restart.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn set_clock(&mut self, clock: Clock) -> Result<(), BufferError> {
        self.clock = clock;
        write_clock(&self.connection, &clock)?;
        Ok(())
    }

    /// What an earlier start in `boot` knew of the time: [`proto::Quality::Unset`] if there was none.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn kept_clock(&self, boot: BootId) -> Result<Clock, BufferError> {
        Ok(clock_of(&self.connection, boot)?)
    }

    /// What is there, for the uplink.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn contents(&self) -> Result<Contents, BufferError> {
        let (gaps, aside) = (Ranges::new(), Ranges::new());
        Ok(Contents { held: self.held()?, settled: self.settled()?, gaps, aside, epochs: epochs(&self.connection)? })
    }

    fn held(&self) -> Result<Ranges, rusqlite::Error> {
        // Runs of consecutive rows: within a run, row minus rank is the same.
        let query = "select min(row), max(row) from
            (select row, row - row_number() over (order by row) as run from batch) group by run order by 1";
        ranges(&self.connection, query)
    }

    fn settled(&self) -> Result<Ranges, rusqlite::Error> {
        ranges(&self.connection, "select first, last from settled order by first")
    }

    /// Every source's cursor.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn cursors(&self) -> Result<HashMap<String, Vec<u8>>, BufferError> {
        let mut statement = self.connection.prepare("select source, position from cursor")?;
        let cursors = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(cursors.collect::<Result<_, _>>()?)
    }

    /// The same error, said in our words where we know what it means.
    fn explain(&self, error: rusqlite::Error) -> BufferError {
        explain(error, &self.settings.path)
    }
}

fn explain(error: rusqlite::Error, path: &Path) -> BufferError {
    if is_full(&error, path) {
        BufferError::DiskFull { path: path.into(), source: error }
    } else {
        BufferError::Sqlite(error)
    }
}

/// Whether `error` comes of a full disk. SQLite says so outright only for some files; for its shared memory, say, it
/// speaks of an I/O error, so the disk itself is asked too.
fn is_full(error: &rusqlite::Error, path: &Path) -> bool {
    let said = error.sqlite_error_code();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let no_room = || rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail * disk.f_frsize < SPARE_BYTES_MIN);
    said == Some(rusqlite::ErrorCode::DiskFull)
        || (matches!(said, Some(rusqlite::ErrorCode::SystemIoFailure | rusqlite::ErrorCode::CannotOpen)) && no_room())
}
