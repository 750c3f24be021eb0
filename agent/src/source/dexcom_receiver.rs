//! Dexcom G4, G5 and G6 receivers on their USB cable: what they stored, each record once.
//!
//! A receiver keeps records of several kinds in pages. It is asked, for each kind, which pages there are; from the newest
//! page back to the one that holds the last record that was taken; and from there on page by page, oldest first, each
//! committed with the place it ends at. Nothing in it is changed: no clock is set, nothing erased. [`session`] holds the
//! conversation together, [`frame`] and [`page`] know what bytes mean, [`record`] says what a record becomes, [`memory`]
//! knows what was taken.
//!
//! Facts: openaps/dexcom_reader (readdata, database_records), tidepool-org/uploader (dexcomDriver).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::device::{Codec, Device, Line, Link, check_port};
use super::{BadSetting, SourceError};

mod fields;
mod frame;
mod memory;
mod page;
mod record;
mod session;

use memory::Memory;
use session::Session;

/// A receiver's settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The port that it is at: `/dev/serial/by-id/…`, or `tcp://host:port`.
    pub port: String,
    /// Seconds from one look for new records to the next, 10 to 86400, while the port stays open.
    #[serde(default = "every_s")]
    pub every_s: u32,
}

fn every_s() -> u32 {
    60
}

impl Device for Settings {
    fn validate(&self) -> Result<(), BadSetting> {
        check_port(&self.port)?;
        if !(10..=86_400).contains(&self.every_s) {
            return Err(BadSetting::new("every_s", "is to be 10 to 86400"));
        }
        Ok(())
    }

    fn resumes(&self) -> bool {
        true
    }

    fn link(&self) -> Link {
        Link { port: self.port.clone(), line: Line::plain(115_200) }
    }

    fn codec(&self, cursor: Option<&[u8]>) -> Result<Box<dyn Codec>, SourceError> {
        let memory = cursor.map(Memory::decode).transpose()?.unwrap_or_default();
        Ok(Box::new(Session::new(memory, Duration::from_secs(self.every_s.into()))))
    }
}

/// Takes `bytes` for a page of each kind, and for a cursor. For `super::fuzzing` alone.
pub(super) fn fuzz_page(bytes: &[u8]) -> usize {
    if let Ok(memory) = Memory::decode(bytes) {
        assert_eq!(Memory::decode(&memory.encode()).ok(), Some(memory));
    }
    record::fuzz(bytes) + session::fuzz(bytes)
}

#[cfg(test)]
mod tests;
