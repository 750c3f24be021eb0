//! Where a file's reading resumes, and how the file is known again.

use proto::BodyHash;
use serde::{Deserialize, Serialize};

use super::replay::Schedule;
use crate::source::SourceError;

/// The version that this writes.
const VERSION: u8 = 1;
/// Bytes of a file's beginning that identify it.
pub(super) const HEAD_BYTES_MAX: usize = 4_096;

/// Where to resume: the place behind the last row that was handed over.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cursor {
    version: u8,
    /// How many bytes `head_hash` is of: a file that was short may have grown.
    pub(super) head_bytes: usize,
    head_hash: BodyHash,
    /// The next row's first byte, from the file's start.
    pub(super) offset: u64,
    /// Lines before it.
    pub(super) lines: u64,
    /// Where the last line began that was taken, if it had no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) open: Option<u64>,
    /// A replay that has begun.
    pub(super) replay: Option<Schedule>,
}

impl Cursor {
    /// The beginning of a file that begins with `head`.
    pub(super) fn new(head: &[u8]) -> Self {
        let head_hash = BodyHash::of(head);
        Self { version: VERSION, head_bytes: head.len(), head_hash, offset: 0, lines: 0, open: None, replay: None }
    }

    /// Whether a file that begins with `head` can be the same.
    pub(super) fn knows(&self, head: &[u8]) -> bool {
        head.get(..self.head_bytes).is_some_and(|head| BodyHash::of(head) == self.head_hash)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and bytes always have a JSON form")
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SourceError> {
        let cursor: Self = serde_json::from_slice(bytes).map_err(|error| SourceError::Cursor(error.to_string()))?;
        if cursor.version != VERSION {
            let problem = format!("version {} is not known, only {VERSION}", cursor.version);
            return Err(SourceError::Cursor(problem));
        }
        Ok(cursor)
    }
}
