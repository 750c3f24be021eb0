//! Whether TimescaleDB is there, or can be had.

use std::time::Duration;

use tracing::{info, warn};

use super::session::{Patience, Session};
use super::settings::{Settings, Timescale};
use crate::store::error::StoreError;
use crate::store::sql::SqlError;

/// Creating the extension writes a few thousand rows of its own.
const ANSWER: Patience = Patience::Each(Duration::from_secs(120));

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
            "there is no TimescaleDB in {}: {error}; put `shared_preload_libraries = 'timescaledb'` into the server's \
             postgresql.conf, restart it, and have a superuser run `create extension timescaledb` in this database; or \
             say timescaledb = \"auto\"",
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
