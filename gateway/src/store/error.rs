//! Why a store cannot be opened, written or read.

use rusqlite::ErrorCode;
use tokio_postgres::error::SqlState;

use super::sql::SqlError;
use super::sqlite::SQLITE_VERSION_MIN;

/// Why the store cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database itself.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// Another process has the database.
    #[error("{path} is locked: another gateway is writing this database; stop it first")]
    Locked {
        /// The lock file.
        path: String,
    },
    /// The lock file.
    #[error("cannot open the lock file {path}")]
    Lock {
        /// Where it should be.
        path: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The database was last written by a newer program.
    #[error("the database has schema {found}, and this program knows schemas up to {known}; use a newer gateway")]
    NewerSchema {
        /// What it has.
        found: i64,
        /// What we know.
        known: i64,
    },
    /// SQLite lost data in older versions.
    #[error("SQLite {found} is older than {SQLITE_VERSION_MIN}, the first whose WAL reset is safe; link a newer one")]
    TooOld {
        /// Its version number.
        found: i32,
    },
    /// SQLite did not take a setting.
    #[error("SQLite has {name} = {found} where {wanted} was asked for; is the file on a network disk?")]
    Setting {
        /// Which.
        name: &'static str,
        /// What it has.
        found: String,
        /// What it should have.
        wanted: &'static str,
    },
    /// The database cannot be used as it is; the text says what to do.
    #[error("{0}")]
    Unfit(String),
    /// The time-series store beside this one is too far behind.
    #[error("{waiting} readings wait for the time-series store, so no more are taken: {why}")]
    SinkBehind {
        /// How many.
        waiting: u64,
        /// What it says.
        why: String,
    },
    /// A subject's zone.
    #[error("`{zone}` is no time zone; use an IANA name such as Europe/Berlin")]
    Zone {
        /// As it was written.
        zone: String,
    },
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error.into())
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error.into())
    }
}

impl StoreError {
    /// Whether the store as a whole cannot be written now, so that trying the same again later may succeed. Any other
    /// error comes from what was to be written.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Sql(SqlError::Sqlite(error)) => match error.sqlite_error_code() {
                Some(code) => {
                    !matches!(code, ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
                }
                // No answer of SQLite's but of the layer above it: a value that does not fit its column.
                None => false,
            },
            Self::Sql(SqlError::Postgres(error)) => error.code().is_none_or(|state| !blames_what_was_written(state)),
            Self::Sql(SqlError::NoRow | SqlError::Column { .. } | SqlError::Misfit(_)) => false,
            _ => true,
        }
    }

    /// Whether the disk, or what is written on it, failed: the connection that saw it cannot be relied on.
    pub(super) fn is_of_the_disk(&self) -> bool {
        let Self::Sql(SqlError::Sqlite(error)) = self else { return false };
        self.is_unavailable()
            && !matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    }
}

/// Whether PostgreSQL says that a value, rather than the server, is at fault: class 22 (data exception) and 23
/// (integrity constraint violation) of PostgreSQL's appendix A, and a row or field that is too large (54000 to 54023).
fn blames_what_was_written(state: &SqlState) -> bool {
    ["22", "23", "54"].iter().any(|class| state.code().starts_with(class))
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database itself.
    #[error(transparent)]
    Sql(SqlError),
    /// The question is too large for the time it was given, or too many were asked at once.
    #[error("no answer within the deadline; ask for a shorter span")]
    Late,
}

impl From<SqlError> for ReadError {
    fn from(error: SqlError) -> Self {
        match &error {
            SqlError::Sqlite(sqlite) if sqlite.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                Self::Late
            }
            SqlError::Late => Self::Late,
            SqlError::Postgres(postgres) if postgres.code() == Some(&SqlState::QUERY_CANCELED) => Self::Late,
            _ => Self::Sql(error),
        }
    }
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        SqlError::from(error).into()
    }
}
