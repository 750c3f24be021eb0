//! The seam that every source stands behind: readings out, and the cursor that lets it resume.
//!
//! A source is a folder here: its code, a page on wiring and settings, sample configuration, and recorded input with
//! what it must become. It knows the [`Outlet`] and nothing behind it. Devices at the end of a wire have a seam of their
//! own, with directions for who adds one: `device`.

use std::sync::{Arc, Mutex, PoisonError};

use proto::{Basis, Lane, Reading, Series};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub mod clock;
pub mod confirm;
#[cfg(feature = "vitals")]
pub mod contec_cms50;
#[cfg(feature = "energy")]
mod crc;
pub mod decimal;
pub(crate) mod device;
#[cfg(feature = "glucose")]
pub mod dexcom_receiver;
#[cfg(feature = "energy")]
pub mod dsmr;
#[cfg(feature = "programs")]
pub mod exec;
pub mod fields;
pub mod file;
#[cfg(feature = "files")]
pub mod folder;
mod format;
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "glucose")]
pub mod glucose;
mod hash;
mod lines;
#[cfg(feature = "environment")]
pub mod mhz19;
#[cfg(feature = "energy")]
pub mod modbus;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "nightscout")]
pub mod nightscout;
#[cfg(feature = "environment")]
pub mod nmea;
#[cfg(feature = "vitals")]
pub mod nonin_oem3;
#[cfg(feature = "vitals")]
mod oximetry;
#[cfg(any(feature = "energy", feature = "environment"))]
mod pace;
mod pattern;
#[cfg(feature = "environment")]
pub mod plantower_pms;
mod record;
#[cfg(feature = "environment")]
pub mod sds011;
pub mod serial;
mod settings;
pub mod simulate;
#[cfg(feature = "programs")]
pub mod socket;
mod supervise;
#[cfg(feature = "programs")]
pub mod system;
#[cfg(test)]
mod testing;
pub mod times;
mod unended;

pub use clock::SourceClock;
pub use confirm::{Confirm, Confirmation, NotCommitted};
use device::Shell;
pub use settings::{BadSetting, Configured, Settings};
pub use supervise::supervise;

/// Readings in one [`Intake`]: they are committed in one transaction, so they must stay few.
pub const INTAKE_SAMPLES_MAX: usize = 4_096;
/// Bytes kept of one rejected line or frame.
pub const REJECT_BYTES_MAX: usize = 4_096;

/// A source's name in configuration, logs and cursors.
pub type SourceName = Arc<str>;

/// How long a source's readings are kept when the buffer has no room for all: those of the lowest priority go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// The first to go.
    Low,
    /// In between.
    #[default]
    Normal,
    /// The last to go.
    High,
}

/// One reading with the series it belongs to.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What it measures.
    pub series: Arc<Series>,
    /// What its time counts from.
    pub basis: Basis,
    /// The reading.
    pub reading: Reading,
}

/// Input that became no reading: kept in the buffer, counted, and shown by `tributary-agent buffer rejected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Where it was: `readings.csv line 17`.
    pub place: String,
    /// What is wrong and what would be right, with the field's name.
    pub reason: String,
    /// The input itself, cut to [`REJECT_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

impl Reject {
    /// A reject with as much of `bytes` as is kept.
    fn new(place: String, reason: String, bytes: &[u8]) -> Self {
        Self { place, reason, bytes: bytes[..bytes.len().min(REJECT_BYTES_MAX)].to_vec() }
    }
}

/// What a source hands over at once. All of it is committed in one transaction, or none.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Who hands it over.
    pub source: SourceName,
    /// Which queue it leaves by.
    pub lane: Lane,
    /// How long it is kept; the outlet knows.
    pub priority: Priority,
    /// Whether it must not linger in the sealer.
    pub urgent: bool,
    /// Whether a reading that no batch takes costs the others too, for who asks whether it is stored: somebody can then say
    /// all of it again, and better. Else that reading becomes a reject, and the others are stored.
    pub whole: bool,
    /// The readings, at most [`INTAKE_SAMPLES_MAX`].
    pub samples: Vec<Sample>,
    /// Input that became no reading.
    pub rejects: Vec<Reject>,
    /// What is only counted, by what it is called in `tributary-agent status`.
    pub counts: Vec<(&'static str, u64)>,
    /// Where to resume once all of this is committed; none for a source that cannot.
    pub cursor: Option<Vec<u8>>,
    /// Who is told once it is stored.
    pub confirm: Confirm,
}

impl Intake {
    /// Nothing yet, from `source`.
    fn empty(source: &SourceName, lane: Lane) -> Self {
        let (samples, rejects, counts) = (Vec::new(), Vec::new(), Vec::new());
        let (source, priority, confirm) = (Arc::clone(source), Priority::default(), Confirm::default());
        let (urgent, whole, cursor) = (false, false, None);
        Self { source, lane, priority, urgent, whole, samples, rejects, counts, cursor, confirm }
    }

    /// Has `more` of `what` counted.
    #[cfg(feature = "files")]
    fn count(&mut self, what: &'static str, more: u64) {
        self.counts.extend((more > 0).then_some((what, more)));
    }

    /// Whether it holds neither readings nor rejects, and nothing to be counted.
    fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.rejects.is_empty() && self.counts.is_empty()
    }
}

/// The agent has stopped taking readings in; the source should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the agent is stopping")]
pub struct Stopping;

