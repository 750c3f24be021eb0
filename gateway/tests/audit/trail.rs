//! A trail in a file of its own, and what is written into it.

use std::path::{Path, PathBuf};

use proto::Instant;
use tempfile::TempDir;
use tributary_gateway::audit::entry::{Actor, Detail, Entry, Event};
use tributary_gateway::audit::verify::{Fault, VerifyError, Whole, verify};
use tributary_gateway::store::audit::Trail;
use tributary_gateway::store::sqlite;

pub(crate) const NOW: i64 = 1_772_323_200_000_000;

pub(crate) fn now() -> Instant {
    Instant(NOW)
}

/// A database, and a file of checkpoints that may not be there yet.
pub(crate) struct Bed {
    pub(crate) folder: TempDir,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let bed = Self { folder: TempDir::new().unwrap() };
        drop(bed.store());
        bed
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("gateway.db")
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.folder.path().join("gateway.audit")
    }

    /// As a gateway has it.
    pub(crate) fn store(&self) -> sqlite::Store {
        sqlite::Store::open(&self.database(), now).unwrap()
    }

    /// As a command has it.
    pub(crate) fn trail(&self) -> Box<dyn Trail> {
        Box::new(sqlite::Trail::open(&self.database()).unwrap())
    }

    /// What a gateway's operator is told of it.
    pub(crate) fn verify(&self) -> Result<Whole, Fault> {
        told(&mut *self.trail(), &self.checkpoints())
    }
}

/// The same of an open trail.
pub(crate) fn told(trail: &mut dyn Trail, checkpoints: &Path) -> Result<Whole, Fault> {
    match verify(trail, &[checkpoints.to_owned()]) {
        Ok(whole) => Ok(whole),
        Err(VerifyError::Fault(fault)) => Err(fault),
        Err(other) => panic!("{other}: {:?}", std::error::Error::source(&other)),
    }
}

/// The entry that is told by this number from others.
pub(crate) fn entry(number: i64) -> Entry {
    let device = format!("meter-{}", number % 7).parse().unwrap();
    let event = Event::ALL[usize::try_from(number.rem_euclid(11)).unwrap()];
    let subject = (number % 3 != 0).then_some(device);
    let actor = if number % 2 == 0 { Actor::Operator } else { Actor::Gateway };
    let detail = Detail::none().number("number", number).text("why", "because");
    Entry { time: Instant(NOW + number), actor, event, subject, detail }
}

/// Xorshift (Marsaglia, 2003).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// A number from the first to the last.
    pub(crate) fn within(&mut self, first: i64, last: i64) -> i64 {
        first + i64::try_from(self.below(u64::try_from(last - first + 1).unwrap())).unwrap()
    }
}

/// The seed of a test: `TRIBUTARY_SEED`, or another each time; it is printed.
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let drawn = || RandomState::new().build_hasher().finish();
    let seed = std::env::var("TRIBUTARY_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(drawn);
    println!("TRIBUTARY_SEED={seed}");
    seed | 1
}
