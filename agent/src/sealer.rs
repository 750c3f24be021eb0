//! Gathers what sources hand over, and closes a batch when it is old enough, big enough, or urgent.
//!
//! One gathering per lane and priority. What a source handed over at once stays together: its readings, rejects and cursor go into
//! one append, so that a restart neither loses nor repeats.

use std::sync::Arc;
use std::time::Duration;

use proto::body::Gatherer;
use proto::{BootId, Lane};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::buffer::{Append, Batch, BufferError, Handle};
use crate::pulse::Pulse;
use crate::source::{Confirm, Intake, NotCommitted, Priority, Reject, SourceName};
use crate::uplink::run::Accepted;

use self::cut::{refusal, seal};
use self::store::Store;

mod cut;
mod store;

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

/// Seals and stores until all sources have ended and everything is stored. Answers how many readings were accepted.
///
/// A full disk is waited out: sources wait too, then. Once `stop` is cancelled the wait is short, and what could not be
/// stored is said; it was not accepted. `pulses` are passed on to the buffer's thread whenever a reading would be.
///
/// # Errors
/// When the buffer's thread has ended.
pub async fn run(
    settings: Settings,
    boot: BootId,
    mut intake: mpsc::Receiver<Intake>,
    buffer: Handle,
    accepted: mpsc::Sender<Accepted>,
    pulses: mpsc::Receiver<Pulse>,
    stop: CancellationToken,
) -> Result<u64, BufferError> {
    let mut store = Store::new(boot, buffer, accepted, pulses, stop);
    let mut gatherings: Vec<Gathering> = Vec::new(); // one for each lane and priority that is in use
    loop {
        let due = gatherings.iter().filter_map(|gathering| gathering.due).min();
        let open = tokio::select! {
            next = intake.recv() => match next {
                Some(intake) => {
                    let gathering = gathering_for(&mut gatherings, &intake);
                    if gathering.take_in(intake, boot, &settings, Instant::now()) {
                        store.put(gathering).await?;
                    }
                    true
                }
                None => false,
            },
            () = sleep_until(due), if due.is_some() => true,
            Some(pulse) = store.pulses.recv() => {
                store.pass_on(pulse).await?;
                true
            }
        };
        let now = Instant::now();
        for gathering in &mut gatherings {
            if gathering.due.is_some_and(|due| due <= now || !open) {
                store.put(gathering).await?;
            }
        }
        if !open {
            return Ok(store.accepted());
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

#[cfg(test)]
mod tests;
