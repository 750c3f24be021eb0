//! Whether TimescaleDB is there, or can be had.

use std::time::Duration;

use tracing::{info, warn};

use super::session::{Patience, Session};
use super::settings::{Settings, Timescale};
use crate::store::error::StoreError;
use crate::store::sql::SqlError;

/// Creating the extension writes a few thousand rows of its own.
const ANSWER: Patience = Patience::Each(Duration::from_secs(120));

/// How a server is told to load the library.
const PRELOAD: &str = "put `shared_preload_libraries = 'timescaledb'` into its postgresql.conf and restart it";

/// Fails where the table of readings, if it is there, is not kept as `settings` insist, or cannot be written for want of
/// the library that keeps it.
pub(super) fn check(session: &Session, patience: Patience, settings: &Settings) -> Result<(), StoreError> {
    // The library's own settings are there once it is loaded, which it is before this is planned.
    let sql = "select (select relkind = 'p' from pg_class where oid = to_regclass('reading')),
                 exists (select from pg_extension where extname = 'timescaledb')
                 and current_setting('timescaledb.restoring', true) is null";
    let row = session.wait(patience, async { Ok(session.client().query_one(sql, &[]).await?) })?;
    let is_partitioned: Option<bool> = row.try_get(0).map_err(SqlError::from)?;
    let lacks_library: bool = row.try_get(1).map_err(SqlError::from)?;
    match is_partitioned {
        Some(true) if settings.timescale == Timescale::Require => Err(StoreError::Unfit(format!(
            "readings of {} are kept in partitions by month, and timescaledb = \"require\" wants a hypertable; that is \
             decided once, when `tributary-gateway migrate` makes the tables: say timescaledb = \"auto\", or begin with an \
             empty database that has the extension",
            settings.told()
        ))),
        Some(false) if lacks_library => Err(StoreError::Unfit(format!(
            "readings of {} are kept in a hypertable, and the server has not loaded TimescaleDB; {PRELOAD}",
            settings.told()
        ))),
        _ => Ok(()),
    }
}

/// Whether readings shall be a hypertable. Creates the extension where that is allowed.
pub(super) fn is_wanted(settings: &Settings) -> Result<bool, StoreError> {
    if settings.timescale == Timescale::Off {
        return Ok(false);
    }
    if is_there(settings)? {
        return Ok(true);
    }
    // On a connection of its own: a server that has not loaded the library ends it.
    let session = open(settings)?;
    let created = session.run(ANSWER, "create extension if not exists timescaledb");
    match (created, settings.timescale) {
        (Ok(()), _) => {
            info!("created the extension timescaledb");
            Ok(true)
        }
        (Err(error), Timescale::Require) => Err(StoreError::Unfit(format!(
            "there is no TimescaleDB in {}: {error}; install TimescaleDB 2 on the server, {PRELOAD}, and have a superuser \
             run `create extension timescaledb` in this database; or say timescaledb = \"auto\", which keeps readings in \
             partitions by month where it is missing",
            settings.told()
        ))),
        (Err(error), _) => {
            warn!(%error, "readings are kept in partitions: TimescaleDB cannot be had here");
            Ok(false)
        }
    }
}

fn is_there(settings: &Settings) -> Result<bool, StoreError> {
    let session = open(settings)?;
    let sql = "select exists (select from pg_extension where extname = 'timescaledb')";
    let found = session.wait(ANSWER, async { Ok(session.client().query_one(sql, &[]).await?.try_get(0)?) });
    found.map_err(|error: SqlError| error.into())
}

fn open(settings: &Settings) -> Result<Session, StoreError> {
    Session::open(settings, "tributary migrate", "-c client_min_messages=warning")
}
