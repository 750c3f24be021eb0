//! Series, each with its newest reading.

use super::View;
use super::readings::{COLUMNS, VISIBLE, read_reading};
use crate::store::error::ReadError;
use crate::store::ledger::TENANT;
use crate::store::sql::{Cell, Row, SqlError, params};
use crate::store::view::{Reading, Series};

/// Series in one answer.
const SERIES_MAX: i64 = 10_000;

const SELECT: &str = "select s.id, d.name, s.name, s.unit, s.kind, coalesce(l.label, s.name), coalesce(t.readings, 0)
    from series s
    join device d on d.id = s.device
    left join series_label l on l.series = s.id and l.shown = 1
    left join series_tally t on t.series = s.id
    where s.tenant = ?1";

fn read(row: &Row<'_>) -> Result<Series, SqlError> {
    Ok(Series {
        id: row.get(0)?,
        device: row.get(1)?,
        name: row.get(2)?,
        unit: row.get(3)?,
        kind: row.get(4)?,
        display_name: row.get(5)?,
        readings: row.get(6)?,
        first_us: None,
        latest: None,
    })
}

impl View<'_> {
    /// All series, or those of one device.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn series(&self, device: Option<&str>) -> Result<Vec<Series>, ReadError> {
        self.series_where("(d.name = ?2 or ?2 is null)", params![TENANT, device, SERIES_MAX])
    }

    /// The series that are about a subject now: those assigned themselves, and those of assigned devices that are not
    /// assigned to anybody else.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn series_of_subject(&self, subject: &str) -> Result<Vec<Series>, ReadError> {
        let condition = "?2 = (
            select b.name from assignment a join subject b on b.id = a.subject
            where (a.series = s.id or a.device = s.device) and a.to_us is null
            order by a.series is null, a.from_us desc limit 1)";
        self.series_where(condition, params![TENANT, subject, SERIES_MAX])
    }

    /// One series.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn one_series(&self, id: i64) -> Result<Option<Series>, ReadError> {
        self.db
            .prepare(&format!("{SELECT} and s.id = ?2"))
            .first(params![TENANT, id], read)?
            .map(|series| self.with_extent(series))
            .transpose()
    }

    /// Whose a series is.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn device_of(&self, series: i64) -> Result<Option<String>, ReadError> {
        let sql = "select d.name from series s join device d on d.id = s.device where s.id = ?";
        Ok(self.db.prepare(sql).first([series], |row| row.get(0))?)
    }

    fn series_where(&self, condition: &str, values: [Cell<'_>; 3]) -> Result<Vec<Series>, ReadError> {
        let sql = format!("{SELECT} and {condition} order by d.name, s.name, s.id limit ?3");
        let series: Vec<Series> = self.db.prepare(&sql).rows(values, read)?;
        series.into_iter().map(|series| self.with_extent(series)).collect()
    }

    fn with_extent(&self, series: Series) -> Result<Series, ReadError> {
        let sql =
            format!("select r.time_us from reading r where r.series = ?1 and {VISIBLE} order by r.time_us limit 1");
        let first_us: Option<i64> = self.db.prepare(&sql).first([series.id], |row| row.get(0))?;
        // Where the first readings have gone, what is left of them says when they were.
        let sql = "select coalesce(first_us, start_us) from rollup where series = ?1 and level = 1
                   order by start_us limit 1";
        let first_summed_us = self.db.prepare(sql).first([series.id], |row| row.get(0))?;
        let first_us = first_us.into_iter().chain(first_summed_us).min();
        Ok(Series { first_us, latest: self.latest(series.id)?, ..series })
    }

    /// The newest reading of a series that is not flagged as future; if all are, the newest of those.
    fn latest(&self, series: i64) -> Result<Option<Reading>, ReadError> {
        for condition in ["r.flags & 1 = 0", "true"] {
            let sql = format!(
                "select {COLUMNS} from reading r where r.series = ?1 and {VISIBLE} and {condition}
                 order by r.time_us desc, r.id desc limit 1"
            );
            let found = self.db.prepare(&sql).first([series], read_reading)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}
