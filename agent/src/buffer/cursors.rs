//! Where sources resume, and which of them must not because nobody knows where.
//!
//! A source that has lost its cursor would begin anew and take in a second time what it took in before, under new
//! numbers, so that nobody could tell the two apart. An older copy of the cursor would do the same on a smaller scale.
//! Such a source is not started until a person decides.

use std::collections::HashMap;

use rusqlite::Connection;

use super::sums::CURSOR;
use super::{Buffer, BufferError};

/// Stands for all sources whose names are lost with their cursors. No source can be called so.
pub(super) const ANYONE: &str = "*";

impl Buffer {
    /// Every source's cursor, as far as it is what the source handed over.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn cursors(&mut self) -> Result<HashMap<String, Vec<u8>>, BufferError> {
        self.sound(|buffer| known(&buffer.connection))
    }

    /// Those of `sources` whose cursor was damaged: they must not begin anew by themselves. Where damage took even the
    /// names, these are all that have no cursor; from then on they are known by name.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn lost_cursors(&mut self, sources: &[&str]) -> Result<Vec<String>, BufferError> {
        self.sound(|buffer| buffer.try_lost_cursors(sources))
    }

    fn try_lost_cursors(&mut self, sources: &[&str]) -> Result<Vec<String>, rusqlite::Error> {
        let known = known(&self.connection)?;
        let without: Vec<&str> = sources.iter().copied().filter(|source| !known.contains_key(*source)).collect();
        let begun = |connection: &Connection, source: &str| {
            connection.query_row("select exists (select 1 from resumed where source = ?)", [source], |row| row.get(0))
        };
        if begun(&self.connection, ANYONE)? {
            let transaction = self.connection.transaction()?;
            for source in &without {
                transaction.execute("insert or ignore into resumed (source) values (?)", [source])?;
            }
            transaction.execute("delete from resumed where source = ?", [ANYONE])?;
            transaction.commit()?;
        }
        let mut lost = Vec::new();
        for source in without {
            if begun(&self.connection, source)? {
                lost.push(source.to_owned());
            }
        }
        Ok(lost)
    }
}

fn known(connection: &Connection) -> Result<HashMap<String, Vec<u8>>, rusqlite::Error> {
    let mut statement = connection.prepare_cached("select source, position, sum from cursor")?;
    let mut rows = statement.query([])?;
    let mut cursors = HashMap::new();
    while let Some(row) = rows.next()? {
        CURSOR.verify(row)?;
        cursors.insert(row.get(0)?, row.get(1)?);
    }
    Ok(cursors)
}

/// Notes the name of every source that has a cursor, should they have been damaged.
pub(super) fn name_all(connection: &Connection) -> Result<(), rusqlite::Error> {
    let query =
        "insert into resumed (source) select source from cursor where source not in (select source from resumed)";
    connection.execute(query, [])?;
    Ok(())
}
