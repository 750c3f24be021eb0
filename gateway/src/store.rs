//! What is kept: readings, the ledger of what was settled, quarantine, gaps, and who is who.
//!
//! The pipeline writes through [`Item`]s, many in one transaction; the API reads.

use bytes::Bytes;
use proto::message::{Gap, Held, Refusal, Settlement};
use proto::{BodyHash, Channel, Clock, Column, DeviceId, Epoch, Instant, Lane, Number, Range};
use tokio::sync::watch;

mod alarm;
pub mod audit;
mod error;
pub(crate) mod feed;
pub mod influx;
mod ledger;
pub mod outbox;
pub mod postgres;
mod reader;
mod rollup;
pub(crate) mod side;
pub mod sink;
pub(crate) mod sql;
pub mod sqlite;
#[cfg(feature = "aws")]
pub mod timestream;
pub mod view;

pub use alarm::AlarmKind;
pub use error::{ReadError, StoreError};
pub use feed::Place;
pub use ledger::SubjectSeed;
pub use reader::{Reader, View};
pub use rollup::{Bucket, Level, Numbers, Roll, Rolled};
pub use side::Side;
pub use sql::SqlError;

/// Where the time comes from. Passed in, so that a test can invent it.
pub type Now = fn() -> Instant;

/// What the pipeline needs of a store's writing side. One thread has it, and calls it with as much as has come meanwhile.
pub trait Ledger: Send {
    /// Records all of `items` in one durable transaction, or none, and answers what became of each. When this returns,
    /// they are on the disk.
    ///
    /// # Errors
    /// Nothing was recorded. See [`StoreError::is_unavailable`] for whether the items or the store are to blame.
    fn record(&mut self, items: &[Item]) -> Result<Vec<Outcome>, StoreError>;

    /// Those settled ranges of an epoch that share a number with `around`, whole: ascending, touching ones of one state
    /// joined. A gap is left out where the device said that it holds the batch after all, lest it lets go of what then
    /// never comes.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn settled_around(&mut self, device: &DeviceId, epoch: Epoch, around: Range) -> Result<SettledRanges, StoreError>;

    /// All that a device may be told is settled of an epoch.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn settled(&mut self, device: &DeviceId, epoch: Epoch) -> Result<SettledRanges, StoreError> {
        self.settled_around(device, epoch, Range { first: 0, last: u64::MAX })
    }
}

/// An open store: what writes it and what reads it, to be given to different threads.
pub struct Store {
    /// What writes it. Each device is written by one of these at a time.
    pub ledger: Box<dyn Ledger>,
    /// More of the same, where the database takes several commits at once.
    pub others: Vec<Box<dyn Ledger>>,
    /// As many as there are who read; clones share a few connections.
    pub reader: Reader,
    /// Where the store stands, now and after each commit.
    pub feed: watch::Receiver<Tick>,
    /// Who keeps its rollups.
    pub roller: Box<dyn Roll>,
    /// Its audit trail.
    pub trail: Box<dyn audit::Trail>,
}

impl Ledger for Box<dyn Ledger> {
    fn record(&mut self, items: &[Item]) -> Result<Vec<Outcome>, StoreError> {
        (**self).record(items)
    }

    fn settled_around(&mut self, device: &DeviceId, epoch: Epoch, around: Range) -> Result<SettledRanges, StoreError> {
        (**self).settled_around(device, epoch, around)
    }
}

impl From<sqlite::Store> for Store {
    fn from(store: sqlite::Store) -> Self {
        let (feed, roller) = (store.writer.subscribe(), Box::new(store.writer.roller()));
        let trail = Box::new(store.writer.trail());
        Self { ledger: Box::new(store.writer), others: Vec::new(), reader: store.reader, feed, roller, trail }
    }
}

impl From<postgres::Store> for Store {
    fn from(store: postgres::Store) -> Self {
        let (feed, roller) = (store.writer.subscribe(), Box::new(store.roller));
        let others = store.others.into_iter().map(|writer| Box::new(writer) as _).collect();
        Self {
            ledger: Box::new(store.writer),
            others,
            reader: store.reader,
            feed,
            roller,
            trail: Box::new(store.trail),
        }
    }
}

/// Where the store stands. It moves after each commit that has something to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// Where the feed ends.
    pub end: Place,
    /// Grows with each commit, as far as it was heard of.
    pub commits: u64,
}

