//! A connection to PostgreSQL for those that may block: what a test prepares and what a judge asks.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// How long a statement may take.
const STATEMENT_DEADLINE: Duration = Duration::from_secs(120);

/// A blocking connection, usable inside of a runtime too. It speaks without TLS.
pub struct Sql {
    client: Arc<Client>,
    runtime: Option<Runtime>,
}

impl Sql {
    /// Connects to `dsn`.
    ///
    /// # Errors
    /// When nobody answers there, or the server refuses.
    pub fn connect(dsn: &str) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let config: tokio_postgres::Config = dsn.parse()?;
        let connect = async move {
            let (client, connection) = config.connect(NoTls).await?;
            // It ends with the runtime, which this owns.
            tokio::spawn(connection);
            Ok(client)
        };
        let client = wait(&runtime, connect).context("connect to PostgreSQL")?;
        Ok(Self { client: Arc::new(client), runtime: Some(runtime) })
    }

    /// Runs statements, one or many.
    ///
    /// # Errors
    /// When one fails, or all take longer than two minutes.
    pub fn run(&self, sql: &str) -> anyhow::Result<()> {
        self.rows(sql).map(drop)
    }

    /// The rows that `sql` yields, each value as text.
    ///
    /// # Errors
    /// When it fails, or takes longer than two minutes.
    pub fn rows(&self, sql: &str) -> anyhow::Result<Vec<Vec<Option<String>>>> {
        let (client, statement) = (Arc::clone(&self.client), sql.to_owned());
        let runtime = self.runtime.as_ref().context("the connection is closed")?;
        let messages = wait(runtime, async move { client.simple_query(&statement).await })
            .with_context(|| format!("run `{}`", sql.chars().take(200).collect::<String>()))?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
            _ => None,
        });
        Ok(rows.collect())
    }

    /// The first column of the first row.
    ///
    /// # Errors
    /// When `sql` fails, yields no row, or a null.
    pub fn value(&self, sql: &str) -> anyhow::Result<String> {
        let first = self.rows(sql)?.into_iter().next().and_then(|row| row.into_iter().next().flatten());
        first.with_context(|| format!("no value from `{sql}`"))
    }

    /// The same as a whole number.
    ///
    /// # Errors
    /// The same, and when it is not a whole number.
    pub fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let value = self.value(sql)?;
        value.parse().with_context(|| format!("`{value}` from `{sql}`"))
    }
}

impl Drop for Sql {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What comes of `work`, waited for without taking over the caller's thread as a runtime would.
fn wait<T: Send + 'static>(
    runtime: &Runtime,
    work: impl Future<Output = Result<T, tokio_postgres::Error>> + Send + 'static,
) -> anyhow::Result<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Nobody waits any more when the deadline is over.
        let _ = sender.send(work.await);
    });
    Ok(receiver.recv_timeout(STATEMENT_DEADLINE).context("no answer in time")??)
}
