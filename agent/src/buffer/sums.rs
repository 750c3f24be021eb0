//! Sums over rows: what tells a value that changed on the disk from the one that was written.
//!
//! SQLite's own checks find pages that make no sense. A flipped bit within a value passes them, and would silently give a
//! batch another identity or time, or a source another place to resume from. So each row of the small tables has a sum
//! over its values, and a batch one over its place in the world. A row that fails is damage like any other: the file is
//! salvaged without it.

use proto::{BodyHash, Epoch};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};

use super::rows::{count_epochs, fill_boots, row_key};

/// A table whose rows carry a sum.
pub(super) struct Summed {
    pub(super) table: &'static str,
    /// What the sum is over, in this order.
    pub(super) columns: &'static [&'static str],
    /// What finds a row again.
    key: &'static str,
}

pub(super) const EPOCH: Summed = Summed { table: "epoch", columns: &["epoch", "base", "boot"], key: "epoch" };
pub(super) const BOOT: Summed = Summed { table: "boot", columns: &["boot", "offset_us", "quality"], key: "boot" };
pub(super) const SETTLED: Summed = Summed { table: "settled", columns: &["first", "last"], key: "first" };
pub(super) const CURSOR: Summed = Summed { table: "cursor", columns: &["source", "position"], key: "source" };
pub(super) const GAP: Summed = Summed {
    table: "gap",
    columns: &["first_row", "last_row", "readings", "reason", "source", "from_us", "until_us", "confirmed"],
    key: "first_row",
};
pub(super) const ASIDE: Summed = Summed { table: "aside", columns: &["row", "reason"], key: "row" };
pub(super) const COUNTER: Summed = Summed { table: "counter", columns: &["name", "value"], key: "name" };
pub(super) const ALL: [&Summed; 7] = [&EPOCH, &BOOT, &SETTLED, &CURSOR, &GAP, &ASIDE, &COUNTER];

impl Summed {
    /// The sum of a row that has these values: the first 8 bytes of a SHA-256, which no damage hits by chance.
    pub(super) fn of<'v>(&self, values: impl IntoIterator<Item = ValueRef<'v>>) -> i64 {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(self.table.as_bytes());
        for value in values {
            let (kind, content): (u8, &[u8]) = match value {
                ValueRef::Null => (0, &[]),
                ValueRef::Integer(number) => {
                    bytes.push(1);
                    bytes.extend_from_slice(&number.to_be_bytes());
                    continue;
                }
                ValueRef::Real(_) => (2, &[]), // no table has one
                ValueRef::Text(text) => (3, text),
                ValueRef::Blob(blob) => (4, blob),
            };
            bytes.push(kind);
            bytes.extend_from_slice(&(content.len() as u64).to_be_bytes());
            bytes.extend_from_slice(content);
        }
        first_eight(&bytes)
    }

    /// Takes `row` for what it says. It must begin with the table's columns, and have the sum right behind them.
    ///
    /// # Errors
    /// As a damaged file, when its sum is another one.
    pub(super) fn verify(&self, row: &Row<'_>) -> Result<(), rusqlite::Error> {
        let values = (0..self.columns.len()).map(|column| row.get_ref(column)).collect::<Result<Vec<_>, _>>()?;
        let found: Option<i64> = row.get(self.columns.len())?;
        if found == Some(self.of(values)) { Ok(()) } else { Err(damage(self.table)) }
    }

    /// The columns with the sum behind them, for a query whose rows are to be verified.
    pub(super) fn with_sum(&self) -> String {
        format!("{}, sum", self.columns.join(", "))
    }

    fn verify_all(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        let mut statement = connection.prepare(&format!("select {} from {}", self.with_sum(), self.table))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.verify(row)?;
        }
        Ok(())
    }

    fn write_all(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        let (columns, table, key) = (self.columns.join(", "), self.table, self.key);
        let mut statement = connection.prepare(&format!("select {columns}, {key} from {table}"))?;
        let mut rows = statement.query([])?;
        let mut sums: Vec<[Value; 2]> = Vec::new();
        while let Some(row) = rows.next()? {
            let values = (0..self.columns.len()).map(|column| row.get_ref(column)).collect::<Result<Vec<_>, _>>()?;
            sums.push([Value::Integer(self.of(values)), row.get(self.columns.len())?]);
        }
        let mut update = connection.prepare(&format!("update {table} set sum = ? where {key} = ?"))?;
        sums.into_iter().try_for_each(|sum| update.execute(params_from_iter(sum)).map(drop))
    }
}

/// The sum of a batch: over who it is, and over what is kept of it beside its body.
pub(super) fn of_batch(epoch: Epoch, row: u64, [lane, readings, priority]: [i64; 3], hash: BodyHash) -> i64 {
    let mut bytes = b"batch".to_vec();
    bytes.extend_from_slice(&epoch.0);
    for number in [row_key(row), lane, readings, priority] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(&hash.0);
    first_eight(&bytes)
}

fn first_eight(bytes: &[u8]) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = BodyHash::of(bytes).0;
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Whether all rows of the small tables are what was written, and no epoch is missing: then numbers would be taken for
/// another epoch's.
///
/// # Errors
/// As a damaged file.
pub(super) fn verify(connection: &Connection) -> Result<(), rusqlite::Error> {
    ALL.iter().try_for_each(|summed| summed.verify_all(connection))?;
    if epochs_are_all_there(connection)? { Ok(()) } else { Err(damage("epoch")) }
}

/// Whether there are as many epochs as were counted.
pub(super) fn epochs_are_all_there(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let query = "select (select count(*) from epoch) = coalesce((select value from counter where name = 'epochs'), 0)
        and not exists (select 1 from epoch where boot not in (select boot from boot))";
    connection.query_row(query, [], |row| row.get(0))
}

/// Gives the rows of before version 3 their sums.
pub(super) fn write(connection: &Connection) -> Result<(), rusqlite::Error> {
    ALL.iter().try_for_each(|summed| summed.write_all(connection))?;
    fill_boots(connection)?;
    count_epochs(connection)
}

/// What says that a row of `table` is not what was written.
pub(super) fn damage(table: &str) -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(code, Some(format!("a row of `{table}` is not what was written")))
}