/// Where a source puts what it read. Bounded: a full outlet makes the source wait, which for a file is right, and
/// for a wire means that the kernel's buffer fills.
#[derive(Clone, Debug)]
pub struct Outlet {
    sender: mpsc::Sender<Intake>,
    /// Of all that goes through.
    priority: Priority,
    /// The last cursor that was handed over through this outlet and its clones, where someone wants to know it.
    handed: Option<Arc<Mutex<Option<Vec<u8>>>>>,
}

impl Outlet {
    /// An outlet that holds `depth` intakes, and the end they come out of.
    #[must_use]
    pub fn new(depth: usize) -> (Self, mpsc::Receiver<Intake>) {
        let (sender, receiver) = mpsc::channel(depth);
        (Self { sender, priority: Priority::default(), handed: None }, receiver)
    }

    /// The same outlet, for one source of `priority`, which starts with `cursor`: it remembers each cursor that went
    /// through it.
    #[must_use]
    fn of_source(&self, priority: Priority, cursor: Option<Vec<u8>>) -> Self {
        Self { sender: self.sender.clone(), priority, handed: Some(Arc::new(Mutex::new(cursor))) }
    }

    /// The last cursor that went through. What was handed over is committed in order, so a source that starts again
    /// in this process goes on from here; one that starts in a new process goes on from the committed cursor.
    fn last_cursor(&self) -> Option<Vec<u8>> {
        self.handed.as_ref().and_then(|handed| handed.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Hands `intake` over, waiting for room.
    ///
    /// # Errors
    /// [`Stopping`] when nobody takes readings any more.
    pub async fn put(&self, intake: Intake) -> Result<(), Stopping> {
        let intake = Intake { priority: self.priority, ..intake };
        let place = self.sender.reserve().await.map_err(|_| Stopping)?;
        if let (Some(handed), Some(cursor)) = (&self.handed, &intake.cursor) {
            *handed.lock().unwrap_or_else(PoisonError::into_inner) = Some(cursor.clone());
        }
        place.send(intake);
        Ok(())
    }

    /// The same for who must know when `intake` is stored: to be waited for now or later, several at a time.
    ///
    /// # Errors
    /// [`Stopping`], as above.
    pub async fn put_to_confirm(&self, intake: Intake) -> Result<Confirmation, Stopping> {
        let (confirm, confirmation) = Confirm::new();
        self.put(Intake { confirm, ..intake }).await?;
        Ok(confirmation)
    }

    /// Hands `intake` over and waits until it is stored. Where that must not take long, it is to be `urgent`.
    ///
    /// # Errors
    /// [`NotCommitted`]: then nothing of it was stored.
    pub async fn put_committed(&self, intake: Intake) -> Result<(), NotCommitted> {
        self.put_to_confirm(intake).await?.wait().await
    }

    /// The same as [`Outlet::put`], but gives up when `stop` is cancelled first; whether it was handed over.
    async fn put_or_stop(&self, intake: Intake, stop: &CancellationToken) -> bool {
        tokio::select! {
            put = self.put(intake) => put.is_ok(),
            () = stop.cancelled() => false,
        }
    }
}

/// How a source ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There is nothing more to read; it need not be started again.
    Finished,
    /// It was told to stop.
    Stopped,
}

/// Why a source ended. It is started again after a while.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A setting that cannot be.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// A file that cannot be read, or is not the one it was.
    #[error(transparent)]
    File(#[from] file::FileError),
    /// What is kept of the place to resume from makes no sense.
    #[error("the place to resume from is not readable: {0}; rename the source to start from the beginning")]
    Cursor(String),
    /// What it reads from cannot be used; says what to do.
    #[error("{0}")]
    Unusable(String),
}

/// Runs one source from `cursor` until it has ended or `stop` is cancelled.
///
/// # Errors
/// [`SourceError`]; starting it again from the last cursor that it handed over loses and doubles nothing.
pub async fn run(
    configured: Configured,
    cursor: Option<Vec<u8>>,
    outlet: Outlet,
    clock: SourceClock,
    stop: CancellationToken,
) -> Result<Ended, SourceError> {
    let Configured { name, settings, .. } = configured;
    let name = SourceName::from(name);
    if let Some(device) = settings.device() {
        device.validate()?;
        let shell = Shell::new(device.link(), device.codec(cursor.as_deref())?, name, outlet, clock, stop);
        #[cfg(feature = "programs")]
        let shell = shell.with(device.program());
        // Whatever happens to the port, it is opened again.
        shell.run().await;
        return Ok(Ended::Stopped);
    }
    match settings {
        Settings::File(settings) => file::run(settings, name, cursor, outlet, clock, stop).await,
        #[cfg(feature = "mqtt")]
        Settings::Mqtt(settings) => mqtt::run(*settings, name, cursor, outlet, clock, stop).await,
        #[cfg(feature = "files")]
        Settings::Folder(settings) => folder::run(settings, name, cursor, outlet, clock, stop).await,
        #[cfg(feature = "nightscout")]
        Settings::Nightscout(settings) => nightscout::run(*settings, name, cursor, outlet, clock, stop).await,
        Settings::Simulate(settings) => simulate::run(settings, name, cursor, outlet, clock, stop).await,
        #[cfg(feature = "programs")]
        Settings::Socket(settings) => socket::run(settings, name, outlet, clock, stop).await,
        #[cfg(feature = "programs")]
        Settings::System(settings) => system::run(settings, name, outlet, clock, stop).await,
        _ => Ok(Ended::Finished), // every other is a device
    }
}
