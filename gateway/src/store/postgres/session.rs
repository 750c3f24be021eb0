//! One connection, driven by whoever waits for its answer: no other thread is woken for it, and none shares it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, Statement};

use super::cells::Misfit;
use super::placeholders::{needs_readings, numbered};
use super::settings::Settings;
use crate::store::error::StoreError;
use crate::store::sql::SqlError;

/// Statements that a connection keeps prepared. The program has fewer; beyond it all are forgotten and prepared again.
const PREPARED_MAX: usize = 512;

/// An open connection.
pub(super) struct Session {
    /// Drives the connection while somebody waits. Only `None` while it is dropped.
    runtime: Option<Runtime>,
    client: Client,
    prepared: RefCell<HashMap<String, Prepared>>,
    /// Months of readings that have their partition.
    pub(super) months: RefCell<BTreeSet<i32>>,
}

/// A statement that the server knows.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) statement: Statement,
    /// It reads or changes the table `reading`.
    pub(super) needs_readings: bool,
}

/// How long to wait for an answer.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    /// So long for each.
    Each(Duration),
    /// Until then.
    Until(Instant),
}

impl Patience {
    fn left(self) -> Duration {
        match self {
            Self::Each(most) => most,
            Self::Until(deadline) => deadline.saturating_duration_since(Instant::now()),
        }
    }
}

impl Session {
    /// Connects as `settings` say, with `options` for the server. Blocks, and must not be called by an async task.
    pub(super) fn open(settings: &Settings, role: &str, options: &str) -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| SqlError::Away(format!("no runtime for a connection: {error}")))?;
        let client = runtime.block_on(settings.connect(role, options, None))?;
        Ok(Self { runtime: Some(runtime), client, prepared: RefCell::default(), months: RefCell::default() })
    }

    /// What is asked, where it is driven.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for an answer.
    pub(super) fn wait<T>(
        &self,
        patience: Patience,
        answer: impl Future<Output = Result<T, SqlError>>,
    ) -> Result<T, SqlError> {
        let Some(runtime) = &self.runtime else { return Err(SqlError::Late) };
        let answer = runtime.block_on(async { tokio::time::timeout(patience.left(), answer).await });
        answer.unwrap_or(Err(SqlError::Late))
    }

    /// Runs statements that have neither parameters nor an answer.
    pub(super) fn run(&self, patience: Patience, sql: &str) -> Result<(), SqlError> {
        self.wait(patience, async { Ok(self.client.batch_execute(sql).await?) })
    }

    /// A statement of the shared dialect, prepared once.
    pub(super) async fn prepared(&self, sql: &str) -> Result<Prepared, SqlError> {
        if let Some(known) = self.prepared.borrow().get(sql) {
            return Ok(known.clone());
        }
        let statement = self.client.prepare(&numbered(sql)).await?;
        let new = Prepared { statement, needs_readings: needs_readings(sql) };
        let mut prepared = self.prepared.borrow_mut();
        if prepared.len() >= PREPARED_MAX {
            prepared.clear();
        }
        prepared.insert(sql.to_owned(), new.clone());
        Ok(new)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // An async task may be the one that drops it, and must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl From<tokio_postgres::Error> for SqlError {
    fn from(error: tokio_postgres::Error) -> Self {
        let misfit = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Misfit>());
        match misfit {
            Some(misfit) => Self::Misfit(misfit.to_string()),
            None => Self::Postgres(error),
        }
    }
}
