//! A time-series store beside the relational one: what it is given, and what it answers.

use std::path::Path;
use std::sync::Arc;

use certs::files;
use proto::{BodyHash, Epoch, Number, Value};

use super::view::TimeQuality;

/// Ranks that fit into the digits of a nanosecond below its microsecond.
pub const RANK_MAX: i64 = 999;

/// A store that is keyed by time. What it has at a series and an instant of nanoseconds, it has once.
pub trait Sink: Send {
    /// Writes `records`, and answers which of them it does not take; all others are durably there when this returns.
    /// The same records may come again, and change nothing then.
    ///
    /// # Errors
    /// Nobody knows which are there. They are to be written again.
    fn write(&mut self, records: &[Record]) -> Result<Vec<Refused>, SinkError>;
}

/// Why a time-series store cannot be written now. Texts hold no value of a reading, and no secret.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// It is away, overloaded, or ill: time may heal it.
    #[error("{0}")]
    Away(String),
    /// It refuses everything until a person does something; the text says what.
    #[error("{0}")]
    Unfit(String),
}

/// A record that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which, by its place among those that were to be written.
    pub place: usize,
    /// Why.
    pub why: Why,
}

/// Why a record is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Another reading has its instant and its rank: this one needs the next.
    Collision,
    /// It never will be. May quote the reading: not for logs.
    Never(String),
}

/// A reading as a time-series store gets it. Every copy of it is the same, to the bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its id in the relational store.
    pub reading: i64,
    /// Of which series.
    pub series: Arc<Named>,
    /// When it was taken.
    pub time_us: i64,
    /// Its rank among readings of this series and instant.
    pub rank: i64,
    /// What it says.
    pub value: Value,
    /// How its time is known; never `unset`.
    pub quality: TimeQuality,
    /// Minutes east of UTC at its origin.
    pub utc_offset_minutes: Option<i16>,
    /// In what it came.
    pub carrier: Carrier,
    /// Its place there, counted from 0.
    pub place: u32,
    /// Which record of its origin it is of, where the origin names them.
    pub origin: Option<Origin>,
    /// Whether raw readings of its time may be gone from the relational store, so that its rank there says nothing.
    pub is_late: bool,
}

/// A series by its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Its key in the relational store.
    pub key: i64,
    /// Whose.
    pub device: String,
    /// `glucose`
    pub name: String,
    /// `mg/dL`
    pub unit: String,
    /// `gauge`, `counter`, `delta`, `state`, `text` or `event`.
    pub kind: String,
}

/// What readings come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A batch.
    Batch(Epoch, Number),
    /// A SenML pack, by its hash.
    Pack(BodyHash),
}

/// A correction, or what one may refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The name that the origin gave to its record.
    pub id: String,
    /// Its revision; the greatest counts.
    pub revision: u64,
    /// `add`, `replace` or `retract`.
    pub change: &'static str,
}

impl Record {
    /// Nanoseconds since the Unix epoch, with its rank in the digits below the microsecond.
    ///
    /// # Errors
    /// It has none: its rank is above [`RANK_MAX`], or it is too far from 1970 (some 292 years).
    pub fn time_ns(&self) -> Result<i64, String> {
        if !(0..=RANK_MAX).contains(&self.rank) {
            return Err(format!("more than {} readings of one series at one instant", RANK_MAX + 1));
        }
        let time_ns = self.time_us.checked_mul(1_000).and_then(|time_ns| time_ns.checked_add(self.rank));
        time_ns.ok_or_else(|| "its time has no nanoseconds in 64 bits".to_owned())
    }
}

impl Carrier {
    /// What tells it from all others of its device: an epoch in hexadecimal digits and a number, or a hash alone.
    #[must_use]
    pub fn names(&self) -> (String, Option<Number>) {
        match self {
            Self::Batch(epoch, number) => (epoch.to_string(), Some(*number)),
            Self::Pack(hash) => (hash.0.iter().map(|byte| format!("{byte:02x}")).collect(), None),
        }
    }
}

/// Bytes that a password or a token may have.
const SECRET_BYTES_MAX: u64 = 4_096;

/// The password or token in a file, without the line's end.
///
/// # Errors
/// It cannot be read, others than its owner may read it, or it holds no text.
pub(in crate::store) fn secret(path: &Path) -> Result<String, SinkError> {
    let (bytes, mode) = files::read(path, SECRET_BYTES_MAX).map_err(|error| SinkError::Unfit(error.to_string()))?;
    let path = path.display();
    if mode & 0o077 != 0 {
        return Err(SinkError::Unfit(format!(
            "{path} has mode {mode:04o}, so others can read it; run `chmod 600 {path}`"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|_| SinkError::Unfit(format!("{path} holds no text")))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(SinkError::Unfit(format!("{path} is empty"))) } else { Ok(text.to_owned()) }
}
