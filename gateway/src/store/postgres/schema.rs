//! Numbered migrations from 1, each in its own transaction together with its number.

use std::time::Duration;

use super::session::{Patience, Session};
use super::settings::Settings;
use super::{refusal, rights, timescale};
use crate::store::error::StoreError;
use crate::store::sql::SqlError;

/// Migration n is the n-th; one that was released is never edited.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/1_first.sql"),
    include_str!("migrations/2_rollup.sql"),
    include_str!("migrations/3_outbox.sql"),
    include_str!("migrations/4_audit.sql"),
    include_str!("migrations/5_enrolment.sql"),
    include_str!("migrations/6_audit_trim.sql"),
    include_str!("migrations/7_cut_off.sql"),
];
/// The second half of the first migration, where TimescaleDB is there and where not.
const HYPERTABLE: &str = include_str!("migrations/1_reading_hypertable.sql");
const PARTITIONS: &str = include_str!("migrations/1_reading_partitions.sql");
/// A migration may rewrite a large table.
const MIGRATION: Duration = Duration::from_secs(24 * 3_600);
/// Two that migrate at once take turns: any number that is nobody else's.
const LOCK: &str = "select pg_advisory_xact_lock(7264193500)";

/// The newest version that this program knows.
pub(super) fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// Brings the schema to the newest version. Answers from and to which.
///
/// # Errors
/// The database is already beyond it, keeps readings otherwise than `settings` insist on, or cannot be written;
/// `settings` name a role that may not; or the server.
pub fn migrate(settings: &Settings) -> Result<(i64, i64), StoreError> {
    let session = Session::open(settings, "tributary migrate", "-c client_min_messages=warning -c lock_timeout=60s")?;
    let patience = Patience::Each(MIGRATION);
    rights::check_to_migrate(&session, patience, settings)?;
    refusal::check_writable(&session, patience, settings)?;
    timescale::check(&session, patience, settings)?;
    let readings = if timescale::is_wanted(settings)? { HYPERTABLE } else { PARTITIONS };
    session.run(
        patience,
        "create table if not exists migration (
        version bigint primary key, applied timestamptz not null default now())",
    )?;
    let from = version(&session, patience)?;
    check_known(from)?;
    for (version, sql) in (1_i64..).zip(MIGRATIONS) {
        session.run(patience, "begin")?;
        session.run(patience, LOCK)?;
        // Another one may have done it meanwhile.
        if self::version(&session, patience)? < version {
            session.run(patience, sql)?;
            if version == 1 {
                session.run(patience, readings)?;
            }
            session.run(patience, &format!("insert into migration (version) values ({version})"))?;
        }
        session.run(patience, "commit")?;
    }
    Ok((from, newest()))
}

/// Fails unless the schema is the one that this program knows, and readings are kept as `settings` insist.
pub(super) fn check(session: &Session, patience: Patience, settings: &Settings) -> Result<(), StoreError> {
    let is_there = "select to_regclass('migration') is not null";
    let is_there: bool =
        session.wait(patience, async { Ok(session.client().query_one(is_there, &[]).await?.try_get(0)?) })?;
    let found = if is_there { version(session, patience)? } else { 0 };
    check_known(found)?;
    let (of, known) = (settings.told(), newest());
    match found {
        0 => Err(StoreError::Unfit(format!("{of} has no tables yet; run `tributary-gateway migrate`"))),
        found if found < known => Err(StoreError::Unfit(format!(
            "{of} has schema {found}, and this program needs {known}; run `tributary-gateway migrate`"
        ))),
        _ => timescale::check(session, patience, settings),
    }
}

fn check_known(found: i64) -> Result<(), StoreError> {
    let known = newest();
    if found > known { Err(StoreError::NewerSchema { found, known }) } else { Ok(()) }
}

fn version(session: &Session, patience: Patience) -> Result<i64, SqlError> {
    let sql = "select coalesce(max(version), 0) from migration";
    session.wait(patience, async { Ok(session.client().query_one(sql, &[]).await?.try_get(0)?) })
}
