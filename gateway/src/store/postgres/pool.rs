//! Reading beside the writer: a few connections, each question within its deadline.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::driver::Driver;
use super::session::{Patience, Session};
use super::settings::Settings;
use crate::store::error::{ReadError, StoreError};
use crate::store::reader::{self, Question, View};
use crate::store::sql::{Db, SqlError};

/// Every answer of a question is from one moment. No plan is made for values that it has not seen.
const OPTIONS: &str = "-c jit=off -c default_transaction_isolation=repeatable\\ read \
     -c default_transaction_read_only=on -c idle_in_transaction_session_timeout=30s";

/// A few connections, opened when they are first needed.
pub(super) struct Pool {
    settings: Settings,
    free: Mutex<Free>,
    freed: Condvar,
}

struct Free {
    open: Vec<Session>,
    /// How many more may be opened.
    unopened: usize,
}

impl Pool {
    pub(super) fn new(settings: Settings) -> Self {
        let free = Free { open: Vec::new(), unopened: settings.readers_max };
        Self { settings, free: Mutex::new(free), freed: Condvar::new() }
    }

    fn lend(&self, deadline: Instant) -> Result<Lent<'_>, ReadError> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(session) = free.open.pop() {
                return Ok(Lent { pool: self, session: Some(session), is_fine: false });
            }
            if free.unopened > 0 {
                free.unopened -= 1;
                return Ok(Lent { pool: self, session: None, is_fine: false });
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
        "postgres"
    }

    fn view(&self, deadline: Instant, question: Question<'_>) -> Result<(), ReadError> {
        let mut lent = self.lend(deadline)?;
        let session = lent.at_work(deadline)?;
        let answer = question(View::new(Db::new(&Driver::new(session, Patience::Until(deadline)))));
        // Whoever asked has their answer; only the next one cares whether the connection is still good.
        lent.is_fine = session.run(Patience::Until(deadline), "rollback").is_ok();
        answer
    }
}

/// A connection that goes back when it is dropped, if it is still good.
struct Lent<'a> {
    pool: &'a Pool,
    session: Option<Session>,
    is_fine: bool,
}

impl Lent<'_> {
    /// The connection in a transaction. One that has died while nobody used it is replaced.
    fn at_work(&mut self, deadline: Instant) -> Result<&Session, ReadError> {
        let patience = Patience::Until(deadline);
        let left = deadline.saturating_duration_since(Instant::now()).as_millis().max(1);
        let begin = format!("begin; set local statement_timeout = {left}");
        let is_good = self.session.as_ref().is_some_and(|session| session.run(patience, &begin).is_ok());
        if !is_good {
            let new = Session::open(&self.pool.settings, "tributary reader", OPTIONS).map_err(unreachable)?;
            new.run(patience, &begin)?;
            self.session = Some(new);
        }
        self.session.as_ref().ok_or(ReadError::Late)
    }
}

fn unreachable(error: StoreError) -> ReadError {
    match error {
        StoreError::Sql(error) => error.into(),
        other => ReadError::Sql(SqlError::Away(other.to_string())),
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        match self.session.take().filter(|_| self.is_fine) {
            Some(session) => free.open.push(session),
            None => free.unopened += 1,
        }
        drop(free);
        self.pool.freed.notify_one();
    }
}
