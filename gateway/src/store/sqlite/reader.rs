//! Reading beside the writer: a few connections, each query within its deadline, each answer from one moment.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use rusqlite::{Connection, ErrorCode};

mod devices;
mod ledger;
mod people;
mod readings;
mod series;

/// Steps of SQLite's machine between two looks at the clock: some tenth of a millisecond.
const STEPS: i32 = 10_000;

/// A few connections that read. Clones share them.
#[derive(Clone)]
pub struct Reader {
    pool: Arc<Pool>,
}

struct Pool {
    free: Mutex<Vec<Connection>>,
    freed: Condvar,
}

/// What can be asked. All answers are of the moment when the view was opened.
pub struct View<'a> {
    db: &'a Connection,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// SQLite itself.
    #[error("database: {0}")]
    Sqlite(rusqlite::Error),
    /// The question is too large for the time it was given, or too many were asked at once.
    #[error("no answer within the deadline; ask for a shorter span")]
    Late,
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Self::Late,
            _ => Self::Sqlite(error),
        }
    }
}

impl Reader {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        Self { pool: Arc::new(Pool { free: Mutex::new(connections), freed: Condvar::new() }) }
    }

    /// Answers what `ask` asks of one moment's view. Blocks, at most until `deadline`: waiting for a connection, and
    /// within a query.
    ///
    /// # Errors
    /// The deadline has passed, or the disk.
    pub fn view<T>(
        &self,
        deadline: Instant,
        ask: impl FnOnce(View<'_>) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let mut lent = self.lend(deadline)?;
        let db = lent.connection()?;
        db.progress_handler(STEPS, Some(move || Instant::now() >= deadline))?;
        let moment = db.unchecked_transaction()?;
        let answer = ask(View { db: &moment });
        moment.finish()?;
        answer
    }

    fn lend(&self, deadline: Instant) -> Result<Lent<'_>, ReadError> {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(connection) = free.pop() {
                return Ok(Lent { pool: &self.pool, connection: Some(connection) });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ReadError::Late);
            }
            free = self.pool.freed.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A connection that goes back when it is dropped, also by a panic.
struct Lent<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Lent<'_> {
    fn connection(&mut self) -> Result<&mut Connection, ReadError> {
        self.connection.as_mut().ok_or(ReadError::Late)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.extend(self.connection.take());
        drop(free);
        self.pool.freed.notify_one();
    }
}

/// The row of an optional answer.
fn optional<T>(answer: rusqlite::Result<T>) -> Result<Option<T>, ReadError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
