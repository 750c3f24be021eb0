//! Which of the files in the folder have come to rest.

use std::collections::HashMap;
use std::time::Duration;

use proto::Instant;

use super::look::Found;

/// Which files have kept their stamp, and since when.
#[derive(Debug, Default)]
pub(super) struct Rest {
    files: HashMap<u64, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    stamp: u64,
    since: Instant,
    read: Read,
}

/// How far a file was read as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    Nothing,
    /// All but a last line that has no end.
    Lines,
    All,
}

/// How long a file must be still.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Before it is read.
    pub(super) settle: Duration,
    /// Before a last line without an end is taken as it stands.
    pub(super) last_line: Duration,
}

impl Rest {
    /// Those of `found` that have been still for long enough and have something that was not read as they are; each with
    /// whether a last line without an end may be taken.
    pub(super) fn ready(&mut self, found: &[Found], patience: Patience, now: Instant) -> Vec<(Found, bool)> {
        self.files.retain(|name, _| found.iter().any(|file| file.name == *name));
        let still = |file: &Found| {
            let new = Seen { stamp: file.stamp, since: now, read: Read::Nothing };
            let seen = self.files.entry(file.name).or_insert(new);
            if seen.stamp != file.stamp {
                *seen = new;
            }
            let for_us = u128::from(now.0.saturating_sub(seen.since.0).unsigned_abs());
            let is_long = for_us >= patience.last_line.as_micros();
            let is_ready = match seen.read {
                Read::Nothing => for_us >= patience.settle.as_micros(),
                Read::Lines => is_long,
                Read::All => false,
            };
            is_ready.then(|| (file.clone(), is_long))
        };
        found.iter().filter_map(still).collect()
    }

    /// That file was read to its end, or is not to be read as it is.
    pub(super) fn done(&mut self, file: &Found) {
        self.reached(file, Read::All);
    }

    /// The same up to a last line that has no end.
    pub(super) fn waits(&mut self, file: &Found) {
        self.reached(file, Read::Lines);
    }

    fn reached(&mut self, file: &Found, read: Read) {
        if let Some(seen) = self.files.get_mut(&file.name).filter(|seen| seen.stamp == file.stamp) {
            seen.read = read;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_ready_once_it_has_kept_its_size_and_again_when_it_has_changed() {
        let file = |stamp| [Found { path: "/a".into(), name: 1, stamp, modified: 0 }];
        let patience = Patience { settle: Duration::from_secs(5), last_line: Duration::from_secs(60) };
        let mut rest = Rest::default();
        let mut ready = |stamp, second: i64| {
            let ready = rest.ready(&file(stamp), patience, Instant(second * 1_000_000));
            ready.iter().for_each(|(file, _)| rest.done(file));
            ready.len()
        };
        assert_eq!([ready(1, 0), ready(2, 4), ready(2, 8), ready(2, 9), ready(2, 30)], [0, 0, 0, 1, 0]);
        assert_eq!([ready(3, 31), ready(3, 35), ready(3, 36)], [0, 0, 1]);
    }

    #[test]
    fn a_file_whose_last_line_has_no_end_is_ready_once_more_after_a_long_while() {
        let file = |stamp| [Found { path: "/a".into(), name: 1, stamp, modified: 0 }];
        let patience = Patience { settle: Duration::from_secs(5), last_line: Duration::from_secs(60) };
        let mut rest = Rest::default();
        let mut ready = |stamp, second: i64| {
            let ready = rest.ready(&file(stamp), patience, Instant(second * 1_000_000));
            ready.iter().for_each(|(file, _)| rest.waits(file));
            ready.first().map(|(_, is_long)| *is_long)
        };
        assert_eq!([ready(1, 0), ready(1, 5), ready(1, 6), ready(1, 59)], [None, Some(false), None, None]);
        assert_eq!([ready(1, 60), ready(2, 100), ready(2, 105)], [Some(true), None, Some(false)]);
    }
}