/// One thing to record. All items of a transaction are recorded, or none.
#[derive(Clone, Debug)]
pub enum Item {
    /// A batch that was read.
    Batch(Batch),
    /// A SenML pack that was read.
    Pack(Pack),
    /// Something that could not be read: kept with its bytes.
    Quarantine(Quarantine),
    /// What will never come.
    Gaps {
        /// Whose.
        device: DeviceId,
        /// What.
        gaps: Vec<Gap>,
    },
    /// All that a device holds, so that the ledger knows what is lost and what need not be kept row by row.
    Held {
        /// Whose.
        device: DeviceId,
        /// What.
        held: Vec<Held>,
    },
    /// Some of what a device holds. Nothing follows for epochs that it does not name.
    HeldPart {
        /// Whose.
        device: DeviceId,
        /// What.
        held: Vec<Held>,
    },
    /// A better clock for a boot whose readings came without one: they are re-timed in this transaction.
    Clock {
        /// Whose.
        device: DeviceId,
        /// The clock.
        clock: Clock,
    },
    /// Two connections of the device take over from each other: its certificate is in use twice.
    Contested {
        /// Whose.
        device: DeviceId,
    },
    /// A sign of life: a connection opened or closed.
    Presence {
        /// Whose.
        device: DeviceId,
        /// Whether it is there.
        connected: bool,
    },
}

impl Item {
    /// Whose it is.
    #[must_use]
    pub fn device(&self) -> &DeviceId {
        match self {
            Self::Batch(Batch { device, .. })
            | Self::Pack(Pack { device, .. })
            | Self::Quarantine(Quarantine { device, .. })
            | Self::Gaps { device, .. }
            | Self::Held { device, .. }
            | Self::HeldPart { device, .. }
            | Self::Clock { device, .. }
            | Self::Contested { device }
            | Self::Presence { device, .. } => device,
        }
    }
}

/// A batch that was read, with its readings on absolute time.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Whose.
    pub device: DeviceId,
    /// Which epoch.
    pub epoch: Epoch,
    /// Its place there.
    pub number: Number,
    /// The hash of its bytes: the same identity with another hash is a conflict.
    pub hash: BodyHash,
    /// The lane it came by.
    pub lane: Lane,
    /// The clock that came with this copy. If the ledger already has an offset for this boot with a synced or held
    /// clock, that one is used instead, so that every copy of every batch of a boot is timed alike.
    pub clock: Clock,
    /// When it came.
    pub arrived: Instant,
    /// Its readings. Times of basis `boot` still count from the boot: the store adds the offset.
    pub columns: Vec<Column>,
    /// Its bytes, in case they must be quarantined (conflict).
    pub body: Bytes,
}

/// A SenML pack that was read, with its readings on absolute time.
#[derive(Clone, Debug)]
pub struct Pack {
    /// Whose.
    pub device: DeviceId,
    /// The hash of its bytes; known for 7 days, at most 10 000 a device.
    pub hash: BodyHash,
    /// Whether all its times are absolute, so that its hash alone identifies it.
    pub absolute: bool,
    /// The MQTT packet id it came with, to know a resend of a pack without times. Of the last 64 packets of the device.
    pub packet_id: Option<u16>,
    /// Whether the device says that it sends it again (DUP). Without that, the same pack under the same id is a new one:
    /// a client that connects for each message uses the same id each time.
    pub resent: bool,
    /// When it came.
    pub arrived: Instant,
    /// Its readings, basis `source`.
    pub columns: Vec<Column>,
    /// Its bytes, in case they must be quarantined.
    pub payload: Bytes,
}

/// Something that could not be read or stored.
#[derive(Clone, Debug)]
pub struct Quarantine {
    /// Whose.
    pub device: DeviceId,
    /// On which channel it came.
    pub channel: Channel,
    /// Its identity, where it has one that could be read.
    pub identity: Option<(Epoch, Number, BodyHash)>,
    /// When it came.
    pub arrived: Instant,
    /// Why, naming what is wrong.
    pub reason: String,
    /// The bytes as they came.
    pub bytes: Bytes,
}

/// What became of an item, in the order of the items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Recorded now.
    Recorded,
    /// Already there: nothing changed.
    Known,
    /// A pack that bears another device's name: kept in quarantine, and alarmed.
    Misnamed,
    /// Not recorded.
    Refused(Refusal),
}

/// What is settled of one epoch, ascending and merged: the content of receipts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettledRanges(pub Vec<(Range, Settlement)>);
