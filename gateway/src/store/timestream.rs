//! Amazon Timestream for LiveAnalytics beside the relational store: multi-measure records, a hundred a call.
//!
//! Its version of all records is the same for ever, and each carries the numbers it came with. So a repeat is the very
//! same record, which changes nothing; and another reading of the same instant and rank is not, and is rejected: then it
//! gets the next rank.

use std::path::PathBuf;

use tokio::runtime::Runtime;

use super::sink::{Record, Refused, Sink, SinkError};
use account::Account;
use window::Window;

mod account;
mod answer;
mod calls;
mod record;
mod window;

/// Where readings go. Database and table must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `eu-central-1`
    pub region: String,
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// Another server than Amazon's, at which no endpoint is to be discovered: for tests.
    pub endpoint_url: Option<String>,
    /// A file of credentials as Amazon's tools write it (mode 0600); without it, they come from the environment, from the
    /// user's own file, or from the machine's role.
    pub credentials_file: Option<PathBuf>,
}

/// A connection to Timestream.
pub struct Timestream {
    settings: Settings,
    /// Made at the first write: a start needs no network.
    account: Option<Account>,
    window: Window,
    /// Always at work: it keeps the discovered endpoint fresh. Gone only while this is being dropped.
    runtime: Option<Runtime>,
}

impl Timestream {
    /// Prepares to write to the table that `settings` name; nothing is sent yet.
    ///
    /// # Errors
    /// The settings cannot work; the text says what to do.
    pub fn new(settings: &Settings) -> Result<Self, SinkError> {
        account::check(settings)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| SinkError::Away(format!("the system gives no runtime: {error}")))?;
        Ok(Self { settings: settings.clone(), account: None, window: Window::default(), runtime: Some(runtime) })
    }
}

impl Sink for Timestream {
    fn write(&mut self, records: &[Record]) -> Result<Vec<Refused>, SinkError> {
        let Self { settings, account, window, runtime } = self;
        let Some(runtime) = runtime else { return Err(SinkError::Away("it is being closed".to_owned())) };
        runtime.block_on(async {
            let open = match account.take() {
                Some(open) => open,
                None => Account::open(settings).await?,
            };
            let (answer, endpoint) = calls::write(&open, window, records).await;
            // An endpoint that is not valid any more is discovered anew.
            if endpoint == calls::Endpoint::Valid {
                *account = Some(open);
            }
            answer
        })
    }
}

impl Drop for Timestream {
    fn drop(&mut self) {
        // In the background, because this may be a thread that must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
