//! What the buffer counts of itself: how long it has run, and what it has written. It rides in an append every ten
//! minutes, so that it costs flash next to nothing; what a sudden end takes with it is at most those ten minutes.

use std::fs;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::rows::{row_key, tally};

/// How often it is written.
const WRITE_EVERY: Duration = Duration::from_secs(600);
/// How long what receipts cover is kept, in hours of uptime: 30 days.
const KEEP_HOURS: u64 = 30 * 24;

/// Counts since they were last written.
#[derive(Debug)]
pub(super) struct Upkeep {
    since: Instant,
    /// Seconds of uptime that are written.
    uptime_s: u64,
    commits: u64,
    readings: u64,
    /// Bytes that this process had written when it was last asked.
    written: u64,
}

impl Upkeep {
    pub(super) fn read(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let query = "select count from tally where name = 'uptime seconds'";
        let uptime_s: Option<i64> = connection.query_row(query, [], |row| row.get(0)).optional()?;
        let uptime_s = uptime_s.unwrap_or(0).cast_unsigned();
        Ok(Self { since: Instant::now(), uptime_s, commits: 0, readings: 0, written: 0 })
    }

    pub(super) fn is_due(&self) -> bool {
        self.since.elapsed() >= WRITE_EVERY
    }

    pub(super) fn committed(&mut self, readings: u64) {
        self.commits += 1;
        self.readings += readings;
    }

    /// Writes what was counted. `last_row` is there by now; it is old once [`KEEP_HOURS`] have passed.
    pub(super) fn write(&mut self, transaction: &Transaction<'_>, last_row: u64) -> Result<(), rusqlite::Error> {
        let uptime_s = self.since.elapsed().as_secs();
        let written = bytes_written();
        for (name, more) in [
            ("uptime seconds", uptime_s),
            ("commits", self.commits),
            ("accepted readings", self.readings),
            ("flash bytes written", written.saturating_sub(self.written)),
        ] {
            tally(transaction, name, more)?;
        }
        let hour = row_key((self.uptime_s + uptime_s) / 3_600);
        let query = "insert into age (hour, last_row) values (?, ?) on conflict (hour) do nothing";
        transaction.prepare_cached(query)?.execute([hour, row_key(last_row)])?;
        // Of the hours that are past keeping, the last says all.
        let query = "delete from age where hour < (select max(hour) from age where hour <= ?)";
        transaction.prepare_cached(query)?.execute([hour - row_key(KEEP_HOURS)])?;
        Ok(())
    }

    /// To be called once what [`Self::write`] wrote is committed.
    pub(super) fn wrote(&mut self) {
        let uptime_s = self.uptime_s + self.since.elapsed().as_secs();
        *self = Self { since: Instant::now(), uptime_s, commits: 0, readings: 0, written: bytes_written() };
    }

    /// The newest row that has been there for longer than settled batches are kept.
    pub(super) fn old_row(&self, connection: &Connection) -> Result<Option<u64>, rusqlite::Error> {
        let hour = (self.uptime_s / 3_600).checked_sub(KEEP_HOURS);
        let Some(hour) = hour else { return Ok(None) };
        let query = "select max(last_row) from age where hour <= ?";
        let row: Option<i64> = connection.query_row(query, [row_key(hour)], |row| row.get(0))?;
        Ok(row.map(i64::cast_unsigned))
    }
}

/// Bytes that this process caused to be written to disk, as the kernel counts them; 0 where it does not.
fn bytes_written() -> u64 {
    let counts = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = counts.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}
