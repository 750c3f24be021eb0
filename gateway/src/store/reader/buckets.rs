//! Readings summed up.

use super::View;
use crate::store::error::ReadError;
use crate::store::rollup::rows::{self, COLUMNS};
use crate::store::rollup::{Bucket, Level};

impl View<'_> {
    /// The spans of `level` that hold readings of `series`, by their first instants, those in `[from_us, to_us)`: as they
    /// were summed up last.
    ///
    /// # Errors
    /// Too late, or the disk.
    pub fn buckets(
        &self,
        series: i64,
        level: Level,
        (from_us, to_us): (i64, i64),
    ) -> Result<Vec<(i64, Bucket)>, ReadError> {
        let sql = format!(
            "select {COLUMNS} from rollup where series = ?1 and level = ?2 and start_us >= ?3 and start_us < ?4
             order by start_us"
        );
        let values = [series, level.code(), from_us, to_us];
        Ok(self.db.prepare(&sql).rows(values, |row| {
            let ((_, start_us), bucket) = rows::read(row)?;
            Ok((start_us, bucket))
        })?)
    }
}
