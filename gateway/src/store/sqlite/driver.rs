//! SQLite's side of the seam.

use proto::DeviceId;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use crate::store::feed::{Place, Span};
use crate::store::ledger::{TENANT, to_sql};
use crate::store::sql::{self, Cell, Locked, Many, ReadingRow, Run, SqlError};

const INSERT: &str = "insert into reading
      (tenant, epoch, number, series, quality, id, time_us, ordinal, value, form, code, text, utc_offset_minutes,
       local_text, flags)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

/// One connection at work.
pub(in crate::store) struct Driver<'c>(&'c Connection);

impl<'c> Driver<'c> {
    pub(in crate::store) fn of(connection: &'c Connection) -> Self {
        Self(connection)
    }
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match *self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Int(number) => ToSqlOutput::Owned(Value::Integer(number)),
            Self::Real(number) => ToSqlOutput::Owned(Value::Real(number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

impl sql::Cells for rusqlite::Row<'_> {
    fn cell(&self, column: usize) -> Result<Cell<'_>, SqlError> {
        Ok(match self.get_ref(column)? {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(number) => Cell::Int(number),
            ValueRef::Real(number) => Cell::Real(number),
            ValueRef::Text(text) => {
                let text = std::str::from_utf8(text);
                Cell::Text(text.map_err(|_| SqlError::Column { column, found: "text that is not UTF-8" })?)
            }
            ValueRef::Blob(bytes) => Cell::Blob(bytes),
        })
    }
}

impl sql::Driver for Driver<'_> {
    fn execute(&self, sql: &str, values: &[Cell<'_>]) -> Result<usize, SqlError> {
        Ok(self.0.prepare_cached(sql)?.execute(params_from_iter(values))?)
    }

    fn each(
        &self,
        sql: &str,
        values: &[Cell<'_>],
        row: &mut dyn FnMut(&sql::Row<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let mut statement = self.0.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(found) = rows.next()? {
            row(&sql::Row(found))?;
        }
        Ok(())
    }

    fn execute_many(&self, statement: &Many, rows: &[Vec<Cell<'_>>]) -> Result<(), SqlError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut statement = self.0.prepare_cached(statement.one)?;
        for row in rows {
            statement.execute(params_from_iter(row))?;
        }
        Ok(())
    }

    fn each_many(
        &self,
        query: &Many,
        rows: &[Vec<Cell<'_>>],
        row: &mut dyn FnMut(&sql::Row<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        rows.iter().try_for_each(|values| self.each(query.one, values, row))
    }

    fn append(&self, run: &Run, rows: &mut dyn Iterator<Item = ReadingRow<'_>>) -> Result<(), SqlError> {
        let mut insert = self.0.prepare_cached(INSERT)?;
        // What all rows share is bound once; a binding outlives the execution.
        let (epoch, number) = run.batch.map(|(epoch, number)| (epoch, to_sql(number))).unzip();
        insert.raw_bind_parameter(1, TENANT)?;
        insert.raw_bind_parameter(2, epoch)?;
        insert.raw_bind_parameter(3, number)?;
        insert.raw_bind_parameter(4, run.series)?;
        insert.raw_bind_parameter(5, run.quality)?;
        let mut was_plain = false;
        for row in rows {
            insert.raw_bind_parameter(6, row.id)?;
            insert.raw_bind_parameter(7, row.time_us)?;
            insert.raw_bind_parameter(8, row.ordinal)?;
            insert.raw_bind_parameter(9, row.value)?;
            insert.raw_bind_parameter(10, row.form)?;
            // Most readings are plain numbers: what they all lack is bound once.
            let is_plain = row.code.is_none()
                && row.text.is_none()
                && row.utc_offset_minutes.is_none()
                && row.local_text.is_none();
            if !(is_plain && was_plain) {
                insert.raw_bind_parameter(11, row.code)?;
                insert.raw_bind_parameter(12, row.text)?;
                insert.raw_bind_parameter(13, row.utc_offset_minutes)?;
                insert.raw_bind_parameter(14, row.local_text)?;
            }
            was_plain = is_plain;
            insert.raw_bind_parameter(15, row.flags)?;
            insert.raw_execute()?;
        }
        insert.clear_bindings();
        Ok(())
    }

    fn reserve_readings(&self, last: i64) -> Result<i64, SqlError> {
        Ok(last)
    }

    fn note_feed(&self, _before: i64, last: i64) -> Result<(), SqlError> {
        self.execute("update feed set last_reading = ?2 where tenant = ?1", &[Cell::Int(TENANT), Cell::Int(last)])?;
        Ok(())
    }

    fn feed(&self, after: Place, _readings_max: usize) -> Result<Vec<Span>, SqlError> {
        // Its ids are in the order of commits.
        let first = after.reading.saturating_add(1);
        Ok(vec![Span { turn: 0, first, last: i64::MAX, from_us: i64::MIN, to_us: i64::MAX }])
    }

    fn feed_end(&self) -> Result<Place, SqlError> {
        let mut reading = 0;
        self.each("select last_reading from feed where tenant = ?1", &[Cell::Int(TENANT)], &mut |row| {
            reading = row.get(0)?;
            Ok(())
        })?;
        Ok(Place { turn: 0, reading })
    }

    fn note_presence(&self, device: i64, connected: bool) -> Result<(), SqlError> {
        let values = [Cell::Int(device), Cell::Int(connected.into())];
        self.execute("update device set connected = ?2 where id = ?1", &values)?;
        Ok(())
    }

    fn lock(&self, _devices: &[&DeviceId]) -> Result<Vec<Locked>, SqlError> {
        // There is one writer in the whole world.
        Ok(Vec::new())
    }
}
