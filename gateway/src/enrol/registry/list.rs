//! What an operator may want to see.

use proto::Instant;

use super::{Line, NOTHING, fingerprint};
use crate::store::sql::{Db, SqlError};

/// Certificates, requests, claims and rules.
pub(super) fn list(db: Db<'_>, now: Instant) -> Result<Vec<Line>, SqlError> {
    let mut lines = Vec::new();
    let sql =
        "select device, serial, not_after_us, revoked_us from certificate order by device, not_after_us limit 10000";
    db.prepare(sql).each(NOTHING, |row| {
        let (not_after, revoked): (i64, Option<i64>) = (row.get(2)?, row.get(3)?);
        let what = match revoked {
            Some(_) => "revoked",
            None if not_after < now.0 => "expired",
            None => "certificate",
        };
        let (device, more) = (row.get(0)?, row.get(1)?);
        // It is of interest that the last one of a device has expired; those before did so as they should.
        if let Some(before) =
            lines.last_mut().filter(|before: &&mut Line| before.what == "expired" && before.device == device)
        {
            before.what = "replaced";
        }
        lines.push(Line { device, what, more, time: Some(Instant(not_after)) });
        Ok(())
    })?;
    let sql = "select device, key, asked_us, state from enrolment order by device, id limit 2000";
    db.prepare(sql).each(NOTHING, |row| {
        let what = match row.get::<i64>(3)? {
            0 => "waits",
            1 => "allowed",
            _ => "refused",
        };
        let more = fingerprint(&row.get::<Vec<u8>>(1)?);
        lines.push(Line { device: row.get(0)?, what, more, time: Some(Instant(row.get(2)?)) });
        Ok(())
    })?;
    let sql = "select device, expires_us, used_us from claim order by expires_us limit 10000";
    db.prepare(sql).each(NOTHING, |row| {
        let (expires, used): (i64, Option<i64>) = (row.get(1)?, row.get(2)?);
        let device = row.get::<Option<String>>(0)?.unwrap_or_else(|| "any".to_owned());
        let more = match used {
            Some(_) => "used",
            None if expires < now.0 => "over",
            None => "open",
        };
        lines.push(Line { device, what: "claim", more: more.to_owned(), time: Some(Instant(expires)) });
        Ok(())
    })?;
    db.prepare("select device, cut_us, times from cut_off order by device limit 10000").each(NOTHING, |row| {
        let more = format!("{} times", row.get::<i64>(2)?);
        lines.push(Line { device: row.get(0)?, what: "cut off", more, time: Some(Instant(row.get(1)?)) });
        Ok(())
    })?;
    db.prepare("select pattern from enrolment_rule order by pattern limit 2000").each(NOTHING, |row| {
        lines.push(Line { device: row.get(0)?, what: "rule", more: "may enrol".to_owned(), time: None });
        Ok(())
    })?;
    Ok(lines)
}
