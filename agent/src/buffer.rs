//! The agent's store of sealed batches: what is in here was *accepted*, and leaves only when a receipt covers it or a
//! gap names it.
//!
//! One SQLite file in WAL mode with `synchronous=FULL`, written by one thread ([`Handle`]). A batch's row is its
//! epoch's base plus its number, so the rest of the agent speaks of rows: one growing line of numbers over all starts.

use std::path::PathBuf;

use proto::frame::{Header, Sealed};
use proto::{BootId, Clock, Epoch, Frame, Lane, Range, Ranges};
use rusqlite::Connection;

use crate::source::{Priority, Reject, SourceName};

use self::error::{disk_bytes, explain};
use self::marks::Marks;
use self::reserve::Reserve;
use self::rows::{BATCH_COLUMNS, Stored, clock_of, epochs, held, ranges, row_key, settled, span_of, write_clock};
use self::upkeep::Upkeep;

mod access;
mod append;
mod cursors;
mod error;
mod gaps;
mod handle;
mod marks;
mod open;
mod private;
mod reserve;
mod retention;
mod rows;
mod salvage;
mod sums;
mod upkeep;
mod wal;

pub use access::Access;
pub use error::BufferError;
pub use handle::Handle;

/// How large the buffer may grow, and where it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file; its `-wal` and `-shm` lie beside it.
    pub path: PathBuf,
    /// Bytes that file and WAL may take together.
    pub bytes_max: u64,
    /// Free bytes that are left to the disk: below, batches leave rather than that the file grows. At most a sixteenth of
    /// the disk counts; 0 is no floor.
    pub free_bytes_min: u64,
}

impl Settings {
    /// How many rejects are kept: at 4 KiB each, a sixteenth of the file, so that they never drive readings out.
    fn rejects_max(&self) -> u64 {
        (self.bytes_max / 16 / 4_096).clamp(64, 10_000)
    }

    /// Pages in the WAL before it is copied back: 2 MiB at 4 KiB a page, less in a small buffer or on a small disk.
    fn checkpoint_pages(&self) -> u64 {
        let disk = disk_bytes(&self.path).map_or(u64::MAX, |(_, all)| all);
        (self.bytes_max.min(disk) / 32 / 4_096).clamp(64, 512)
    }

    /// Bytes of the reserve: what the WAL may hold, should all of it be new to the file, and half as much again for the
    /// append that finds the disk full.
    fn reserve_bytes(&self) -> u64 {
        self.checkpoint_pages() * 4_096 * 3 / 2
    }
}

/// A batch on its way into the buffer.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Which queue it leaves by.
    pub lane: Lane,
    /// How long it is kept when there is no room for all.
    pub priority: Priority,
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
    /// What is only counted, by what `tributary-agent status` calls it.
    pub counts: Vec<(&'static str, u64)>,
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

impl Loss {
    /// What a damaged file may have held beyond what is known of it.
    fn by_damage() -> Self {
        Self { source: None, from: None, until: None, count: None, reason: proto::message::GapReason::Damaged }
    }
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
    /// The row that the next batch or loss will have.
    pub next_row: u64,
}

/// What an append did.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The rows of the batches that were added, none if there were none. Losses have the rows behind them.
    pub rows: Option<Range>,
    /// The epoch they are of, if this append began it.
    pub began: Option<EpochSpan>,
    /// Rows that had to leave since the append before: to make room, for their age, or because they were damaged.
    pub evicted: Ranges,
    /// Rows that became a gap: those of `evicted` that no receipt covered, and losses. Also gaps that are to be told again.
    pub gaps: Ranges,
}

/// Rows that left, and whom nobody was told of yet.
#[derive(Clone, Debug, Default)]
struct Left {
    evicted: Ranges,
    gaps: Ranges,
    /// Gaps that the gateway was told of before, and is to be told of again.
    reopened: Ranges,
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
    marks: Marks,
    /// What the answer to the next append will tell.
    untold: Left,
    /// A salvage left something out that has no number: the next append notes it as a loss.
    lacking: bool,
    appends: u32,
    page_bytes: u64,
    reserve: Reserve,
    /// When a salvage last found no room on the disk.
    no_room_since: Option<std::time::Instant>,
    upkeep: Upkeep,
    /// There may be settled batches that are past keeping.
    expiring: bool,
    /// No batch of normal priority is below this row: what is searched once need not be searched again.
    normal_from: u64,
}

