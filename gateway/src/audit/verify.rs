//! Whether a trail is what was written: each entry by its own hash, its place by the one before, its end by checkpoints.
//!
//! What is not found: that the last entries were cut off, or made anew, if no checkpoint has seen them; and what somebody
//! did who can write both the store and the file of checkpoints.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::chain::{Hash, Head, Link};
use super::checkpoint::{self, Checkpoint};
use super::trim::Cut;
use crate::store::StoreError;
use crate::store::audit::{Ask, Found, Trail};

/// Entries that are read at once.
const PAGE: u32 = 1_000;

/// A trail that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// How many entries.
    pub entries: i64,
    /// How many were there before them, and went by the rule that ends the trail's growth.
    pub trimmed: i64,
    /// The times of the first and the last, in microseconds since the Unix epoch.
    pub span_us: Option<(i64, i64)>,
    /// Where it ends.
    pub head: Head,
    /// How many checkpoints agree with it.
    pub checkpoints: usize,
}

/// The first entry that is wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An entry is not there, though later ones are.
    #[error("entry {sequence} was removed: entry {found} follows {before}", before = sequence.saturating_sub(1))]
    Removed {
        /// Which.
        sequence: i64,
        /// What is in its stead.
        found: i64,
    },
    /// The first entries went as by the rule, but no checkpoint knows of it.
    #[error(
        "entries up to {through} are not there; a later one says that they were trimmed, but no checkpoint has seen that: \
         give the checkpoints of the gateway that did it, or somebody else removed them"
    )]
    TrimmedUnseen {
        /// The last of them.
        through: i64,
    },
    /// There are entries before the first.
    #[error("entry {sequence} was put before the first one")]
    BeforeFirst {
        /// Which.
        sequence: i64,
    },
    /// What an entry says is not what its hash is of.
    #[error("entry {sequence} was edited: what it says is not what its hash was made of")]
    Edited {
        /// Which.
        sequence: i64,
    },
    /// An entry is not one that was written behind the one before.
    #[error(
        "entry {sequence} does not follow entry {before}: it was put in another's place",
        before = sequence.saturating_sub(1)
    )]
    Moved {
        /// Which.
        sequence: i64,
    },
    /// A checkpoint saw another entry there.
    #[error("entry {sequence} was made anew, or one before it: {at} has another hash for it")]
    MadeAnew {
        /// Which.
        sequence: i64,
        /// Which checkpoint.
        at: Place,
    },
    /// A checkpoint saw later entries.
    #[error(
        "entry {sequence} was cut off, and all after it: {at} has seen entry {seen}. Or an older copy of the database was \
         put back: then keep that file elsewhere, and begin a new one"
    )]
    CutOff {
        /// Which.
        sequence: i64,
        /// The last entry that was seen.
        seen: i64,
        /// Which checkpoint.
        at: Place,
    },
}

