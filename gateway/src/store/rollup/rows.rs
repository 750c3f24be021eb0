//! Buckets as they lie in the table `rollup`.

use std::collections::BTreeMap;

use super::Level;
use super::bucket::{Bucket, Numbers};
use crate::store::ledger::TENANT;
use crate::store::sql::{Cell, Db, Many, Row, SqlError, ToCell as _};

/// What [`read`] reads.
macro_rules! columns {
    () => {
        "level, start_us, n, sum, sum_squares, min, max, first, first_us, last, last_us, below, above, others, gone"
    };
}
/// The same, for others.
pub(in crate::store) const COLUMNS: &str = columns!();

/// Of one series: level, first instant.
pub(in crate::store) type Place = (Level, i64);

/// A row of [`COLUMNS`].
pub(in crate::store) fn read(row: &Row<'_>) -> Result<(Place, Bucket), SqlError> {
    let level = Level::of_code(row.get(0)?).ok_or(SqlError::Column { column: 0, found: "an unknown level" })?;
    let n: i64 = row.get(2)?;
    let numbers = if n == 0 {
        None
    } else {
        Some(Numbers {
            n,
            sum: row.get(3)?,
            sum_squares: row.get(4)?,
            min: row.get(5)?,
            max: row.get(6)?,
            first: row.get(7)?,
            first_us: row.get(8)?,
            last: row.get(9)?,
            last_us: row.get(10)?,
        })
    };
    let (below, above, others, gone) = (row.get(11)?, row.get(12)?, row.get(13)?, row.get(14)?);
    Ok(((level, row.get(1)?), Bucket { numbers, below, above, others, gone }))
}

/// What has gone of a minute.
pub(in crate::store) fn gone(db: Db<'_>, series: i64, minute_us: i64) -> Result<Bucket, SqlError> {
    // Level 0 before 1. Where it is not apart, all has gone or nothing.
    let sql = format!(
        "select {COLUMNS} from rollup where series = ?1 and level in (0, 1) and start_us = ?2 and gone > 0
         order by level limit 1"
    );
    let found = db.prepare(&sql).first([series, minute_us], read)?;
    Ok(found.map(|(_, bucket)| bucket).unwrap_or_default())
}

/// What of one series lies within some minutes, and within some quarters.
pub(in crate::store) struct Within {
    pub(in crate::store) series: i64,
    /// The first instants of the first and the last minute.
    pub(in crate::store) minutes_us: (i64, i64),
    /// The same of quarters.
    pub(in crate::store) quarters_us: (i64, i64),
}

/// All rows that lie within `spans`.
pub(in crate::store) fn within(db: Db<'_>, spans: &[Within]) -> Result<BTreeMap<(i64, Place), Bucket>, SqlError> {
    let values = |span: &Within| {
        let (minutes, quarters) = (span.minutes_us, span.quarters_us);
        [span.series, minutes.0, minutes.1, quarters.0, quarters.1].map(Cell::Int).to_vec()
    };
    let mut found = BTreeMap::new();
    db.driver().each_many(&WITHIN, &spans.iter().map(values).collect::<Vec<_>>(), &mut |row| {
        let (place, bucket) = read(row)?;
        found.insert((row.get(15)?, place), bucket);
        Ok(())
    })?;
    Ok(found)
}

/// Writes what was made; what is empty is removed. Answers how many rows that were.
pub(in crate::store) fn write(db: Db<'_>, made: &BTreeMap<(i64, Place), Bucket>) -> Result<usize, SqlError> {
    let (empty, full): (Vec<_>, Vec<_>) = made.iter().partition(|(_, bucket)| bucket.is_empty());
    let rows: Vec<_> = full.into_iter().map(cells).collect();
    db.driver().execute_many(&PUT, &rows)?;
    let key = |((series, (level, start_us)), _): (&(i64, Place), &Bucket)| {
        vec![Cell::Int(*series), Cell::Int(level.code()), Cell::Int(*start_us)]
    };
    let keys: Vec<_> = empty.into_iter().map(key).collect();
    db.driver().execute_many(&REMOVE, &keys)?;
    Ok(made.len())
}

fn cells(((series, (level, start_us)), bucket): (&(i64, Place), &Bucket)) -> Vec<Cell<'static>> {
    let numbers = bucket.numbers;
    let real = |of: fn(Numbers) -> f64| numbers.map_or(Cell::Null, |numbers| Cell::Real(of(numbers)));
    let whole = |of: fn(Numbers) -> i64| numbers.map_or(Cell::Null, |numbers| Cell::Int(of(numbers)));
    vec![
        TENANT.to_cell(),
        Cell::Int(*series),
        Cell::Int(level.code()),
        Cell::Int(*start_us),
        Cell::Int(numbers.map_or(0, |numbers| numbers.n)),
        real(|numbers| numbers.sum),
        real(|numbers| numbers.sum_squares),
        real(|numbers| numbers.min),
        real(|numbers| numbers.max),
        real(|numbers| numbers.first),
        whole(|numbers| numbers.first_us),
        real(|numbers| numbers.last),
        whole(|numbers| numbers.last_us),
        Cell::Int(bucket.below),
        Cell::Int(bucket.above),
        Cell::Int(bucket.others),
        Cell::Int(bucket.gone),
    ]
}

const WITHIN: Many = Many {
    one: concat!(
        "select ",
        columns!(),
        ", series from rollup
         where series = ?1 and level in (0, 1) and start_us >= ?2 and start_us <= ?3
         union all
         select ",
        columns!(),
        ", series from rollup
         where series = ?1 and level = 15 and start_us >= ?4 and start_us <= ?5"
    ),
    all: concat!(
        "select found.* from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
           as span (series, first_minute, last_minute, first_quarter, last_quarter)
         cross join lateral (
           select ",
        columns!(),
        ", series from rollup
           where series = span.series and level in (0, 1)
             and start_us >= span.first_minute and start_us <= span.last_minute
           union all
           select ",
        columns!(),
        ", series from rollup
           where series = span.series and level = 15
             and start_us >= span.first_quarter and start_us <= span.last_quarter
         ) as found"
    ),
};
const PUT: Many = Many {
    one:
        "insert or replace into rollup (tenant, series, level, start_us, n, sum, sum_squares, min, max, first, first_us,
            last, last_us, below, above, others, gone)
          values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    all: "insert into rollup (tenant, series, level, start_us, n, sum, sum_squares, min, max, first, first_us,
            last, last_us, below, above, others, gone)
          select * from unnest($1::int[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bigint[], $6::float8[],
            $7::float8[], $8::float8[], $9::float8[], $10::float8[], $11::bigint[], $12::float8[], $13::bigint[],
            $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[])
          on conflict (series, level, start_us) do update set n = excluded.n, sum = excluded.sum,
            sum_squares = excluded.sum_squares, min = excluded.min, max = excluded.max, first = excluded.first,
            first_us = excluded.first_us, last = excluded.last, last_us = excluded.last_us, below = excluded.below,
            above = excluded.above, others = excluded.others, gone = excluded.gone",
};
const REMOVE: Many = Many {
    one: "delete from rollup where series = ?1 and level = ?2 and start_us = ?3",
    all: "delete from rollup using unnest($1::bigint[], $2::smallint[], $3::bigint[]) as old (series, level, start_us)
          where rollup.series = old.series and rollup.level = old.level and rollup.start_us = old.start_us",
};
