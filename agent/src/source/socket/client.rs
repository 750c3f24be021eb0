//! One connection: lines in, answers out in the same order.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use proto::Lane;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::source::device::Limit;
use crate::source::lines::{Framer, Line};
use crate::source::record::Parser;
use crate::source::{INTAKE_SAMPLES_MAX, Intake, NotCommitted, Outlet, Reject, Sample, SourceClock, SourceName};

/// Bytes read at once: what comes together is stored together.
const PIECE_BYTES: usize = 16 * 1024;
/// How long an answer is waited for. The record may be stored after all.
const COMMIT_TIME: Duration = Duration::from_secs(30);
/// How long a client may take to take its answers.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// What all connections of a source share.
pub(super) struct Shared {
    parser: Parser,
    line_bytes_max: usize,
    idle: Duration,
    pub(super) name: SourceName,
    outlet: Outlet,
    clock: SourceClock,
    limit: Mutex<Limit>,
}

/// One line and what became of it.
struct Record {
    line: u64,
    read: Result<Vec<Sample>, String>,
    urgent: bool,
}

/// What a line is answered with.
#[derive(Serialize)]
struct Answer<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// The connection is over.
struct Over;

impl Shared {
    pub(super) fn new(
        parser: Parser,
        line_bytes_max: usize,
        idle: Duration,
        name: SourceName,
        outlet: Outlet,
        clock: SourceClock,
    ) -> Self {
        Self { parser, line_bytes_max, idle, name, outlet, clock, limit: Mutex::default() }
    }

    /// A line's readings: all of them, or none and why.
    fn record(&self, line: &Line, number: u64) -> Option<Record> {
        let read = match line.too_long {
            true => Err("is longer than `line_bytes_max`".to_owned()),
            false => match self.parser.read(&line.bytes, self.clock.boot()) {
                Ok(None) => return None,
                Ok(Some(taken)) => match taken.problem {
                    Some(problem) => Err(problem),
                    None if taken.samples.is_empty() => Err("has none of the fields that are configured".into()),
                    None => return Some(Record { line: number, read: Ok(taken.samples), urgent: taken.urgent }),
                },
                Err(problem) => Err(problem),
            },
        };
        Some(Record { line: number, read, urgent: false })
    }

    /// A reject of that line, unless there are too many to keep.
    fn reject(&self, number: u64, reason: &str, bytes: &[u8]) -> Option<Reject> {
        let reject = Reject::new(format!("socket line {number}"), reason.to_owned(), bytes);
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        let reject = limit.admit(reject, Instant::now())?;
        warn!(source = %self.name, "rejected {}: {}", reject.place, reject.reason);
        Some(reject)
    }

    /// Stores what is good of `records` and answers all of them in order.
    async fn store(
        &self,
        records: &mut Vec<Record>,
        rejects: &mut Vec<Reject>,
        to: &mut OwnedWriteHalf,
    ) -> Result<(), Over> {
        let records = std::mem::take(records);
        let mut together = Intake::empty(&self.name, Lane::Live);
        together.rejects = std::mem::take(rejects);
        for record in &records {
            together.urgent |= record.urgent;
            together.samples.extend(record.read.iter().flatten().cloned());
        }
        let mut stored = Ok(());
        if !together.is_empty() {
            stored = self.put(together).await;
        }
        let mut answers = String::new();
        for record in &records {
            let stored = match (&stored, &record.read) {
                (Err(NotStored::Refused(_)), Ok(samples)) if records.len() > 1 => {
                    // One of them is what no batch takes: each for itself, so that it costs no other anything.
                    let mut alone = Intake::empty(&self.name, Lane::Live);
                    (alone.urgent, alone.samples) = (true, samples.clone());
                    self.put(alone).await
                }
                _ => stored.clone(),
            };
            answers.push_str(&answer(record, &stored));
        }
        write(to, &answers).await
    }

    async fn put(&self, intake: Intake) -> Result<(), NotStored> {
        let intake = Intake { whole: true, ..intake };
        match timeout(COMMIT_TIME, self.outlet.put_committed(intake)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(NotCommitted::Refused(problem))) => Err(NotStored::Refused(problem)),
            Ok(Err(NotCommitted::Stopping(stopping))) => Err(NotStored::Unsaid(format!("not stored: {stopping}"))),
            Err(_) => Err(NotStored::Unsaid(format!("not stored within {} s, perhaps later", COMMIT_TIME.as_secs()))),
        }
    }
}

#[derive(Clone)]
enum NotStored {
    Refused(String),
    Unsaid(String),
}

fn answer(record: &Record, stored: &Result<(), NotStored>) -> String {
    let (n, error) = match (&record.read, stored) {
        (Err(problem), _) => (None, Some(problem.as_str())),
        (Ok(_), Err(NotStored::Refused(problem) | NotStored::Unsaid(problem))) => (None, Some(problem.as_str())),
        (Ok(samples), Ok(())) => (Some(samples.len()), None),
    };
    said(&Answer { ok: error.is_none(), line: Some(record.line), n, error })
}

fn said(answer: &Answer<'_>) -> String {
    let mut text = serde_json::to_string(answer).expect("words and numbers always have a JSON form");
    text.push('\n');
    text
}

async fn write(to: &mut OwnedWriteHalf, answers: &str) -> Result<(), Over> {
    match timeout(ANSWER_TIME, to.write_all(answers.as_bytes())).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Over), // it has gone, or does not read its answers
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(client: UnixStream, shared: std::sync::Arc<Shared>, stop: CancellationToken) {
    let (from, to) = client.into_split();
    // Either end is as good as the other: what was stored was answered, or cannot be any more.
    let (Ok(()) | Err(Over)) = Connection { shared: &shared, from, to, lines: 0 }.run(&stop).await;
}

struct Connection<'a> {
    shared: &'a Shared,
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    lines: u64,
}

impl Connection<'_> {
    async fn run(mut self, stop: &CancellationToken) -> Result<(), Over> {
        let mut framer = Framer::new(self.shared.line_bytes_max);
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = tokio::select! {
                read = timeout(self.shared.idle, self.from.read(&mut piece)) => read,
                () = stop.cancelled() => return Err(Over),
            };
            let Ok(read) = read else {
                let error = "closed: nothing came for `idle_s` seconds";
                return write(&mut self.to, &said(&Answer { ok: false, line: None, n: None, error: Some(error) }))
                    .await;
            };
            match read {
                Ok(0) => {
                    let rest = framer.rest();
                    return self.take(rest.into_iter()).await;
                }
                Ok(count) => {
                    framer.push(&piece[..count]);
                    self.take(std::iter::from_fn(|| framer.next())).await?;
                }
                Err(_) => return Err(Over),
            }
        }
    }

    /// Stores `lines`, as many together as one intake takes, and answers them.
    async fn take(&mut self, lines: impl Iterator<Item = Line>) -> Result<(), Over> {
        let (mut records, mut rejects, mut samples) = (Vec::new(), Vec::new(), 0);
        for line in lines {
            self.lines += 1;
            let Some(record) = self.shared.record(&line, self.lines) else { continue };
            match &record.read {
                Ok(more) if samples + more.len() > INTAKE_SAMPLES_MAX => {
                    self.shared.store(&mut records, &mut rejects, &mut self.to).await?;
                    samples = more.len();
                }
                Ok(more) => samples += more.len(),
                Err(problem) => rejects.extend(self.shared.reject(self.lines, problem, &line.bytes)),
            }
            records.push(record);
        }
        match records.is_empty() {
            true => Ok(()),
            false => self.shared.store(&mut records, &mut rejects, &mut self.to).await,
        }
    }
}
