//! Reading beside the writer: a few connections, each query within its deadline.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use rusqlite::Connection;

use super::Driver;
use crate::store::error::ReadError;
use crate::store::reader::{self, Question, View};
use crate::store::sql::Db;

/// Steps of SQLite's machine between two looks at the clock: some tenth of a millisecond.
const STEPS: i32 = 10_000;

/// A few connections.
pub(super) struct Pool {
    free: Mutex<Vec<Connection>>,
    freed: Condvar,
}

impl Pool {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        Self { free: Mutex::new(connections), freed: Condvar::new() }
    }

    fn lend(&self, deadline: Instant) -> Result<Lent<'_>, ReadError> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(connection) = free.pop() {
                return Ok(Lent { pool: self, connection: Some(connection) });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ReadError::Late);
            }
            free = self.freed.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl reader::Pool for Pool {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn view(&self, deadline: Instant, question: Question<'_>) -> Result<(), ReadError> {
        let mut lent = self.lend(deadline)?;
        let db = lent.connection()?;
        db.progress_handler(STEPS, Some(move || Instant::now() >= deadline))?;
        let moment = db.unchecked_transaction()?;
        let answer = question(View::new(Db::new(&Driver::of(&moment))));
        moment.finish()?;
        answer
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
