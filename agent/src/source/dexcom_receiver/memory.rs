//! What was taken of each receiver: the cursor.
//!
//! Records of a kind are numbered on and on, while pages come and go. So the number behind the last that was taken is
//! kept, and a hash of that last one: a receiver that was reset has another record of that number.

use serde::{Deserialize, Serialize};

use super::page::KINDS;
use crate::source::SourceError;
use crate::source::hash::fnv;

/// The version that this writes.
const VERSION: u8 = 1;
/// Receivers that are kept; beyond, the one that was not seen for longest is forgotten.
const RECEIVERS_MAX: usize = 16;

/// What was taken, of every receiver that was ever at this port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    version: u8,
    /// The last seen is the last.
    receivers: Vec<Receiver>,
}

/// What was taken of one receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Receiver {
    /// A hash of its serial number, which says who its owner is.
    serial: u64,
    /// By how much its display differs from its own clock, in seconds, as was last told.
    pub(super) display_offset: Option<i32>,
    /// By how much its own clock differs from this machine's, in seconds, as was last told.
    pub(super) clock_error: Option<i64>,
    marks: Vec<Mark>,
}

/// How far one kind of records was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    kind: u8,
    /// The number behind that of the last record that was taken.
    pub(super) next: u32,
    /// A hash of that record.
    pub(super) last: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { version: VERSION, receivers: Vec::new() }
    }
}

impl Memory {
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers always have a JSON form")
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SourceError> {
        let memory: Self = serde_json::from_slice(bytes).map_err(|error| SourceError::Cursor(error.to_string()))?;
        if memory.version != VERSION {
            let problem = format!("version {} is not known, only {VERSION}", memory.version);
            return Err(SourceError::Cursor(problem));
        }
        let fits = |receiver: &Receiver| {
            receiver.marks.len() <= KINDS.len() && receiver.marks.iter().all(|mark| mark.next > 0)
        };
        if memory.receivers.len() > RECEIVERS_MAX || !memory.receivers.iter().all(fits) {
            return Err(SourceError::Cursor("it holds what it may not".into()));
        }
        Ok(memory)
    }

    /// What is known of the receiver with that serial number.
    pub(super) fn of(&self, serial: &[u8]) -> Receiver {
        let serial = fnv(serial);
        let known = self.receivers.iter().find(|receiver| receiver.serial == serial).cloned();
        known.unwrap_or(Receiver { serial, ..Receiver::default() })
    }

    /// Keeps what was taken of `receiver`.
    pub(super) fn keep(&mut self, receiver: Receiver) {
        self.receivers.retain(|other| other.serial != receiver.serial);
        if self.receivers.len() == RECEIVERS_MAX {
            self.receivers.remove(0);
        }
        self.receivers.push(receiver);
    }
}

impl Receiver {
    /// How far records of `kind` were taken; none where none was.
    pub(super) fn mark(&self, kind: u8) -> Option<Mark> {
        self.marks.iter().find(|mark| mark.kind == kind).copied()
    }

    /// Nothing of that kind that was taken is still there.
    pub(super) fn forget(&mut self, kind: u8) {
        self.marks.retain(|mark| mark.kind != kind);
    }

    /// All records of `kind` before `next` were taken.
    pub(super) fn take(&mut self, kind: u8, next: u32, last: u64) {
        self.forget(kind);
        self.marks.push(Mark { kind, next, last });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_receivers_the_last_seen_are_kept() {
        let mut memory = Memory::default();
        for number in 0..=RECEIVERS_MAX {
            let mut receiver = memory.of(&number.to_le_bytes());
            receiver.take(4, 7, 9);
            receiver.take(4, 8, 10);
            memory.keep(receiver);
        }
        let decoded = Memory::decode(&memory.encode()).unwrap();
        assert_eq!(decoded, memory);
        assert_eq!(decoded.of(&0_usize.to_le_bytes()).mark(4), None);
        let mark = decoded.of(&RECEIVERS_MAX.to_le_bytes()).mark(4).unwrap();
        assert_eq!((mark.next, mark.last), (8, 10));
        assert!(Memory::decode(b"{\"version\":2,\"receivers\":[]}").is_err());
    }
}
