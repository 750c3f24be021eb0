//! What the gateway's table of readings holds.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// What the table of readings holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) rows: u64,
    /// A hash over all rows, whatever their order.
    pub(super) content: u64,
    /// A hash over all rows as they were committed.
    pub(super) in_commit_order: u64,
}

impl Table {
    pub(super) fn read(database: &Path) -> anyhow::Result<Self> {
        let connection = open(database)?;
        let mut statement = connection.prepare(
            "select json_array(series.name, series.unit, series.kind, time_us, ordinal, printf('%.17g', value), form,
                      code, text, quality, utc_offset_minutes, local_text, hex(epoch.epoch), number, flags)
             from reading join series on series.id = reading.series left join epoch on epoch.id = reading.epoch
             order by reading.id",
        )?;
        let mut rows = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
        let in_commit_order = hash(&rows);
        rows.sort_unstable();
        Ok(Self { rows: rows.len() as u64, content: hash(&rows), in_commit_order })
    }
}

fn hash(rows: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    rows.hash(&mut hasher);
    hasher.finish()
}

/// How many numbers are noted as missing: in gaps that nothing explains.
pub(super) fn missing_numbers(database: &Path) -> anyhow::Result<u64> {
    let connection = open(database)?;
    let sql = "select coalesce(sum(last - first + 1), 0) from gap where reason = 'unexplained'";
    Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?.cast_unsigned())
}

fn open(database: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}
