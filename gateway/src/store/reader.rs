//! What can be asked of a store, the same for every database: each answer from one moment, within its deadline.

use std::sync::Arc;
use std::time::Instant;

use super::error::ReadError;
use super::ledger::TENANT;
use super::sql::Db;

mod buckets;
mod chart;
mod devices;
mod ledger;
mod people;
mod readings;
mod series;

pub(super) use readings::VISIBLE;

/// Who answers questions. Clones share a few connections.
#[derive(Clone)]
pub struct Reader {
    pool: Arc<dyn Pool>,
}

/// What can be asked. All answers are of the moment when the view was opened.
#[derive(Clone, Copy)]
pub struct View<'a> {
    db: Db<'a>,
}

/// A question, with room for its answer.
pub(super) type Question<'q> = &'q mut dyn FnMut(View<'_>) -> Result<(), ReadError>;

/// A few connections that read.
pub(super) trait Pool: Send + Sync {
    /// What the settings call this kind of store.
    fn kind(&self) -> &'static str;

    /// Has `question` asked of one moment's view. Blocks, at most until `deadline`: waiting for a connection, and
    /// within a query.
    fn view(&self, deadline: Instant, question: Question<'_>) -> Result<(), ReadError>;
}

impl<'a> View<'a> {
    pub(super) fn new(db: Db<'a>) -> Self {
        Self { db }
    }

    pub(super) fn db(&self) -> Db<'a> {
        self.db
    }

    /// Answers if the database does.
    ///
    /// # Errors
    /// Too late, or the database.
    pub fn check(&self) -> Result<(), ReadError> {
        Ok(self.db.prepare("select id from tenant where id = ?").one([TENANT], |_| Ok(()))?)
    }
}

impl Reader {
    pub(super) fn new(pool: impl Pool + 'static) -> Self {
        Self { pool: Arc::new(pool) }
    }

    /// What the settings call this kind of store.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.pool.kind()
    }

    /// Answers what `ask` asks of one moment's view. Blocks, at most until `deadline`: waiting for a connection, and
    /// within a query.
    ///
    /// # Errors
    /// The deadline has passed, or the database.
    pub fn view<T>(
        &self,
        deadline: Instant,
        ask: impl FnOnce(View<'_>) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let (mut ask, mut answer) = (Some(ask), None);
        self.pool.view(deadline, &mut |view| {
            if let Some(ask) = ask.take() {
                answer = Some(ask(view)?);
            }
            Ok(())
        })?;
        answer.ok_or(ReadError::Late)
    }
}
