//! InfluxDB beside the relational store, by its line protocol: version 1 (`/write`), and version 2 (`/api/v2/write`),
//! which Timestream for InfluxDB and InfluxDB's own cloud speak too.
//!
//! A point that comes again with the same series and instant overwrites in silence. So ranks must be right: those that
//! the relational store deals are, for as long as it has the readings of that time. For what is older, InfluxDB is asked
//! first which ranks are taken.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::sink::{Record, Refused, Sink, SinkError, Why};
use client::{Client, Said};

mod client;
mod late;
mod line;
mod settings;
mod trust;

pub use settings::{Access, Settings};

/// Lines in one request: InfluxData advises 5 000 to 10 000.
const LINES_MAX: usize = 5_000;
/// Bytes in one request, about.
const BYTES_MAX: usize = 2 * 1024 * 1024;
/// Requests under way at once.
const REQUESTS_MAX: usize = 4;

/// A connection to an InfluxDB.
pub struct Influx {
    client: Arc<Client>,
    /// Drives the connections. Gone only while this is being dropped.
    runtime: Option<Runtime>,
}

/// Lines, each with its place among the records.
type Lines = Vec<(usize, String)>;

impl Influx {
    /// Prepares to write to the InfluxDB that `settings` name; nothing is sent yet.
    ///
    /// # Errors
    /// The settings cannot work; the text says what to do.
    pub fn new(settings: &Settings) -> Result<Self, SinkError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| SinkError::Away(format!("the system gives no runtime: {error}")))?;
        Ok(Self { client: Arc::new(Client::new(settings)?), runtime: Some(runtime) })
    }
}

impl Sink for Influx {
    fn write(&mut self, records: &[Record]) -> Result<Vec<Refused>, SinkError> {
        let Some(runtime) = &self.runtime else { return Err(SinkError::Away("it is being closed".to_owned())) };
        runtime.block_on(write(&self.client, records))
    }
}

impl Drop for Influx {
    fn drop(&mut self) {
        // In the background, because this may be a thread that must not wait.
        self.runtime.take().map(Runtime::shutdown_background);
    }
}

async fn write(client: &Arc<Client>, records: &[Record]) -> Result<Vec<Refused>, SinkError> {
    let mut refused = late::collisions(client, records).await?;
    let (mut requests, mut begun) = (JoinSet::new(), Vec::new());
    let mut bytes = 0;
    for (place, record) in records.iter().enumerate() {
        if refused.binary_search_by_key(&place, |refused| refused.place).is_ok() {
            continue;
        }
        match line::of(record) {
            Ok(line) => {
                bytes += line.len();
                begun.push((place, line));
            }
            Err(reason) => requests_answer(&mut refused, vec![(place, reason)]),
        }
        if begun.len() >= LINES_MAX || bytes >= BYTES_MAX {
            if requests.len() >= REQUESTS_MAX {
                next_answer(&mut requests, &mut refused).await?;
            }
            requests.spawn(send(Arc::clone(client), std::mem::take(&mut begun)));
            bytes = 0;
        }
    }
    if !begun.is_empty() {
        requests.spawn(send(Arc::clone(client), begun));
    }
    while !requests.is_empty() {
        next_answer(&mut requests, &mut refused).await?;
    }
    Ok(refused)
}

type Answer = Result<Vec<(usize, String)>, SinkError>;

async fn next_answer(requests: &mut JoinSet<Answer>, refused: &mut Vec<Refused>) -> Result<(), SinkError> {
    let Some(ended) = requests.join_next().await else { return Ok(()) };
    let never = ended.map_err(|error| SinkError::Away(format!("a request ended early: {error}")))??;
    requests_answer(refused, never);
    Ok(())
}

/// Adds to `refused`, which stays in the order of places only as far as collisions are concerned.
fn requests_answer(refused: &mut Vec<Refused>, never: Vec<(usize, String)>) {
    refused.extend(never.into_iter().map(|(place, reason)| Refused { place, why: Why::Never(reason) }));
}

/// Sends lines, and finds out which of them InfluxDB does not take: what it refuses in part is sent again in halves, which
/// changes nothing for lines that it took. Answers those that are refused.
async fn send(client: Arc<Client>, lines: Lines) -> Answer {
    let (mut never, mut to_send) = (Vec::new(), vec![lines]);
    while let Some(mut lines) = to_send.pop() {
        match client.write(&lines).await? {
            Said::Taken => {}
            Said::Refused { why, lines: dropped } if lines.len() == 1 || dropped == Some(lines.len()) => {
                never.extend(lines.into_iter().map(|(place, _)| (place, why.clone())));
            }
            Said::Refused { .. } | Said::TooLarge => {
                if lines.len() == 1 {
                    never.extend(lines.into_iter().map(|(place, _)| (place, "too large for InfluxDB".to_owned())));
                    continue;
                }
                let later = lines.split_off(lines.len() / 2);
                to_send.extend([later, lines]);
            }
        }
    }
    Ok(never)
}
