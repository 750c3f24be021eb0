//! The audit trail: who let whom do what, and who was kept from what, in a chain of hashes in the store.
//!
//! An [`Auditor`] takes [`entry::Event`]s from anywhere without making anybody wait; a thread appends them, and every
//! minute writes down in a second place where the chain ends. [`verify`] finds what was changed, removed, moved or cut
//! off. What must not happen unless it is written, a command [`append`]s itself, first.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant as Moment};

use anyhow::Context;
use proto::DeviceId;
use tracing::{error, warn};

use crate::config::{Config, StoreKind};
use crate::ingest::totals::Total;
use crate::store::audit::Trail;
use crate::store::{Now, postgres, sqlite};
use crate::trouble::Trouble;
use chain::Head;
use checkpoint::Checkpoints;
use entry::{Actor, Detail, Entry, Event};
use queue::{End, Queue};
use trim::Keep;
use writer::Writer;

pub mod chain;
pub mod checkpoint;
pub(crate) mod command;
mod denials;
pub mod entry;
mod queue;
pub mod trim;
pub mod verify;
mod writer;

/// How the trail is written.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// From one checkpoint to the next, if there is something new.
    pub checkpoint_every: Duration,
    /// Which entries are kept.
    pub keep: Keep,
}

impl Default for Settings {
    fn default() -> Self {
        Self { checkpoint_every: Duration::from_secs(60), keep: Keep::default() }
    }
}

/// What has been done since the start, for `/metrics`.
#[derive(Debug, Default)]
pub struct Totals {
    /// Entries written.
    pub entries: Total,
    /// Entries that were lost, for want of room or because the gateway ended before its store took them.
    pub dropped: Total,
    /// Times that the store or the checkpoints' file took nothing.
    pub failures: Total,
}

/// Takes what is to be in the trail, and makes nobody wait. Clones are the same one.
#[derive(Clone)]
pub struct Auditor(Option<Arc<Shared>>);

struct Shared {
    queue: Arc<Queue>,
    totals: Arc<Totals>,
    now: Now,
}

/// Ends the thread that writes; dropped, it gives up what is not written.
pub struct Keeper {
    queue: Arc<Queue>,
    totals: Arc<Totals>,
    /// Breaks off when the thread has ended.
    ended: mpsc::Receiver<()>,
}

/// Starts the thread that writes `trail`, and its end now and then into `checkpoints`.
///
/// # Errors
/// The system has no thread to give.
pub fn start(
    trail: Box<dyn Trail>,
    checkpoints: Checkpoints,
    settings: Settings,
    now: Now,
) -> std::io::Result<(Auditor, Keeper)> {
    let (queue, totals) = (Arc::<Queue>::default(), Arc::<Totals>::default());
    let writer = Writer {
        queue: Arc::clone(&queue),
        totals: Arc::clone(&totals),
        trail,
        head: checkpoints.last().unwrap_or_default(),
        noted_cut: None,
        checkpoints,
        settings,
        now,
        store_trouble: Trouble::default(),
        file_trouble: Trouble::default(),
    };
    let (alive, ended) = mpsc::channel::<()>();
    thread::Builder::new().name("audit".to_owned()).spawn(move || {
        writer.run();
        drop(alive);
    })?;
    let auditor = Auditor(Some(Arc::new(Shared { queue: Arc::clone(&queue), totals: Arc::clone(&totals), now })));
    Ok((auditor, Keeper { queue, totals, ended }))
}

impl Auditor {
    /// One that keeps nothing, for tests of what tells it.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// What is counted.
    #[must_use]
    pub fn totals(&self) -> Arc<Totals> {
        self.0.as_ref().map_or_else(Arc::default, |shared| Arc::clone(&shared.totals))
    }

    /// Has it written soon that something happened now. Never waits: beyond a bound, entries are dropped and counted, and
    /// the next one that is written says how many. Of what a device is denied again and again, only the first is an entry
    /// of its own.
    pub fn note(&self, event: Event, actor: Actor, subject: Option<&DeviceId>, detail: Detail) {
        let Some(Shared { queue, totals, now }) = self.0.as_deref() else { return };
        let entry = Entry { time: now(), actor, event, subject: subject.cloned(), detail };
        if !queue.put(entry, Moment::now()) {
            totals.dropped.add(1);
        }
    }

    /// Somebody else has written so many entries of this process, together with what they tell of.
    pub(crate) fn is_written(&self, entries: usize) {
        if let Some(shared) = &self.0 {
            shared.totals.entries.add(entries as u64);
        }
    }

    /// As [`Auditor::note`], of something that `device` was denied.
    pub fn denied(&self, event: Event, device: &DeviceId, detail: Detail) {
        self.note(event, Actor::Device(device.clone()), Some(device), detail);
    }
}

impl fmt::Debug for Auditor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auditor")
    }
}

impl Keeper {
    /// Lets nothing more in, and waits at most `grace` until what came in is written. Blocks, and so must not be called
    /// by an async task.
    pub fn stop(self, grace: Duration) {
        self.queue.set_end(End::Closing);
        let is_late = matches!(self.ended.recv_timeout(grace), Err(mpsc::RecvTimeoutError::Timeout));
        let (waiting, dropped) = self.queue.unwritten();
        self.totals.dropped.add(waiting as u64);
        if is_late || waiting > 0 {
            error!(waiting, "the audit trail was not written to its end in time; entries that waited are lost");
        } else if dropped > 0 {
            warn!(dropped, "entries of the audit trail found no room, and no later one says so");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.queue.set_end(End::GivenUp);
    }
}

/// The trail of the store that `config` names, for a command: beside a gateway that may run.
///
/// # Errors
/// The store cannot be opened; with what to do.
pub fn open(config: &Config) -> anyhow::Result<Box<dyn Trail>> {
    Ok(match config.store.kind {
        StoreKind::Sqlite => {
            let path = &config.store.path;
            Box::new(sqlite::Trail::open(path).with_context(|| format!("open store {}", path.display()))?)
        }
        StoreKind::Postgres => Box::new(postgres::Trail::new(config.store.postgres.ingest()?)),
    })
}

/// Appends an entry before what it tells of is done: without it, that must not be done. Blocks.
///
/// # Errors
/// It is not written.
pub fn append(trail: &mut dyn Trail, entry: Entry) -> anyhow::Result<Head> {
    trail.append(&[entry]).context("write the audit trail; nothing was done")
}
