//! The seam that every source stands behind: readings out, and the cursor that lets it resume.
//!
//! A source is a folder here: its code, a page on wiring and settings, sample configuration, and recorded input with
//! what it must become. It knows the [`Outlet`] and nothing behind it.

use std::sync::Arc;

use proto::{Basis, Lane, Reading, Series};
use tokio::sync::mpsc;

/// Readings in one [`Intake`]: they are committed in one transaction, so they must stay few.
pub const INTAKE_SAMPLES_MAX: usize = 4_096;
/// Bytes kept of one rejected line or frame.
pub const REJECT_BYTES_MAX: usize = 4_096;

/// A source's name in configuration, logs and cursors.
pub type SourceName = Arc<str>;

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

/// What a source hands over at once. All of it is committed in one transaction, or none.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Who hands it over.
    pub source: SourceName,
    /// Which queue it leaves by.
    pub lane: Lane,
    /// Whether it must not linger in the sealer.
    pub urgent: bool,
    /// The readings, at most [`INTAKE_SAMPLES_MAX`].
    pub samples: Vec<Sample>,
    /// Input that became no reading.
    pub rejects: Vec<Reject>,
    /// Where to resume once all of this is committed; none for a source that cannot.
    pub cursor: Option<Vec<u8>>,
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
}

impl Outlet {
    /// An outlet that holds `depth` intakes, and the end they come out of.
    #[must_use]
    pub fn new(depth: usize) -> (Self, mpsc::Receiver<Intake>) {
        let (sender, receiver) = mpsc::channel(depth);
        (Self { sender }, receiver)
    }

    /// Hands `intake` over, waiting for room.
    ///
    /// # Errors
    /// [`Stopping`] when nobody takes readings any more.
    pub async fn put(&self, intake: Intake) -> Result<(), Stopping> {
        self.sender.send(intake).await.map_err(|_| Stopping)
    }
}