impl Buffer {
    /// Consecutive batches of one epoch out of `within`, as many as fit `bytes_max` (at least one), from its end or its start.
    /// None when nothing is there any more.
    ///
    /// A batch that is not what was sealed leaves with a gap, and the walk goes on.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn peek(&mut self, within: Range, newest_first: bool, bytes_max: usize) -> Result<Option<Parcel>, BufferError> {
        loop {
            match self.sound(|buffer| buffer.try_peek(within, newest_first, bytes_max))? {
                Peeked::Parcel(parcel) => return Ok(parcel),
                Peeked::Damaged(row) => match self.sound(|buffer| buffer.give_up(row)) {
                    Err(BufferError::DiskFull { .. }) => {
                        self.reserve.let_go();
                        self.empty_wal();
                        self.sound(|buffer| buffer.give_up(row))?;
                    }
                    done => done?,
                },
            }
        }
    }

    fn try_peek(&self, within: Range, newest_first: bool, bytes_max: usize) -> Result<Peeked, rusqlite::Error> {
        let (order, edge) = if newest_first { ("desc", within.last) } else { ("asc", within.first) };
        let Some((span, rows)) = span_of(&self.connection, edge)? else { return Ok(Peeked::Parcel(None)) };
        let Some(within) = within.intersect(rows) else { return Ok(Peeked::Parcel(None)) };
        let query = format!("select {BATCH_COLUMNS} from batch where row between ? and ? order by row {order}");
        let mut statement = self.connection.prepare_cached(&query)?;
        let mut rows = statement.query([row_key(within.first), row_key(within.last)])?;
        let mut found: Vec<Stored> = Vec::new();
        let mut left = bytes_max.saturating_sub(proto::frame::HEADER_BYTES_MAX);
        let mut readings_left = proto::frame::FRAME_READINGS_MAX;
        while let Some(row) = rows.next()? {
            let batch = Stored::read(row)?;
            let consecutive = found.last().is_none_or(|last| last.row.abs_diff(batch.row) == 1);
            let readings = usize::try_from(batch.readings).unwrap_or(0);
            let fits = (batch.sealed.frame_bytes() <= left && readings <= readings_left) || found.is_empty();
            if !consecutive || !fits || found.len() == proto::frame::FRAME_BATCHES_MAX {
                break;
            }
            if !batch.sealed.is_intact() {
                if found.is_empty() {
                    return Ok(Peeked::Damaged(batch.row));
                }
                break;
            }
            if !batch.is_at_home_in(span.epoch) {
                return Err(sums::damage("batch")); // which batch it really is, nobody knows
            }
            left = left.saturating_sub(batch.sealed.frame_bytes());
            readings_left = readings_left.saturating_sub(readings);
            found.push(batch);
        }
        drop(rows);
        if newest_first {
            found.reverse();
        }
        self.parcel(&span, found).map(Peeked::Parcel)
    }

    fn parcel(&self, span: &EpochSpan, found: Vec<Stored>) -> Result<Option<Parcel>, rusqlite::Error> {
        let (Some(first), Some(last)) = (found.first().map(|f| f.row), found.last().map(|f| (f.row, f.lane()))) else {
            return Ok(None);
        };
        let clock = if span.boot == self.clock.boot { self.clock } else { clock_of(&self.connection, span.boot)? };
        let header = Header { epoch: span.epoch, first: first - span.base, lane: last.1, clock };
        let bodies = found.into_iter().map(|batch| batch.sealed).collect();
        Ok(Some(Parcel { rows: Range { first, last: last.0 }, frame: Frame { header, bodies } }))
    }

    /// Lets go of `rows` as nothing but a seeded bug may: without a receipt, without a gap.
    #[cfg(feature = "seeded-bugs")]
    pub(crate) fn forget(&mut self, rows: Range) -> Result<(), BufferError> {
        let rows = [row_key(rows.first), row_key(rows.last)];
        self.connection.execute("delete from batch where row between ? and ?", rows)?;
        Ok(())
    }

    /// Tells the buffer what is now known of this boot's time; kept for batches that are sent after a restart.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn set_clock(&mut self, clock: Clock) -> Result<(), BufferError> {
        self.clock = clock;
        self.sound(|buffer| write_clock(&buffer.connection, &clock))
    }

    /// Notes that so many receipts came which the gateway did not sign: `status` shows their sum.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn count_forged(&mut self, count: u64) -> Result<(), BufferError> {
        self.sound(|buffer| {
            let transaction = buffer.connection.transaction()?;
            rows::tally(&transaction, "forged receipts", count)?;
            transaction.commit()
        })
    }

    /// What an earlier start in `boot` knew of the time: [`proto::Quality::Unset`] if there was none.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn kept_clock(&mut self, boot: BootId) -> Result<Clock, BufferError> {
        self.sound(|buffer| clock_of(&buffer.connection, boot))
    }

    /// What is there, for the uplink.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn contents(&self) -> Result<Contents, BufferError> {
        Ok(Contents { next_row: self.next_row, ..contents(&self.connection)? })
    }

    /// The same error, said in our words where we know what it means.
    fn explain(&self, error: rusqlite::Error) -> BufferError {
        explain(error, &self.settings.path)
    }
}

/// What [`Buffer::try_peek`] came upon first.
enum Peeked {
    Parcel(Option<Parcel>),
    /// This row is not what was sealed.
    Damaged(u64),
}

/// What `connection`'s file holds.
fn contents(connection: &Connection) -> Result<Contents, rusqlite::Error> {
    let held = held(connection)?;
    Ok(Contents {
        next_row: held.last().unwrap_or(0) + 1,
        held,
        settled: settled(connection)?,
        gaps: gaps::open(connection)?,
        aside: ranges(connection, "select row, row from aside order by row")?,
        epochs: epochs(connection)?,
    })
}
