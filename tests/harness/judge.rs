//! Reads the gateway's database with SQL of its own, and holds it against what was offered.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::offered::Key;

/// Every stored reading of `device` as a key. States and texts have no bits and are left out; NaN and -0.0 are kept in
/// a column of their own, which is read here as it is documented in the schema.
///
/// # Errors
/// When the database cannot be read.
pub fn stored(database: &Path, device: &str) -> Result<Vec<Key>, rusqlite::Error> {
    let connection = open(database)?;
    let mut statement = connection.prepare(
        "select series.name, reading.time_us, reading.ordinal, reading.value, reading.code
         from reading join series on series.id = reading.series join device on device.id = series.device
         where device.name = ? and reading.form in (0, 1)",
    )?;
    let keys = statement.query_map([device], |row| {
        let code: Option<i64> = row.get(4)?;
        let bits = match code {
            Some(bits) => bits.cast_unsigned(),
            None => row.get::<_, f64>(3)?.to_bits(),
        };
        Ok(Key { series: row.get(0)?, time_us: row.get(1)?, ordinal: row.get(2)?, bits })
    })?;
    keys.collect()
}

/// How many readings of `device`'s times before `time_us` the gateway's database has.
///
/// # Errors
/// When the database cannot be read.
pub fn stored_before(database: &Path, device: &str, time_us: i64) -> Result<usize, rusqlite::Error> {
    let sql = "select count(*) from reading join series on series.id = reading.series join device on device.id = series.device
               where device.name = ? and reading.time_us < ?";
    let count: i64 = open(database)?.query_row(sql, rusqlite::params![device, time_us], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

fn open(database: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Offered and stored once, to the bit.
    pub matched: usize,
    /// Offered and not stored.
    pub lost: usize,
    /// Stored more often than offered.
    pub doubled: usize,
    /// Stored and never offered.
    pub phantom: usize,
    /// One of what is wrong, to look at.
    pub example: Option<(String, Key)>,
}

impl Verdict {
    /// Whether all that was offered is there once, and nothing else.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.phantom == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { matched, lost, doubled, phantom, example } = self;
        write!(f, "{matched} matched, {lost} lost, {doubled} doubled, {phantom} never offered")?;
        if let Some((what, key)) = example {
            write!(f, "; {what}: {} at {} #{} bits {:016x}", key.series, key.time_us, key.ordinal, key.bits)?;
        }
        Ok(())
    }
}

/// Joins `offered` with `stored` on every part of the key.
#[must_use]
pub fn compare(offered: &[Key], stored: &[Key]) -> Verdict {
    let count = |keys: &[Key]| {
        let mut counts: HashMap<Key, usize> = HashMap::with_capacity(keys.len());
        keys.iter().for_each(|key| *counts.entry(key.clone()).or_default() += 1);
        counts
    };
    let (offered, mut stored) = (count(offered), count(stored));
    let mut verdict = Verdict::default();
    for (key, wanted) in offered {
        let found = stored.remove(&key).unwrap_or(0);
        verdict.matched += wanted.min(found);
        verdict.note("lost", &key, wanted.saturating_sub(found));
        verdict.note("doubled", &key, found.saturating_sub(wanted));
    }
    for (key, found) in stored {
        verdict.note("never offered", &key, found);
    }
    verdict
}

impl Verdict {
    fn note(&mut self, what: &str, key: &Key, count: usize) {
        if count == 0 {
            return;
        }
        match what {
            "lost" => self.lost += count,
            "doubled" => self.doubled += count,
            _ => self.phantom += count,
        }
        self.example.get_or_insert_with(|| (what.to_owned(), key.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(time_us: i64, value: f64) -> Key {
        Key { series: "glucose".into(), time_us, ordinal: 0, bits: value.to_bits() }
    }

    #[test]
    fn each_kind_of_fault_is_told_from_the_others() {
        let offered = [key(1, 100.0), key(2, 101.0), key(3, 102.0)];
        assert!(compare(&offered, &offered).is_clean());
        let faults = |stored: &[Key]| {
            let verdict = compare(&offered, stored);
            (verdict.matched, verdict.lost, verdict.doubled, verdict.phantom)
        };
        assert_eq!(faults(&offered[..2]), (2, 1, 0, 0));
        assert_eq!(faults(&[offered.as_slice(), &offered[..1]].concat()), (3, 0, 1, 0));
        assert_eq!(faults(&[key(1, 100.0), key(2, 101.0), key(3, -102.0)]), (2, 1, 0, 1), "another value is another");
        assert_eq!(faults(&[&offered[..], &[key(9, 1.0)]].concat()), (3, 0, 0, 1));
    }
}
