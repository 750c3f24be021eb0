//! What a PostgreSQL server says of one device, asked with SQL of the judge's own.

use anyhow::Context;

use super::Place;
use super::ledger::{GapRow, Ledger, NOT_A_NUMBER, StoredRow};
use crate::servers::Sql;

type Row = Vec<Option<String>>;

impl Ledger {
    /// Reads all of `device`, or all but its readings and what the ledger says of each batch.
    ///
    /// # Errors
    /// When the server does not answer, or with what cannot be.
    pub fn of_server(sql: &Sql, device: &str, with_readings: bool) -> anyhow::Result<Self> {
        // One transaction, so that all tables are of one moment.
        sql.run("begin isolation level repeatable read read only")?;
        let ledger = read(sql, device, with_readings);
        sql.run("commit")?;
        ledger
    }
}

fn read(sql: &Sql, device: &str, with_readings: bool) -> anyhow::Result<Ledger> {
    let mut ledger = Ledger::default();
    let of = format!("join device on device.id = epoch.device where device.name = '{device}'");
    let epoch = "encode(epoch.epoch, 'hex')";
    let settled =
        format!("select {epoch}, state, first, last from settled join epoch on epoch.id = settled.epoch {of}");
    for row in sql.rows(&settled)? {
        let range = (number(&row, 1)?, number(&row, 2)?, number(&row, 3)?);
        ledger.settled.entry(bytes(&row, 0)?).or_default().push(range);
    }
    if with_readings {
        let batches =
            format!("select {epoch}, number, batch.readings from batch join epoch on epoch.id = batch.epoch {of}");
        for row in sql.rows(&batches)? {
            ledger.batches.insert((bytes(&row, 0)?, number(&row, 1)?), number(&row, 2)?.unsigned_abs());
        }
    }
    let gaps = format!(
        "select {epoch}, first, last, gap.readings, reason from gap left join epoch on epoch.id = gap.epoch
         join device on device.id = gap.device where device.name = '{device}'"
    );
    for row in sql.rows(&gaps)? {
        let numbers = match row[0] {
            Some(_) => Some((bytes(&row, 0)?, number(&row, 1)?, number(&row, 2)?)),
            None => None,
        };
        let readings = row[3].as_ref().map(|_| number(&row, 3)).transpose()?.map(i64::unsigned_abs);
        ledger.gaps.push(GapRow { numbers, readings, reason: text(&row, 4)?.to_owned() });
    }
    let alarms =
        format!("select kind, count from alarm join device on device.id = alarm.device where device.name = '{device}'");
    for row in sql.rows(&alarms)? {
        ledger.alarms.insert(text(&row, 0)?.to_owned(), number(&row, 1)?.unsigned_abs());
    }
    if with_readings {
        ledger.readings = readings(sql, device)?;
    }
    Ok(ledger)
}

fn readings(sql: &Sql, device: &str) -> anyhow::Result<Vec<StoredRow>> {
    let rows = sql.rows(&format!(
        "select series.name, time_us, value, form, code, quality, flags, encode(epoch.epoch, 'hex'), number
         from reading join series on series.id = reading.series join device on device.id = series.device
         left join epoch on epoch.id = reading.epoch where device.name = '{device}' order by reading.id"
    ))?;
    rows.iter()
        .map(|row| {
            let place: Option<Place> = match (&row[7], &row[8]) {
                (Some(_), Some(_)) => Some((bytes(row, 7)?, number(row, 8)?)),
                _ => None,
            };
            Ok(StoredRow {
                series: text(row, 0)?.to_owned(),
                time_us: number(row, 1)?,
                bits: bits(row)?,
                quality: number(row, 5)?,
                is_future: number(row, 6)? & 1 != 0,
                place,
            })
        })
        .collect()
}

/// Forms 0 and 1 are numbers; where there are bits in a column of their own, they say which.
fn bits(row: &Row) -> anyhow::Result<u64> {
    if number(row, 3)? > 1 {
        return Ok(NOT_A_NUMBER);
    }
    match (&row[4], &row[2]) {
        (Some(_), _) => Ok(number(row, 4)?.cast_unsigned()),
        // The server prints the shortest text that reads as the same number.
        (None, Some(value)) => Ok(value.parse::<f64>().with_context(|| format!("a value `{value}`"))?.to_bits()),
        (None, None) => Ok(NOT_A_NUMBER),
    }
}

fn text(row: &Row, at: usize) -> anyhow::Result<&str> {
    row[at].as_deref().with_context(|| format!("a null in column {at}"))
}

fn number(row: &Row, at: usize) -> anyhow::Result<i64> {
    let text = text(row, at)?;
    text.parse().with_context(|| format!("`{text}` in column {at}"))
}

fn bytes(row: &Row, at: usize) -> anyhow::Result<[u8; 8]> {
    let text = text(row, at)?;
    let number = u64::from_str_radix(text, 16).with_context(|| format!("`{text}` in column {at}"))?;
    anyhow::ensure!(text.len() == 16, "`{text}` is no epoch");
    Ok(number.to_be_bytes())
}
