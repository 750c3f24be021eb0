//! A gateway's database as it is, read with the judge's own SQL.

use std::collections::BTreeMap;
use std::path::Path;

use proto::Instant;
use rusqlite::Connection;

/// Device, epoch, number.
pub(crate) type Place = (String, Vec<u8>, u64);

/// The gateway's clock in these rigs: 2026-11-21T00:00:00Z.
pub(crate) fn now() -> Instant {
    Instant(1_795_219_200_000_000)
}

/// A database's content.
#[derive(Debug, Default)]
pub(crate) struct Image {
    /// Times and the bits of values by batch, ascending.
    pub(crate) readings: BTreeMap<Place, Vec<(i64, u64)>>,
    /// The ledger: 0 stored, 1 quarantined, 2 gap.
    pub(crate) settled: BTreeMap<Place, i64>,
    /// Bytes kept aside.
    pub(crate) aside: BTreeMap<Place, Vec<u8>>,
}

impl Image {
    /// Reads `gateway.db` in `folder`. Fails when it is damaged anywhere.
    pub(crate) fn read(folder: &Path) -> rusqlite::Result<Self> {
        let file = Connection::open(folder.join("gateway.db"))?;
        let check: String = file.query_row("pragma integrity_check(1)", [], |row| row.get(0))?;
        if check != "ok" {
            let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(rusqlite::Error::SqliteFailure(corrupt, Some(check)));
        }
        let mut image = Self::default();
        let mut query = file.prepare(
            "select d.name, e.epoch, r.number, r.time_us, r.value from reading r
             join epoch e on e.id = r.epoch join device d on d.id = e.device order by r.time_us",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let place = (row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.cast_unsigned());
            let value: f64 = row.get(4)?;
            image.readings.entry(place).or_default().push((row.get(3)?, value.to_bits()));
        }
        let mut query = file.prepare(
            "select d.name, e.epoch, s.first, s.last, s.state from settled s
             join epoch e on e.id = s.epoch join device d on d.id = e.device",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (device, epoch): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
            for number in row.get::<_, i64>(2)?..=row.get::<_, i64>(3)? {
                image.settled.insert((device.clone(), epoch.clone(), number.cast_unsigned()), row.get(4)?);
            }
        }
        let mut query = file.prepare(
            "select d.name, e.epoch, q.number, q.bytes from quarantine q
             join epoch e on e.id = q.epoch join device d on d.id = e.device",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let place = (row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.cast_unsigned());
            image.aside.insert(place, row.get(3)?);
        }
        Ok(image)
    }
}
