//! Claimed readings as records of a time-series store.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use proto::{DeviceId, Epoch};

use super::StoreError;
use crate::store::ledger::{Claim, Claimed, TENANT, value};
use crate::store::sink::{Carrier, Named, Origin, RANK_MAX, Record};
use crate::store::sql::{Db, Row, SqlError, params};
use crate::store::view::TimeQuality;

/// Names of series, and of epochs, remembered; beyond it all are forgotten and read again.
const REMEMBERED_MAX: usize = 20_000;

/// What rollups are made by.
const MINUTE_US: i64 = 60_000_000;

/// What is behind keys. None of it ever changes.
#[derive(Default)]
pub(super) struct Names {
    series: HashMap<i64, Arc<Named>>,
    epochs: HashMap<i64, Epoch>,
}

/// A row of `reading`, before its names are known.
struct Plain {
    series: i64,
    record: Record,
}

const ROWS: &str = "select r.id, r.series, r.time_us, r.ordinal, r.quality, r.utc_offset_minutes,
      r.value, r.form, r.code, r.text, o.origin, o.revision, o.change
    from reading r left join reading_origin o on o.reading = r.id
    where r.id between ?1 and ?2 and r.quality <> 0 order by r.id";

/// All readings of `claims` whose time is known. The others are claimed again when they are re-timed.
pub(super) fn of(db: Db<'_>, claims: &[Claim], names: &mut Names) -> Result<Vec<Record>, StoreError> {
    if names.series.len() + names.epochs.len() > REMEMBERED_MAX {
        *names = Names::default();
    }
    // Readings that are older may be gone, so that ranks were dealt which this store does not know any more.
    let sql = "select raw_from_us from rollup_state where tenant = ?1";
    let raw_from_us = db.prepare(sql).one([TENANT], |row| row.get(0))?;
    let mut carriers = Vec::with_capacity(claims.len());
    for claim in claims {
        let carrier = match claim.of {
            Claimed::Pack { hash } => Carrier::Pack(hash),
            Claimed::Batch { epoch, number } => Carrier::Batch(names.epoch(db, epoch)?, number),
        };
        carriers.push((claim.first, claim.last, carrier));
    }
    carriers.sort_unstable_by_key(|(first, ..)| *first);
    let (statement, mut records) = (db.prepare(ROWS), Vec::new());
    // What one commit claimed lies together, and is read at once.
    for together in carriers.chunk_by(|(_, last, _), (first, ..)| *first == last + 1) {
        let (Some((from, ..)), Some((_, to, _))) = (together.first(), together.last()) else { continue };
        for Plain { series, record } in statement.rows([*from, *to], |row| read(row, together, raw_from_us))? {
            records.push(Record { series: names.series(db, series)?, ..record });
        }
    }
    Ok(records)
}

/// A reading that came in one of `carriers`, which are from a first reading to a last, in their order.
fn read(row: &Row<'_>, carriers: &[(i64, i64, Carrier)], raw_from_us: i64) -> Result<Plain, SqlError> {
    let (reading, time_us) = (row.get::<i64>(0)?, row.get::<i64>(2)?);
    let after = carriers.partition_point(|(first, ..)| *first <= reading);
    let (first, _, carrier) = *after.checked_sub(1).and_then(|place| carriers.get(place)).ok_or(SqlError::NoRow)?;
    let origin = match row.get::<Option<String>>(10)? {
        Some(id) => Some(Origin {
            id,
            revision: row.get::<i64>(11)?.cast_unsigned() ^ (1 << 63),
            change: match row.get::<i64>(12)? {
                1 => "replace",
                2 => "retract",
                _ => "add",
            },
        }),
        None => None,
    };
    let record = Record {
        reading,
        series: Arc::default(),
        time_us,
        rank: row.get(3)?,
        value: value::read(row, 6)?,
        quality: match row.get::<i64>(4)? {
            1 => TimeQuality::Held,
            2 => TimeQuality::Synced,
            _ => TimeQuality::Source,
        },
        utc_offset_minutes: row.get(5)?,
        carrier,
        place: u32::try_from(reading - first).unwrap_or(u32::MAX),
        origin,
        is_late: time_us < raw_from_us,
    };
    Ok(Plain { series: row.get(1)?, record })
}

/// Gives `record` the next free rank of its instant, in its row.
pub(super) fn rank_anew(db: Db<'_>, record: &mut Record) -> Result<(), StoreError> {
    // Nobody else may deal ranks of this device meanwhile.
    if let Ok(device) = record.series.device.parse::<DeviceId>() {
        db.driver().lock(&[&device])?;
    }
    let values = [record.series.key, record.time_us];
    let sql = "select coalesce(max(ordinal), 0) from reading where series = ?1 and time_us = ?2";
    let highest: i64 = db.prepare(sql).one(values, |row| row.get(0))?;
    record.rank = highest.max(record.rank).saturating_add(1).min(RANK_MAX + 1);
    let sql = "update reading set ordinal = ?3 where series = ?1 and time_us = ?2 and id = ?4";
    db.prepare(sql).execute(params![record.series.key, record.time_us, record.rank, record.reading])?;
    // It stands elsewhere among those of its instant, which is the order in which a minute is summed up.
    let sql = "insert into rollup_mark (tenant, series, start_us) values (?1, ?2, ?3)";
    let minute = record.time_us.div_euclid(MINUTE_US) * MINUTE_US;
    db.prepare(sql).execute([TENANT, record.series.key, minute])?;
    Ok(())
}

impl Names {
    fn series(&mut self, db: Db<'_>, key: i64) -> Result<Arc<Named>, StoreError> {
        match self.series.entry(key) {
            Entry::Occupied(known) => Ok(Arc::clone(known.get())),
            Entry::Vacant(entry) => {
                let sql = "select d.name, s.name, s.unit, s.kind from series s join device d on d.id = s.device
                           where s.id = ?1";
                let named = db.prepare(sql).one([key], |row| {
                    let (device, name) = (row.get(0)?, row.get(1)?);
                    Ok(Named { key, device, name, unit: row.get(2)?, kind: row.get(3)? })
                })?;
                Ok(Arc::clone(entry.insert(Arc::new(named))))
            }
        }
    }

    fn epoch(&mut self, db: Db<'_>, key: i64) -> Result<Epoch, StoreError> {
        match self.epochs.entry(key) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(entry) => {
                let bytes = db.prepare("select epoch from epoch where id = ?1").one([key], |row| row.get(0))?;
                Ok(*entry.insert(Epoch(bytes)))
            }
        }
    }
}
