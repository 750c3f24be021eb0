//! What the gateway's database says of one device.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};

use super::Place;

/// A stored reading.
#[derive(Clone, Debug)]
pub struct StoredRow {
    /// The series' name.
    pub series: String,
    /// Microseconds since the Unix epoch.
    pub time_us: i64,
    /// The value's bits; what is not a number has those of a NaN that nobody offers.
    pub bits: u64,
    /// Of the clock that stamped it: 0 unset, 1 held, 2 synced, 3 the source's own.
    pub quality: i64,
    /// Whether it is flagged as taken after it arrived.
    pub is_future: bool,
    /// The batch that it came in.
    pub place: Option<Place>,
}

impl fmt::Display for StoredRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.place.map_or(0, |place| place.1);
        write!(f, "{} at {} is {}, in batch {number}", self.series, self.time_us, f64::from_bits(self.bits))
    }
}

/// A row of table `gap`.
#[derive(Clone, Debug)]
pub struct GapRow {
    /// Epoch, first and last number; none for a span of time.
    pub numbers: Option<([u8; 8], i64, i64)>,
    /// How many readings, where that is known.
    pub readings: Option<u64>,
    /// Why.
    pub reason: String,
}

/// Everything that the gateway's database says of one device.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Its readings, in the order in which they were committed.
    pub readings: Vec<StoredRow>,
    /// Settled numbers by epoch: state (0 stored, 1 quarantined, 2 gap), first, last.
    pub settled: HashMap<[u8; 8], Vec<(i64, i64, i64)>>,
    /// How many readings the ledger says each batch has, where it still says it.
    pub batches: HashMap<Place, u64>,
    /// What will never come.
    pub gaps: Vec<GapRow>,
    /// Alarms by kind, with how often each was raised.
    pub alarms: HashMap<String, u64>,
}

/// A number that no source yields: quiet NaN with a payload of its own.
pub(super) const NOT_A_NUMBER: u64 = 0x7ff8_0000_dead_beef;

impl Ledger {
    /// Reads all of it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn read(database: &Path, device: &str) -> rusqlite::Result<Self> {
        let db = open(database)?;
        // One transaction, so that all tables are of one moment.
        db.execute_batch("begin")?;
        Ok(Self { readings: readings(&db, device)?, ..Self::of_numbers(&db, device)? })
    }

    /// The same without readings: quick, while things run.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn read_numbers(database: &Path, device: &str) -> rusqlite::Result<Self> {
        let db = open(database)?;
        db.execute_batch("begin")?;
        Self::of_numbers(&db, device)
    }

    fn of_numbers(db: &Connection, device: &str) -> rusqlite::Result<Self> {
        let mut ledger = Self::default();
        let sql = "select epoch.epoch, state, first, last from settled join epoch on epoch.id = settled.epoch
                   join device on device.id = epoch.device where device.name = ?";
        each(db, sql, device, |row| {
            ledger.settled.entry(row.get(0)?).or_default().push((row.get(1)?, row.get(2)?, row.get(3)?));
            Ok(())
        })?;
        let sql = "select epoch.epoch, number, batch.readings from batch join epoch on epoch.id = batch.epoch
                   join device on device.id = epoch.device where device.name = ?";
        each(db, sql, device, |row| {
            ledger.batches.insert((row.get(0)?, row.get(1)?), count(row, 2)?);
            Ok(())
        })?;
        let sql =
            "select epoch.epoch, first, last, gap.readings, reason from gap left join epoch on epoch.id = gap.epoch
                   join device on device.id = gap.device where device.name = ?";
        each(db, sql, device, |row| {
            let epoch: Option<[u8; 8]> = row.get(0)?;
            let numbers = match epoch {
                Some(epoch) => Some((epoch, row.get(1)?, row.get(2)?)),
                None => None,
            };
            let readings = row.get::<_, Option<i64>>(3)?.map(i64::unsigned_abs);
            ledger.gaps.push(GapRow { numbers, readings, reason: row.get(4)? });
            Ok(())
        })?;
        let sql = "select kind, count from alarm join device on device.id = alarm.device where device.name = ?";
        each(db, sql, device, |row| {
            ledger.alarms.insert(row.get(0)?, count(row, 1)?);
            Ok(())
        })?;
        Ok(ledger)
    }

    /// How `number` of `epoch` was settled, if it was: 0 stored, 1 quarantined, 2 gap.
    #[must_use]
    pub fn state_of(&self, (epoch, number): Place) -> Option<i64> {
        let ranges = self.settled.get(&epoch)?;
        ranges.iter().find(|(_, first, last)| (*first..=*last).contains(&number)).map(|(state, ..)| *state)
    }
}

/// Opens a database for reading, whether its owner runs or not; changes nothing.
pub(super) fn open(database: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(database, flags)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(db)
}

fn readings(db: &Connection, device: &str) -> rusqlite::Result<Vec<StoredRow>> {
    let sql = "select series.name, time_us, value, form, code, quality, flags, epoch.epoch, number
               from reading join series on series.id = reading.series join device on device.id = series.device
               left join epoch on epoch.id = reading.epoch where device.name = ? order by reading.id";
    let mut rows = Vec::new();
    each(db, sql, device, |row| {
        // Forms 0 and 1 are numbers; NaN and -0.0 have their bits in a column of their own.
        let bits = match (row.get(3)?, row.get::<_, Option<i64>>(4)?, row.get::<_, Option<f64>>(2)?) {
            (0 | 1, Some(bits), _) => bits.cast_unsigned(),
            (0_i64 | 1, None, Some(value)) => value.to_bits(),
            _ => NOT_A_NUMBER,
        };
        let place = row.get::<_, Option<[u8; 8]>>(7)?.zip(row.get(8)?);
        let is_future = row.get::<_, i64>(6)? & 1 != 0;
        rows.push(StoredRow {
            series: row.get(0)?,
            time_us: row.get(1)?,
            bits,
            quality: row.get(5)?,
            is_future,
            place,
        });
        Ok(())
    })?;
    Ok(rows)
}

fn each(
    db: &Connection,
    sql: &str,
    device: &str,
    mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([device])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::unsigned_abs)
}
