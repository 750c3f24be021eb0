//! Whom readings are about.

use super::View;
use crate::store::error::ReadError;
use crate::store::ledger::TENANT;
use crate::store::sql::{Row, SqlError, params};
use crate::store::view::{GlucoseBand, Subject};

/// Subjects in one answer.
const SUBJECTS_MAX: i64 = 1_000;

const SELECT: &str = "select b.name, b.display_name, b.glucose_low_mg_dl, b.glucose_high_mg_dl,
      coalesce((select z.zone from subject_zone z where z.subject = b.id and z.to_us is null
                order by z.from_us desc limit 1), 'UTC')
    from subject b where b.tenant = ?1";

fn read(row: &Row<'_>) -> Result<Subject, SqlError> {
    Ok(Subject {
        id: row.get(0)?,
        display_name: row.get(1)?,
        glucose_band: GlucoseBand { low: row.get(2)?, high: row.get(3)? },
        zone: row.get(4)?,
        series: Vec::new(),
    })
}

impl View<'_> {
    /// All subjects by name.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn subjects(&self) -> Result<Vec<Subject>, ReadError> {
        let sql = format!("{SELECT} order by b.name limit ?2");
        let subjects: Vec<Subject> = self.db.prepare(&sql).rows([TENANT, SUBJECTS_MAX], read)?;
        subjects.into_iter().map(|subject| self.with_series(subject)).collect()
    }

    /// One subject.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn subject(&self, id: &str) -> Result<Option<Subject>, ReadError> {
        self.db
            .prepare(&format!("{SELECT} and b.name = ?2"))
            .first(params![TENANT, id], read)?
            .map(|subject| self.with_series(subject))
            .transpose()
    }

    fn with_series(&self, subject: Subject) -> Result<Subject, ReadError> {
        Ok(Subject { series: self.series_of_subject(&subject.id)?, ..subject })
    }
}
