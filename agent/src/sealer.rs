//! Gathers what sources hand over, and closes a batch when it is old enough, big enough, or urgent.
//!
//! One gathering per lane and priority. What a source handed over at once stays together: its readings, rejects and cursor go into
//! one append, so that a restart neither loses nor repeats.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use proto::body::{EncodeError, Gatherer};
use proto::frame::{BODY_BYTES_MAX, Sealed};
use proto::{Body, BootId, Column, Lane, SeriesName};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::buffer::{Append, Batch, BufferError, Handle};
use crate::source::{Confirm, Intake, NotCommitted, Priority, Reject, Sample, SourceName};
use crate::uplink::run::Accepted;

/// How large batches grow, and how long they wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long the first reading of a batch waits for more.
    pub linger: Duration,
    /// Readings that close a batch at once.
    pub readings_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { linger: Duration::from_millis(250), readings_max: 4_096 }
    }
}

/// Rejects that close a batch at once: a file of bad lines must not gather in memory.
const REJECTS_MAX: usize = 256;
/// Intakes that wait for word that they are stored, and close a batch at once.
const CONFIRMS_MAX: usize = 256;
/// How long to wait before a failed append is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long it is tried to store what was taken in, once the agent is asked to stop.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// What was taken in and is not yet in the buffer, of one lane and priority.
struct Gathering {
    lane: Lane,
    priority: Priority,
    readings: Gatherer,
    append: Append,
    /// Who is told once it is stored.
    confirms: Vec<Confirm>,
    /// When it must be sealed.
    due: Option<Instant>,
}

impl Gathering {
    fn new(lane: Lane, priority: Priority) -> Self {
        let (readings, append) = (Gatherer::default(), Append::default());
        Self { lane, priority, readings, append, confirms: Vec::new(), due: None }
    }

    /// Takes `intake` in. Answers whether it is time to seal.
    fn take_in(&mut self, intake: Intake, boot: BootId, settings: &Settings, now: Instant) -> bool {
        if intake.confirm.is_asked() {
            let refused = intake.samples.iter().filter(|_| intake.whole).find_map(|sample| refusal(sample, boot));
            if let Some(error) = refused {
                intake.confirm.tell(Err(NotCommitted::Refused(error.to_string())));
                return false;
            }
            self.confirms.push(intake.confirm);
        }
        let source = intake.source;
        for sample in intake.samples {
            if !self.readings.has_room_for(&sample.series, sample.basis) {
                self.close(boot, &source);
            }
            self.readings.add(&sample.series, sample.basis, sample.reading);
        }
        self.append.rejects.extend(intake.rejects.into_iter().map(|reject| (source.clone(), reject)));
        for (what, more) in intake.counts {
            match self.append.counts.iter_mut().find(|(other, _)| *other == what) {
                Some((_, count)) => *count += more,
                None => self.append.counts.push((what, more)),
            }
        }
        if let Some(cursor) = intake.cursor {
            self.append.cursors.retain(|(other, _)| *other != source);
            self.append.cursors.push((source, cursor));
        }
        let due = *self.due.get_or_insert(now + settings.linger);
        let full = self.readings.readings() >= settings.readings_max
            || self.append.rejects.len() >= REJECTS_MAX
            || self.confirms.len() >= CONFIRMS_MAX;
        intake.urgent || due <= now || full
    }

    /// Seals what was gathered into batches of the append to come.
    fn close(&mut self, boot: BootId, source: &SourceName) {
        if self.readings.is_empty() {
            return;
        }
        let (lane, priority, append) = (self.lane, self.priority, &mut self.append);
        seal(self.readings.take(boot), &mut |sealed| match sealed {
            Ok((readings, sealed)) => append.batches.push(Batch { lane, priority, readings, sealed }),
            // No source makes such readings; should one do so, its text must not cost the others'.
            Err((series, error)) => append.rejects.push((
                source.clone(),
                Reject { place: format!("series {series}"), reason: error.to_string(), bytes: Vec::new() },
            )),
        });
    }

    /// Everything taken in, ready to be appended; leaves nothing behind.
    fn take(&mut self, boot: BootId) -> Append {
        self.close(boot, &Arc::from("several"));
        self.due = None;
        std::mem::take(&mut self.append)
    }
}

/// Why no batch takes `sample`. Asked only where all is to be stored, or nothing.
fn refusal(sample: &Sample, boot: BootId) -> Option<EncodeError> {
    let (series, basis, readings) = (sample.series.as_ref().clone(), sample.basis, vec![sample.reading.clone()]);
    Body { boot, columns: vec![Column { series, basis, readings }] }.encode().err()
}

/// Seals `body`, in halves if it is larger than a frame takes; what cannot be sealed even alone is an error of its series.
fn seal(body: Body, put: &mut impl FnMut(Result<(u64, Sealed), (SeriesName, EncodeError)>)) {
    let readings = body.readings();
    match body.encode() {
        Ok(bytes) if bytes.len() <= BODY_BYTES_MAX => put(Ok((readings as u64, Sealed::new(bytes)))),
        Err(error) if readings <= 1 => {
            body.columns.into_iter().for_each(|column| put(Err((column.series.name, error.clone()))));
        }
        _ => {
            let (left, right) = halves(body);
            seal(left, put);
            seal(right, put);
        }
    }
}

