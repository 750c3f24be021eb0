//! What was taken of a site: the cursor that is committed with the readings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Collection;
use super::record::Record;
use crate::source::SourceError;

/// The version that this writes.
const VERSION: u8 = 1;
/// Records of one collection that are known again: a day of one a minute, and as many again.
pub(super) const SEEN_MAX: usize = 4_096;

/// What was taken of each collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Memory {
    places: [Place; Collection::ALL.len()],
}

/// Where the reading of one collection stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Place {
    /// By order of change: the greatest `srvModified` that was taken.
    pub(super) since: u64,
    /// Those that were taken from the end of that order, so that what came late into it is not overlooked: key and
    /// `srvModified`.
    pub(super) recent: Vec<(u64, u64)>,
    /// By time: all before this was read at least once, in milliseconds. 0: nothing yet.
    pub(super) until_ms: i64,
    /// Nothing before this is read: the first look did not, or it is not known again.
    pub(super) floor_ms: i64,
    /// Those that are known again, by key.
    pub(super) seen: BTreeMap<u64, Seen>,
}

/// A record that was taken by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Seen {
    /// When it happened.
    pub(super) at_ms: i64,
    /// Of what it said.
    pub(super) content: u32,
    /// As it was handed over.
    pub(super) revision: u64,
}

/// How a record stands to what was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It was taken as it is.
    Known,
    /// It was not taken.
    New,
    /// It was taken and says something else now.
    Edited,
}

impl Memory {
    pub(super) fn place(&mut self, collection: Collection) -> &mut Place {
        &mut self.places[collection as usize]
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(postcard::to_allocvec(self).expect("numbers always have a form"));
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SourceError> {
        let (version, rest) = bytes.split_first().ok_or_else(|| SourceError::Cursor("it is empty".into()))?;
        if *version != VERSION {
            return Err(SourceError::Cursor(format!("version {version} is not known, only {VERSION}")));
        }
        let memory: Self = postcard::from_bytes(rest).map_err(|error| SourceError::Cursor(error.to_string()))?;
        let fits = |place: &Place| place.recent.len() <= SEEN_MAX && place.seen.len() <= SEEN_MAX;
        if !memory.places.iter().all(fits) {
            return Err(SourceError::Cursor("it holds more than it may".into()));
        }
        Ok(memory)
    }
}

impl Place {
    /// Whether `record`, read by time, is new; and the revision that it is to be handed over with.
    pub(super) fn news(&self, record: &Record) -> (News, u64) {
        let Some(seen) = self.seen.get(&record.key) else { return (News::New, record.modified.unwrap_or(0)) };
        if seen.content == record.content {
            return (News::Known, seen.revision);
        }
        // A site that does not count edits has them counted here.
        (News::Edited, record.modified.filter(|modified| *modified > seen.revision).unwrap_or(seen.revision + 1))
    }

    /// A record was taken that happened at `at_ms`.
    pub(super) fn note(&mut self, record: &Record, at_ms: i64, revision: u64) {
        self.seen.insert(record.key, Seen { at_ms, content: record.content, revision });
    }

    /// Forgets what will not be read again: what is before `keep_ms`; and the oldest where there are too many.
    pub(super) fn forget_before(&mut self, keep_ms: i64) {
        self.seen.retain(|_, seen| seen.at_ms >= keep_ms);
        if self.seen.len() > SEEN_MAX {
            let mut times: Vec<i64> = self.seen.values().map(|seen| seen.at_ms).collect();
            times.sort_unstable();
            let last_out = times[times.len() - SEEN_MAX - 1];
            self.floor_ms = self.floor_ms.max(last_out + 1);
            self.seen.retain(|_, seen| seen.at_ms > last_out);
        }
    }

    /// Whether that change, read by order of change, was taken: so, or by time.
    pub(super) fn has(&self, key: u64, modified: u64) -> bool {
        self.recent.contains(&(key, modified)) || self.seen.get(&key).is_some_and(|seen| seen.revision >= modified)
    }

    /// Whether anything under that key was taken from the end of the order.
    pub(super) fn has_key(&self, key: u64) -> bool {
        self.recent.iter().any(|(known, _)| *known == key)
    }

    /// Changes up to `since` were taken. Those are known again that are at most `guard` older.
    pub(super) fn moved(&mut self, since: u64, taken: impl Iterator<Item = (u64, u64)>, guard: u64) {
        self.since = self.since.max(since);
        self.recent.extend(taken);
        self.recent.retain(|(_, modified)| *modified > self.since.saturating_sub(guard));
        self.recent.sort_unstable_by_key(|(_, modified)| *modified);
        let extra = self.recent.len().saturating_sub(SEEN_MAX);
        self.recent.drain(..extra);
    }

    /// From where changes are to be asked for: behind it, all that were taken are known again.
    pub(super) fn guarded(&self, guard: u64) -> u64 {
        if self.recent.len() < SEEN_MAX { self.since.saturating_sub(guard) } else { self.since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, content: u32, modified: Option<u64>) -> Record {
        Record { modified, content, ..Record::read(Collection::Entries, &format!("{{\"_id\":\"{id}\"}}")) }
    }

    #[test]
    fn a_record_is_new_once_and_its_edits_are_counted() {
        let mut place = Place::default();
        let mut take = |record: Record| {
            let (news, revision) = place.news(&record);
            place.note(&record, 1, revision);
            (news, revision)
        };
        assert_eq!(take(record("a", 1, None)), (News::New, 0));
        assert_eq!(take(record("a", 1, None)), (News::Known, 0));
        assert_eq!(take(record("a", 2, None)), (News::Edited, 1));
        assert_eq!(take(record("a", 1, None)), (News::Edited, 2), "back to what it was");
        assert_eq!(take(record("a", 3, Some(500))), (News::Edited, 500));
        assert_eq!(take(record("a", 4, Some(500))), (News::Edited, 501), "edited behind the site's back");
        assert_eq!(take(record("b", 1, Some(7))), (News::New, 7));
    }

    #[test]
    fn what_is_forgotten_is_not_read_again() {
        let mut place = Place::default();
        for at in 0..SEEN_MAX + 10 {
            let at_ms = i64::try_from(at / 4).unwrap();
            place.note(&record(&at.to_string(), 1, None), at_ms, 0);
        }
        place.forget_before(0);
        assert_eq!((place.floor_ms, place.seen.len()), (3, SEEN_MAX + 10 - 12));
        place.forget_before(500);
        assert!(place.seen.values().all(|seen| seen.at_ms >= 500));
        let memory = Memory { places: [place.clone(), Place::default(), Place::default(), place] };
        assert_eq!(Memory::decode(&memory.encode()).unwrap(), memory);
        for bad in [&b""[..], b"\x02", b"\x01\xff\xff"] {
            assert!(Memory::decode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn changes_near_the_end_are_known_again() {
        let mut place = Place::default();
        place.moved(10_000, [(1, 4_000), (2, 9_000), (3, 10_000)].into_iter(), 5_000);
        assert_eq!((place.since, place.guarded(5_000)), (10_000, 5_000));
        assert!(place.has(2, 9_000) && !place.has(1, 4_000) && !place.has(2, 10_000));
        let many = (0..SEEN_MAX as u64 + 5).map(|key| (key, 10_000));
        place.moved(10_000, many, 5_000);
        assert_eq!((place.recent.len(), place.guarded(5_000)), (SEEN_MAX, 10_000), "too many to know them all");
    }
}
