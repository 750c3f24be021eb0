//! The small tables of a damaged file: each row that is what was written is kept.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, Statement, Transaction, params_from_iter};

use super::Living;
use crate::buffer::cursors::{self, ANYONE};
use crate::buffer::rows::{count_epochs, fill_boots, write_clock, write_epoch};
use crate::buffer::sums::{self, Summed};

/// Tables whose rows have no sum: no batch is sent otherwise for what they say.
const PLAIN: [(&str, &[&str]); 4] = [
    ("resumed", &["source"]),
    ("age", &["hour", "last_row"]),
    ("tally", &["name", "count"]),
    ("reject", &["id", "source", "place", "reason", "bytes"]),
];

/// What was kept.
pub(super) struct Whole {
    /// Every row of every table.
    pub(super) all: bool,
    /// Every epoch: without one, its rows lie where another's would.
    pub(super) epochs: bool,
}

/// Copies what is readable and sound.
pub(super) fn copy_all(
    damaged: &Connection,
    transaction: &Transaction<'_>,
    living: Option<Living>,
) -> Result<Whole, rusqlite::Error> {
    let has_sums = damaged.prepare("select sum from batch").is_ok();
    transaction.execute("delete from counter", [])?; // a fresh file counts no epochs
    let (mut all, mut cursors, mut resumed) = (true, true, true);
    for summed in sums::ALL {
        let done = copy_summed(damaged, transaction, summed, has_sums)?;
        all &= done;
        cursors &= done || summed.table != sums::CURSOR.table;
    }
    if let Some(Living { epoch: Some(span), clock, .. }) = &living {
        write_epoch(transaction, span)?;
        write_clock(transaction, clock)?;
    }
    let epochs = sums::epochs_are_all_there(transaction)? || !has_sums;
    fill_boots(transaction)?;
    count_epochs(transaction)?;
    for (table, columns) in PLAIN {
        let done = copy_plain(damaged, transaction, table, columns)?;
        all &= done;
        resumed &= done || table != "resumed";
    }
    cursors::name_all(transaction)?;
    if !cursors && !resumed {
        transaction.execute("insert or ignore into resumed (source) values (?)", [ANYONE])?;
    }
    Ok(Whole { all: all && epochs, epochs })
}

fn copy_summed(
    damaged: &Connection,
    transaction: &Transaction<'_>,
    summed: &Summed,
    has_sums: bool,
) -> Result<bool, rusqlite::Error> {
    let (table, columns, count) = (summed.table, summed.columns.join(", "), summed.columns.len());
    let read = if has_sums { format!("{columns}, sum") } else { columns };
    let query = format!("select {read} from {table}");
    let marks = vec!["?"; count + 1].join(", ");
    let insert = format!("insert or ignore into {table} ({}) values ({marks})", summed.with_sum());
    copy(damaged, &query, &mut transaction.prepare(&insert)?, |row| {
        if has_sums {
            summed.verify(row)?;
        }
        let mut values = (0..count).map(|column| row.get(column)).collect::<Result<Vec<Value>, _>>()?;
        values.push(Value::Integer(summed.of(values.iter().map(Into::into))));
        Ok(values)
    })
}

fn copy_plain(
    damaged: &Connection,
    transaction: &Transaction<'_>,
    table: &str,
    columns: &[&str],
) -> Result<bool, rusqlite::Error> {
    let (names, marks) = (columns.join(", "), vec!["?"; columns.len()].join(", "));
    let query = format!("select {names} from {table}");
    let insert = format!("insert or ignore into {table} ({names}) values ({marks})");
    copy(damaged, &query, &mut transaction.prepare(&insert)?, |row| {
        (0..columns.len()).map(|column| row.get(column)).collect()
    })
}

/// Copies the rows that `take` can make something of; false when that were not all.
fn copy(
    damaged: &Connection,
    query: &str,
    insert: &mut Statement<'_>,
    mut take: impl FnMut(&Row<'_>) -> Result<Vec<Value>, rusqlite::Error>,
) -> Result<bool, rusqlite::Error> {
    let Ok(mut statement) = damaged.prepare(query) else { return Ok(false) };
    let Ok(mut rows) = statement.query([]) else { return Ok(false) };
    let mut whole = true;
    loop {
        match rows.next() {
            Ok(None) => return Ok(whole),
            Err(_) => return Ok(false),
            Ok(Some(row)) => match take(row).and_then(|values| insert.execute(params_from_iter(values))) {
                Ok(_) => {}
                // A row that its table does not take is one that was damaged; a full disk is another matter.
                Err(error) if is_of_the_disk(&error) => return Err(error),
                Err(_) => whole = false,
            },
        }
    }
}

fn is_of_the_disk(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, DatabaseCorrupt};
    error.sqlite_error_code().is_some_and(|code| !matches!(code, ConstraintViolation | DatabaseCorrupt))
}
