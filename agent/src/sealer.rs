//! Gathers what sources hand over, and closes a batch when it is old enough, big enough, or urgent.
//!
//! One gathering per lane and priority. What a source handed over at once stays together: its readings, rejects and cursor go into
//! one append, so that a restart neither loses nor repeats.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use proto::body::{EncodeError, Gatherer};
use proto::frame::{BODY_BYTES_MAX, Sealed};
use proto::{Body, BootId, Column, Lane};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::buffer::{Append, Batch, BufferError, Handle};
use crate::source::{Intake, Priority, Reject, SourceName};
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
    /// When it must be sealed.
    due: Option<Instant>,
}

impl Gathering {
    fn new(lane: Lane, priority: Priority) -> Self {
        Self { lane, priority, readings: Gatherer::default(), append: Append::default(), due: None }
    }

    /// Takes `intake` in. Answers whether it is time to seal.
    fn take_in(&mut self, intake: Intake, boot: BootId, settings: &Settings, now: Instant) -> bool {
        let source = intake.source;
        for sample in intake.samples {
            if !self.readings.has_room_for(&sample.series, sample.basis) {
                self.close(boot, &source);
            }
            self.readings.add(&sample.series, sample.basis, sample.reading);
        }
        self.append.rejects.extend(intake.rejects.into_iter().map(|reject| (source.clone(), reject)));
        if let Some(cursor) = intake.cursor {
            self.append.cursors.retain(|(other, _)| *other != source);
            self.append.cursors.push((source, cursor));
        }
        let due = *self.due.get_or_insert(now + settings.linger);
        let full = self.readings.readings() >= settings.readings_max || self.append.rejects.len() >= REJECTS_MAX;
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
            Err(error) => append.rejects.push((
                source.clone(),
                Reject { place: "sealer".to_owned(), reason: error.to_string(), bytes: Vec::new() },
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

/// Seals `body`, in halves if it is larger than a frame takes; what cannot be sealed even alone is an error.
fn seal(body: Body, put: &mut impl FnMut(Result<(u64, Sealed), EncodeError>)) {
    let readings = body.readings();
    match body.encode() {
        Ok(bytes) if bytes.len() <= BODY_BYTES_MAX => put(Ok((readings as u64, Sealed::new(bytes)))),
        Err(error) if readings <= 1 => put(Err(error)),
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
        // An uplink that has ended needs no news: what is stored is found again at the next start.
        let _ = self.accepted.send((gathering.lane, appended)).await;
        Ok(readings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::{self, Buffer};
    use crate::source::Sample;
    use proto::{Basis, Clock, Instant as Time, Kind, Reading, Series, Value};

    fn sample(name: &str, value: Value) -> Sample {
        let series = Series { name: name.parse().unwrap(), unit: "1".parse().unwrap(), kind: Kind::Gauge };
        Sample { series: Arc::new(series), basis: Basis::Source, reading: Reading::new(Time(1), value) }
    }

    fn intake(samples: Vec<Sample>, urgent: bool, cursor: u8) -> Intake {
        let source = Arc::from("test");
        Intake {
            source,
            lane: Lane::Live,
            priority: Priority::Normal,
            urgent,
            samples,
            rejects: vec![],
            cursor: Some(vec![cursor]),
        }
    }

    struct Rig {
        outlet: mpsc::Sender<Intake>,
        accepted: mpsc::Receiver<Accepted>,
        sealer: tokio::task::JoinHandle<Result<u64, BufferError>>,
        folder: tempfile::TempDir,
    }

    fn rig(settings: Settings) -> Rig {
        let folder = tempfile::TempDir::new().unwrap();
        let place = buffer::Settings { path: folder.path().join("b.db"), bytes_max: 64 << 20, free_bytes_min: 0 };
        let (handle, _) = Handle::spawn(Buffer::open(place, Clock::default()).unwrap()).unwrap();
        let (outlet, intake) = mpsc::channel(16);
        let (sender, accepted) = mpsc::channel(16);
        let sealer = tokio::spawn(run(settings, BootId([1; 8]), intake, handle, sender, CancellationToken::new()));
        Rig { outlet, accepted, sealer, folder }
    }

    #[tokio::test]
    async fn a_batch_closes_when_it_is_old_big_or_urgent_and_at_the_end() {
        let slow = Settings { linger: Duration::from_secs(600), readings_max: 3 };
        let mut rig = rig(slow);
        rig.outlet.send(intake(vec![sample("a", Value::Number(1.0))], true, 1)).await.unwrap();
        assert_eq!(rig.accepted.recv().await.unwrap().1.rows.unwrap().count(), 1, "urgent");
        let three = (0..3).map(|value| sample("a", Value::Number(f64::from(value)))).collect();
        rig.outlet.send(intake(three, false, 2)).await.unwrap();
        assert_eq!(rig.accepted.recv().await.unwrap().1.rows.unwrap().count(), 1, "big");
        rig.outlet.send(intake(vec![sample("a", Value::Number(1.0))], false, 3)).await.unwrap();
        drop(rig.outlet);
        assert_eq!(rig.sealer.await.unwrap().unwrap(), 5, "what was taken in is stored at the end");
        let access = buffer::Access::open(&rig.folder.path().join("b.db")).unwrap();
        assert_eq!(access.contents().unwrap().held.count(), 3);
    }

    #[tokio::test]
    async fn readings_that_outgrow_a_frame_go_in_several_batches_of_one_append() {
        let mut rig = rig(Settings::default());
        let long = |letter: char| sample("text", Value::Text(letter.to_string().repeat(8_000)));
        rig.outlet.send(intake(('a'..='z').map(long).collect(), true, 1)).await.unwrap();
        let rows = rig.accepted.recv().await.unwrap().1.rows.unwrap();
        assert!(rows.count() >= 2, "{rows:?}");
        drop(rig.outlet);
        assert_eq!(rig.sealer.await.unwrap().unwrap(), 26);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_reading_waits_no_longer_than_the_linger() {
        let mut rig = rig(Settings { linger: Duration::from_millis(250), ..Settings::default() });
        let start = Instant::now();
        rig.outlet.send(intake(vec![sample("a", Value::Bool(true))], false, 1)).await.unwrap();
        rig.accepted.recv().await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(250));
    }

    /// Needs root, for a file system that is full.
    #[tokio::test]
    async fn on_a_disk_that_takes_nothing_a_stop_ends_the_wait_and_what_was_not_stored_was_not_accepted() {
        let disk = tempfile::TempDir::new().unwrap();
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(disk.path()).status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("skipped: mounting a tiny tmpfs needs root");
            return;
        }
        let place = buffer::Settings { path: disk.path().join("b.db"), bytes_max: 64 << 20, free_bytes_min: 0 };
        let (handle, _) = Handle::spawn(Buffer::open(place, Clock::default()).unwrap()).unwrap();
        let ballast = std::fs::write(disk.path().join("ballast"), vec![1; 4 << 20]);
        assert!(ballast.is_err(), "it is full now");
        let (outlet, inlet) = mpsc::channel(16);
        let (sender, _accepted) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let sealer = tokio::spawn(run(Settings::default(), BootId([1; 8]), inlet, handle, sender, stop.clone()));
        // More than the reserve has room for.
        let long = |letter: u8| sample("text", Value::Text(char::from(letter).to_string().repeat(8_000)));
        for round in 0..12 {
            let samples = (0..40).map(|place| long(b'a' + (round + place) % 26)).collect();
            outlet.send(intake(samples, true, round)).await.unwrap();
        }
        drop(outlet);
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert!(!sealer.is_finished(), "it waits for room");
        stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(30), sealer).await;
        let _ = std::process::Command::new("umount").arg("-l").arg(disk.path()).status();
        assert!(ended.expect("an end within seconds").unwrap().unwrap() < 480);
    }
}