/// Cuts between columns, or through the only one: order within a series stays.
fn halves(body: Body) -> (Body, Body) {
    let Body { boot, mut columns } = body;
    let right = if columns.len() > 1 {
        columns.split_off(columns.len() / 2)
    } else {
        let cut = |column: &mut Column| Column {
            series: column.series.clone(),
            basis: column.basis,
            readings: column.readings.split_off(column.readings.len() / 2),
        };
        columns.iter_mut().map(cut).collect()
    };
    (Body { boot, columns }, Body { boot, columns: right })
}

/// Where sealed batches go, and who is told.
struct Store {
    boot: BootId,
    buffer: Handle,
    accepted: mpsc::Sender<Accepted>,
    stop: CancellationToken,
    /// When waiting ends, for everything that is still to be stored; known once the agent is asked to stop.
    give_up_at: OnceLock<Instant>,
}

/// Seals and stores until all sources have ended and everything is stored. Answers how many readings were accepted.
///
/// A full disk is waited out: sources wait too, then. Once `stop` is cancelled the wait is short, and what could not be
/// stored is said; it was not accepted.
///
/// # Errors
/// When the buffer's thread has ended.
pub async fn run(
    settings: Settings,
    boot: BootId,
    mut intake: mpsc::Receiver<Intake>,
    buffer: Handle,
    accepted: mpsc::Sender<Accepted>,
    stop: CancellationToken,
) -> Result<u64, BufferError> {
    let store = Store { boot, buffer, accepted, stop, give_up_at: OnceLock::new() };
    let mut gatherings: Vec<Gathering> = Vec::new(); // one for each lane and priority that is in use
    let mut total = 0;
    loop {
        let due = gatherings.iter().filter_map(|gathering| gathering.due).min();
        let open = tokio::select! {
            next = intake.recv() => match next {
                Some(intake) => {
                    let gathering = gathering_for(&mut gatherings, &intake);
                    if gathering.take_in(intake, boot, &settings, Instant::now()) {
                        total += store.put(gathering).await?;
                    }
                    true
                }
                None => false,
            },
            () = sleep_until(due), if due.is_some() => true,
        };
        let now = Instant::now();
        for gathering in &mut gatherings {
            if gathering.due.is_some_and(|due| due <= now || !open) {
                total += store.put(gathering).await?;
            }
        }
        if !open {
            return Ok(total);
        }
    }
}

fn gathering_for<'a>(gatherings: &'a mut Vec<Gathering>, intake: &Intake) -> &'a mut Gathering {
    let is_it = |gathering: &Gathering| gathering.lane == intake.lane && gathering.priority == intake.priority;
    let place = gatherings.iter().position(is_it).unwrap_or_else(|| {
        gatherings.push(Gathering::new(intake.lane, intake.priority));
        gatherings.len() - 1
    });
    &mut gatherings[place]
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl Store {
    fn is_past_waiting(&self) -> bool {
        let now = Instant::now();
        self.stop.is_cancelled() && *self.give_up_at.get_or_init(|| now + STOP_GRACE) <= now
    }

    /// Appends what was gathered, and tells the uplink. Waits out what can be waited out.
    async fn put(&self, gathering: &mut Gathering) -> Result<u64, BufferError> {
        let append = gathering.take(self.boot);
        // Dropped on the ways out on which nothing is stored: then they say that.
        let confirms = std::mem::take(&mut gathering.confirms);
        if let Some((source, first)) = append.rejects.first() {
            let (rejects, place, reason) = (append.rejects.len(), &first.place, &first.reason);
            warn!(%source, rejects, %place, %reason, "rejected, this and others; see `tributary-agent buffer rejected`");
        }
        let readings = append.batches.iter().map(|batch| batch.readings).sum();
        let mut failures = 0_u32;
        let appended = loop {
            let error = match self.buffer.append(append.clone()).await {
                Ok(appended) => break appended,
                Err(BufferError::Gone) => return Err(BufferError::Gone),
                Err(error) => error,
            };
            if failures.is_power_of_two() || failures == 0 {
                error!(%error, cause = ?std::error::Error::source(&error), failures, "nothing can be stored; waiting");
            }
            failures = failures.saturating_add(1);
            if self.is_past_waiting() {
                error!(readings, "could not be stored before the stop: these readings were not accepted");
                return Ok(0);
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY_AFTER) => {}
                () = self.stop.cancelled(), if !self.stop.is_cancelled() => {}
            }
        };
        confirms.into_iter().for_each(|confirm| confirm.tell(Ok(())));
        // An uplink that has ended needs no news: what is stored is found again at the next start.
        let _ = self.accepted.send((gathering.lane, appended)).await;
        Ok(readings)
    }
}

#[cfg(test)]
mod tests;
