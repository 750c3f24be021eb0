//! What was already taken and need not be taken again: the cursor.
//!
//! Meters on the meter's bus are known by the time of their last value, and what is taken when it changes (tariff, messages,
//! counts of failures) by a hash of its text: a message may be long, and is nobody's business in a cursor.

use std::collections::BTreeMap;

use proto::Instant;

use super::sheet::changing;
use crate::source::SourceError;
use crate::source::hash::fnv;

/// What was taken last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// For each channel, the time of the last value that was taken.
    channels: BTreeMap<u8, Instant>,
    /// For each series that is taken when it changes, a hash of what was said last.
    said: BTreeMap<&'static str, u64>,
}

impl Seen {
    /// Whether the value of that time is new, which it then is no longer. A clock that was set back makes new values.
    pub(super) fn take(&mut self, channel: u8, at: Instant) -> bool {
        self.channels.insert(channel, at) != Some(at)
    }

    /// Whether `text` is something else than was said of that series before. A message that was never there is not said;
    /// one that is gone is, as an empty one.
    pub(super) fn is_changed(&mut self, series: &'static str, text: &str) -> bool {
        let now = fnv(text.as_bytes());
        self.said.insert(series, now).unwrap_or_else(|| fnv(b"")) != now
    }

    /// As text: `1@1478541600000000 tariff=8c3f…`.
    pub(super) fn encode(&self) -> Vec<u8> {
        let channels = self.channels.iter().map(|(channel, at)| format!("{channel}@{}", at.0));
        let said = self.said.iter().map(|(series, hash)| format!("{series}={hash:016x}"));
        channels.chain(said).collect::<Vec<_>>().join(" ").into_bytes()
    }

    /// Reads that text.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SourceError> {
        let bad = || SourceError::Cursor("it names no channels and times of a P1 port".into());
        let text = std::str::from_utf8(bytes).map_err(|_| bad())?;
        let mut seen = Self::default();
        for part in text.split_ascii_whitespace() {
            seen.add(part).ok_or_else(bad)?;
        }
        Ok(seen)
    }

    fn add(&mut self, part: &str) -> Option<()> {
        if let Some((channel, at)) = part.split_once('@') {
            self.channels.insert(channel.parse().ok()?, Instant(at.parse().ok()?));
            return Some(());
        }
        let (series, hash) = part.split_once('=')?;
        let hash = u64::from_str_radix(hash, 16).ok()?;
        // A series of another version is said once more.
        if let Some(series) = changing(series) {
            self.said.insert(series, hash);
        }
        Some(())
    }
}
