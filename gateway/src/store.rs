//! What is kept: readings, the ledger of what was settled, quarantine, gaps, and who is who.
//!
//! The pipeline writes through [`Item`]s, many in one transaction; the API reads.

use bytes::Bytes;
use proto::message::{Gap, Held, Refusal, Settlement};
use proto::{BodyHash, Channel, Clock, Column, DeviceId, Epoch, Instant, Lane, Number, Range};

pub mod sqlite;
pub mod view;

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
    /// Not recorded.
    Refused(Refusal),
}

/// What is settled of one epoch, ascending and merged: the content of receipts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettledRanges(pub Vec<(Range, Settlement)>);
