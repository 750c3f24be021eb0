//! The SQL that SQLite and PostgreSQL both speak, asked for in one way.
//!
//! The rules of the ledger are written once, in the dialect that both have: placeholders are `?1`, `?2` … (or a lone
//! `?`), numbers are 64-bit, a truth is 0 or 1. What differs, and what must be fast, is behind [`Driver`].

use proto::{DeviceId, Number};

use super::feed::{Place, Span};

mod cell;

pub(crate) use cell::{Cell, FromCell, ToCell};

/// A database at work: one transaction of a writer, or one moment's view of a reader.
#[derive(Clone, Copy)]
pub(crate) struct Db<'a>(&'a dyn Driver);

/// What each database does in its own way.
pub(crate) trait Driver {
    /// Runs a statement. Answers how many rows it touched.
    fn execute(&self, sql: &str, values: &[Cell<'_>]) -> Result<usize, SqlError>;

    /// Runs a query, and shows each row of its answer.
    fn each(
        &self,
        sql: &str,
        values: &[Cell<'_>],
        row: &mut dyn FnMut(&Row<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError>;

    /// Runs one statement for each of `rows`, in their order.
    fn execute_many(&self, statement: &Many, rows: &[Vec<Cell<'_>>]) -> Result<(), SqlError>;

    /// Runs one query for each of `rows`, and shows each row of the answers.
    fn each_many(
        &self,
        query: &Many,
        rows: &[Vec<Cell<'_>>],
        row: &mut dyn FnMut(&Row<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError>;

    /// Appends readings. A database may hold them back until the transaction needs them or ends.
    fn append(&self, run: &Run, rows: &mut dyn Iterator<Item = ReadingRow<'_>>) -> Result<(), SqlError>;

    /// The id before the first that this transaction may give to a reading; `last` is the last that we have given.
    fn reserve_readings(&self, last: i64) -> Result<i64, SqlError>;

    /// Notes for those who read the feed that this transaction added the readings after `before` up to `last`.
    fn note_feed(&self, before: i64, last: i64) -> Result<(), SqlError>;

    /// What was committed after `after`, in the order of commits, at most `readings_max` readings. A span that goes to
    /// the end of all ids may have more than that.
    fn feed(&self, after: Place, readings_max: usize) -> Result<Vec<Span>, SqlError>;

    /// Where the feed ends.
    fn feed_end(&self) -> Result<Place, SqlError>;

    /// Notes whether a device has a connection to this gateway. That it has none any more does not undo that it has
    /// one to another.
    fn note_presence(&self, device: i64, connected: bool) -> Result<(), SqlError>;

    /// Where others write as well: enters `devices` as far as they are new, locks them in this order for the
    /// transaction, and answers the key and the version of each.
    fn lock(&self, devices: &[&DeviceId]) -> Result<Vec<Locked>, SqlError>;
}

/// A device that this transaction alone may change.
pub(crate) struct Locked {
    /// Its key.
    pub(crate) key: i64,
    /// Moved by each transaction that changes anything of the device.
    pub(crate) version: i64,
}

/// A statement or a query for many rows.
pub(crate) struct Many {
    /// For one row.
    pub(crate) one: &'static str,
    /// For all, in PostgreSQL: parameter n is the array of all rows' n-th values.
    pub(crate) all: &'static str,
}

/// What readings that are appended together share.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    /// The key of their epoch, and their number in it; none for a SenML pack.
    pub(crate) batch: Option<(i64, Number)>,
    /// The key of their series.
    pub(crate) series: i64,
    /// How their time is known.
    pub(crate) quality: i64,
}

/// A row of table `reading`, but for its [`Run`].
pub(crate) struct ReadingRow<'a> {
    pub(crate) id: i64,
    pub(crate) time_us: i64,
    pub(crate) ordinal: i64,
    pub(crate) value: Option<f64>,
    pub(crate) form: i64,
    pub(crate) code: Option<i64>,
    pub(crate) text: Option<&'a str>,
    pub(crate) utc_offset_minutes: Option<i16>,
    pub(crate) local_text: Option<&'a str>,
    pub(crate) flags: i64,
}

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// SQLite itself.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL, or the way to it.
    #[error("database: {}", crate::store::postgres::told(.0))]
    Postgres(tokio_postgres::Error),
    /// PostgreSQL cannot be reached.
    #[error("database: {0}")]
    Away(String),
    /// PostgreSQL did not answer in time.
    #[error("database: no answer in time")]
    Late,
    /// A value does not fit where it should be written.
    #[error("database: {0}")]
    Misfit(String),
    /// A query that must have an answer had none.
    #[error("database: a row that must be there is not")]
    NoRow,
    /// A column holds what it cannot hold.
    #[error("database: column {column} holds {found}")]
    Column {
        /// Counted from 0.
        column: usize,
        /// What it holds.
        found: &'static str,
    },
}

/// One row of an answer.
pub(crate) struct Row<'a>(pub(crate) &'a dyn Cells);

/// The columns of a row.
pub(crate) trait Cells {
    /// The cell of a column, counted from 0.
    fn cell(&self, column: usize) -> Result<Cell<'_>, SqlError>;
}

/// A statement, to be run.
pub(crate) struct Statement<'a, 's> {
    db: Db<'a>,
    sql: &'s str,
}

/// The values of a statement's placeholders.
pub(crate) trait Values {
    /// In their order.
    fn with<T>(&self, act: impl FnOnce(&[Cell<'_>]) -> T) -> T;
}

/// The values of a statement's placeholders, of any kinds.
macro_rules! params {
    ($($value:expr),* $(,)?) => { [$($crate::store::sql::ToCell::to_cell(&$value)),*] };
}
pub(crate) use params;

impl<'a> Db<'a> {
    pub(crate) fn new(driver: &'a dyn Driver) -> Self {
        Self(driver)
    }

    /// What each database does in its own way.
    pub(crate) fn driver(self) -> &'a dyn Driver {
        self.0
    }

    /// A statement that the database prepares once.
    pub(crate) fn prepare<'s>(self, sql: &'s str) -> Statement<'a, 's> {
        Statement { db: self, sql }
    }
}

impl Statement<'_, '_> {
    /// Answers how many rows it touched.
    pub(crate) fn execute(&self, values: impl Values) -> Result<usize, SqlError> {
        values.with(|values| self.db.0.execute(self.sql, values))
    }

    /// Shows each row of the answer.
    pub(crate) fn each(
        &self,
        values: impl Values,
        mut row: impl FnMut(&Row<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        values.with(|values| self.db.0.each(self.sql, values, &mut row))
    }

    /// What `read` makes of the rows of the answer, which must not be many.
    pub(crate) fn rows<T>(
        &self,
        values: impl Values,
        mut read: impl FnMut(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, SqlError> {
        let mut rows = Vec::new();
        self.each(values, |row| {
            rows.push(read(row)?);
            Ok(())
        })?;
        Ok(rows)
    }

    /// What `read` makes of the first row, if there is one.
    pub(crate) fn first<T>(
        &self,
        values: impl Values,
        read: impl FnMut(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<Option<T>, SqlError> {
        Ok(self.rows(values, read)?.into_iter().next())
    }

    /// What `read` makes of the row that must be there.
    pub(crate) fn one<T>(
        &self,
        values: impl Values,
        read: impl FnMut(&Row<'_>) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        self.first(values, read)?.ok_or(SqlError::NoRow)
    }
}

impl Row<'_> {
    /// What a column, counted from 0, holds.
    pub(crate) fn get<T: FromCell>(&self, column: usize) -> Result<T, SqlError> {
        T::from_cell(self.0.cell(column)?).map_err(|found| SqlError::Column { column, found })
    }
}

impl<const N: usize> Values for [Cell<'_>; N] {
    fn with<T>(&self, act: impl FnOnce(&[Cell<'_>]) -> T) -> T {
        act(self)
    }
}

impl Values for &[Cell<'_>] {
    fn with<T>(&self, act: impl FnOnce(&[Cell<'_>]) -> T) -> T {
        act(self)
    }
}

impl<const N: usize> Values for [i64; N] {
    fn with<T>(&self, act: impl FnOnce(&[Cell<'_>]) -> T) -> T {
        act(&self.map(Cell::Int))
    }
}
