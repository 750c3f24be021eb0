//! What was already taken of the meters on the meter's bus: the cursor.

use std::collections::BTreeMap;

use proto::Instant;

use crate::source::SourceError;

/// For each channel, the time of the last value that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen(BTreeMap<u8, Instant>);

impl Seen {
    /// Whether the value of that time is new, which it then is no longer. A clock that was set back makes new values.
    pub(super) fn take(&mut self, channel: u8, at: Instant) -> bool {
        self.0.insert(channel, at) != Some(at)
    }

    /// As text: `1@1478541600000000 2@…`.
    pub(super) fn encode(&self) -> Vec<u8> {
        let all: Vec<String> = self.0.iter().map(|(channel, at)| format!("{channel}@{}", at.0)).collect();
        all.join(" ").into_bytes()
    }

    /// Reads that text.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SourceError> {
        let bad = || SourceError::Cursor("it names no channels and times of a P1 port".into());
        let text = std::str::from_utf8(bytes).map_err(|_| bad())?;
        let one = |part: &str| {
            let (channel, at) = part.split_once('@')?;
            Some((channel.parse().ok()?, Instant(at.parse().ok()?)))
        };
        let all: Option<BTreeMap<u8, Instant>> = text.split_ascii_whitespace().map(one).collect();
        all.map(Self).ok_or_else(bad)
    }
}