/// Where a checkpoint stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of {}", self.line, self.file.display())
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store.
    #[error("read the audit trail")]
    Store(#[from] StoreError),
    /// A file of checkpoints.
    #[error("read the checkpoints of the audit trail in {}", file.display())]
    Checkpoints {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The trail is not what was written.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Checks all of a trail against itself and against `files` of checkpoints. Entries may be added meanwhile.
///
/// # Errors
/// With the first entry that is wrong; or when something cannot be read.
pub fn verify(trail: &mut dyn Trail, files: &[PathBuf]) -> Result<Whole, VerifyError> {
    // Checkpoints first: the entries that they have seen are there by then.
    let mut checker = Checker::default();
    for file in files {
        checker.read(file).map_err(|source| VerifyError::Checkpoints { file: file.clone(), source })?;
    }
    let mut after = i64::MIN;
    loop {
        let page = trail.page(&Ask { after: Some(after), subject: None, entries_max: PAGE })?;
        let Some(last) = page.last() else { break };
        after = last.sequence();
        page.iter().try_for_each(|found| checker.take(found))?;
    }
    Ok(checker.finish()?)
}

impl Found {
    /// Its place.
    #[must_use]
    pub fn sequence(&self) -> i64 {
        match self {
            Self::Link(Link { sequence, .. }) | Self::Unreadable { sequence } => *sequence,
        }
    }
}

/// Goes along a chain.
#[derive(Debug, Default)]
struct Checker {
    head: Head,
    span_us: Option<(i64, i64)>,
    /// By the entry that was the last. Two lines that contradict each other are both kept.
    checkpoints: BTreeMap<i64, Vec<(Hash, Place)>>,
    agreed: usize,
    /// Where what is left begins, if the first entries are not there.
    cut: Option<Head>,
    /// Where the last entry that tells of a cut says that it was.
    told_cut: Option<Head>,
}

impl Checker {
    fn read(&mut self, file: &Path) -> std::io::Result<()> {
        checkpoint::read(file, |line, Checkpoint { head: Head { sequence, hash }, .. }| {
            let seen = self.checkpoints.entry(sequence).or_default();
            if !seen.iter().any(|(known, _)| *known == hash) {
                seen.push((hash, Place { file: file.to_owned(), line }));
            }
        })
    }

    fn take(&mut self, found: &Found) -> Result<(), Fault> {
        let (sequence, expected) = (found.sequence(), self.head.sequence.saturating_add(1));
        if sequence < 1 {
            return Err(Fault::BeforeFirst { sequence });
        }
        if let (None, Found::Link(link), true) = (self.span_us, found, sequence > 1) {
            // What is before it was trimmed, if a later entry says so.
            self.head = Head { sequence: sequence.saturating_sub(1), hash: link.previous };
            self.cut = Some(self.head);
        } else if sequence != expected {
            return Err(Fault::Removed { sequence: expected, found: sequence });
        }
        let Found::Link(link) = found else { return Err(Fault::Edited { sequence }) };
        // First: an entry in another's place has the other's number under its own hash.
        if link.previous != self.head.hash {
            return Err(Fault::Moved { sequence });
        }
        if link.hash != link.expected_hash() {
            return Err(Fault::Edited { sequence });
        }
        self.told_cut = Cut::told(link).or(self.told_cut);
        for (hash, at) in self.checkpoints.remove(&sequence).unwrap_or_default() {
            if hash != link.hash {
                return Err(Fault::MadeAnew { sequence, at });
            }
            self.agreed += 1;
        }
        self.span_us = Some((self.span_us.map_or(link.time_us, |(first, _)| first), link.time_us));
        self.head = link.head();
        Ok(())
    }

    fn finish(mut self) -> Result<Whole, Fault> {
        let trimmed = self.check_cut()?;
        let Self { head, span_us, checkpoints, agreed, .. } = self;
        let beyond = checkpoints.into_iter().next_back();
        match beyond.and_then(|(seen, places)| Some((seen, places.into_iter().next()?.1))) {
            Some((seen, at)) => Err(Fault::CutOff { sequence: head.sequence.saturating_add(1), seen, at }),
            None => {
                let entries = head.sequence.saturating_sub(trimmed);
                Ok(Whole { entries, trimmed, span_us, head, checkpoints: agreed })
            }
        }
    }

    /// Where the first entries are not there: an entry must say so, and a checkpoint must have seen the last of them. The
    /// checkpoints of those before it say nothing any more. Answers how many they were.
    fn check_cut(&mut self) -> Result<i64, Fault> {
        let Some(cut) = self.cut else { return Ok(0) };
        if self.told_cut != Some(cut) {
            return Err(Fault::Removed { sequence: 1, found: cut.sequence.saturating_add(1) });
        }
        let seen = self.checkpoints.remove(&cut.sequence).unwrap_or_default();
        if let Some((_, at)) = seen.iter().find(|(hash, _)| *hash != cut.hash) {
            return Err(Fault::MadeAnew { sequence: cut.sequence, at: at.clone() });
        }
        if seen.is_empty() {
            return Err(Fault::TrimmedUnseen { through: cut.sequence });
        }
        self.agreed += seen.len();
        self.checkpoints = self.checkpoints.split_off(&cut.sequence);
        Ok(cut.sequence)
    }
}
