//! The messages that are not frames: what a device says of itself, and what the gateway answers.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::DeviceId;
use crate::body::BodyHash;
use crate::ranges::Range;
use crate::time::{BootId, Clock, Instant};
use crate::wire::{self, DecodeError, Epoch, Nonce, Number, at_most};

/// Epochs in one hello; an agent with more says the rest in the next one.
pub const HELLO_EPOCHS_MAX: usize = 64;
/// Held ranges of one epoch in a hello. The agent joins the oldest of those beyond, and looks itself in the answer for
/// what lies between them.
pub const HELLO_RANGES_MAX: usize = 64;
/// Ranges in one receipt; more are said in receipts that follow, see [`Receipt::continued`].
pub const RECEIPT_RANGES_MAX: usize = 256;
/// Refused batches in one receipt.
pub const RECEIPT_REFUSED_MAX: usize = 64;
/// Gaps or clocks in one notice.
pub const NOTICE_ITEMS_MAX: usize = 256;

/// What a device publishes on `hello`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Notice {
    /// What the device holds; asks for receipts.
    Hello(Hello),
    /// What will never come.
    Gaps(#[serde(deserialize_with = "at_most::<NOTICE_ITEMS_MAX, _, _>")] Vec<Gap>),
    /// Better clocks for boots whose readings went out without one.
    Clocks(#[serde(deserialize_with = "at_most::<NOTICE_ITEMS_MAX, _, _>")] Vec<Clock>),
    /// Part of what the device holds: it has more epochs than one hello names. Claims nothing of those it leaves out.
    HelloPart(Hello),
}

/// Opens each connection, and repeats every 15 minutes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Fresh for every hello; the answering receipts echo it.
    pub nonce: Nonce,
    /// The lowest and highest wire version the device reads.
    pub versions: (u8, u8),
    /// What the device holds of each epoch.
    #[serde(deserialize_with = "at_most::<HELLO_EPOCHS_MAX, _, _>")]
    pub epochs: Vec<Held>,
}

/// What a device holds of one epoch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Held {
    /// Which epoch.
    pub epoch: Epoch,
    /// Batches in the buffer, settled or not.
    #[serde(deserialize_with = "at_most::<HELLO_RANGES_MAX, _, _>")]
    pub ranges: Vec<Range>,
    /// The number the next batch will have; lower numbers that are neither held nor settled are missing.
    pub next: Number,
}

/// What the gateway has settled of one epoch. It never says more than what is durably committed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The nonce of the hello this answers. Without one the receipt only adds; with one, what it leaves out is not
    /// settled, whatever was said before.
    pub nonce: Option<Nonce>,
    /// The gateway's clock, from which a device without one takes the time.
    pub gateway_time: Instant,
    /// Which epoch.
    pub epoch: Epoch,
    /// Settled numbers, ascending.
    #[serde(deserialize_with = "at_most::<RECEIPT_RANGES_MAX, _, _>")]
    pub ranges: Vec<Settled>,
    /// More receipts about this epoch follow, to be read together with this one.
    pub continued: bool,
    /// Batches that were not taken, with the reason.
    #[serde(deserialize_with = "at_most::<RECEIPT_REFUSED_MAX, _, _>")]
    pub refused: Vec<Refused>,
    /// Ed25519 over [`Receipt::to_be_signed`], where receipts travel through a broker.
    pub signature: Option<Signature>,
}

impl Receipt {
    /// What a signature is over: which device it is for, and all that it says.
    #[must_use]
    pub fn to_be_signed(&self, device: &DeviceId) -> Vec<u8> {
        let said = Self { signature: None, ..self.clone() }.encode();
        // No device id has a zero byte in it.
        [&b"tributary receipt 1\0"[..], device.as_str().as_bytes(), &[0], &said].concat()
    }
}

/// 64 bytes of Ed25519 (RFC 8032), in two halves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Signature(pub [u8; 32], pub [u8; 32]);

/// Numbers that share one end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settled {
    /// Which numbers.
    pub range: Range,
    /// How they ended.
    pub state: Settlement,
}

/// How a batch ended at the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Settlement {
    /// Its readings are committed.
    Stored,
    /// Its bytes are committed, aside, with the reason why they could not be read.
    Quarantined,
    /// It will never come; the gap is committed.
    Gap,
}

/// A batch that was not taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// Which batch.
    pub number: Number,
    /// The hash of what came.
    pub hash: BodyHash,
    /// Why.
    pub reason: Refusal,
}

/// Why a batch was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// Another body was committed under the same identity.
    Conflict,
    /// The device's quarantine is full; the batch may be sent again later.
    QuarantineFull,
    /// It is larger than the gateway takes.
    TooLarge,
}

/// Numbers, or a span of time, that will never come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Gap {
    /// The epoch whose numbers are gone, if numbers were given at all.
    pub epoch: Option<Epoch>,
    /// Which numbers.
    pub range: Option<Range>,
    /// The source that lost readings, where it is known.
    pub source: Option<String>,
    /// From when, on the boot clock of `boot` or else absolute.
    pub from: Option<Instant>,
    /// Until when.
    pub until: Option<Instant>,
    /// The boot that `from` and `until` count from.
    pub boot: Option<BootId>,
    /// How many readings, where it is known.
    pub count: Option<u64>,
    /// Why.
    pub reason: GapReason,
}

/// Why readings will never come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum GapReason {
    /// The buffer was full, and they were the first to go.
    Evicted,
    /// The disk could not take them.
    DiskFull,
    /// The buffer's file was damaged.
    Damaged,
    /// Readings came faster than they could be committed.
    Overrun,
    /// An operator dropped them.
    Dropped,
    /// Nothing explains it: alarm.
    Unexplained,
}

impl GapReason {
    /// As it is kept in databases and shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::DiskFull => "disk_full",
            Self::Damaged => "damaged",
            Self::Overrun => "overrun",
            Self::Dropped => "dropped",
            Self::Unexplained => "unexplained",
        }
    }
}

/// What a device says of its connection: retained on `status`, and as last will.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Whether it is there.
    pub presence: Presence,
    /// The device's own clock, where it has one.
    pub at: Option<Instant>,
    /// The agent's version.
    pub agent: String,
}

/// Whether a device is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Presence {
    /// Connected.
    Online,
    /// It took its leave.
    Offline,
    /// Its last will says so: the connection ended without leave.
    Lost,
}

/// A message of its own on the wire.
macro_rules! message {
    ($($type:ident $what:literal),*) => {$(
        impl $type {
            /// The bytes of this message.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                wire::encode(self)
            }

            /// The message in `bytes`. Fails on another version, on truncation and on passed bounds.
            pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
                wire::decode(bytes, $what)
            }
        }
    )*};
}
pub(crate) use message;

message!(Notice "notice", Receipt "receipt", Status "status");
