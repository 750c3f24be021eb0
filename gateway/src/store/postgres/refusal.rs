//! Why a server is no store for us, in words that say what to do.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::rights::ROLES_SQL;
use super::session::{Patience, Session};
use super::settings::Settings;
use super::told;
use crate::store::error::StoreError;
use crate::store::sql::SqlError;

/// Nobody answered.
pub(super) fn silent(settings: &Settings, waited: Duration) -> StoreError {
    let (told, waited) = (settings.told(), waited.as_secs());
    SqlError::Away(format!("no answer within {waited} s from {told}; check `host` and `port`, and firewalls between"))
        .into()
}

/// Why a connection was not made. What may pass by itself stays an error of the way; the rest is for people.
pub(super) fn explain(settings: &Settings, error: tokio_postgres::Error) -> StoreError {
    let (of, why) = (settings.told(), told(&error));
    let Some(state) = error.code() else {
        return SqlError::Away(format!("cannot reach {of}: {why}; check `host`, `port` and `tls`")).into();
    };
    let advice = match *state {
        SqlState::INVALID_PASSWORD => "check `user` and `password_file`".to_owned(),
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "check `user`, and what the server's pg_hba.conf says of it and of TLS".to_owned()
        }
        SqlState::INVALID_CATALOG_NAME => format!("create it, run {ROLES_SQL} in it, then `tributary-gateway migrate`"),
        SqlState::INSUFFICIENT_PRIVILEGE => format!("run {ROLES_SQL} in it, which grants what the gateway needs"),
        SqlState::TOO_MANY_CONNECTIONS => "raise the server's max_connections or lower `connections_max`".to_owned(),
        _ => return SqlError::Away(format!("cannot use {of}: {why}")).into(),
    };
    StoreError::Unfit(format!("cannot use {of}: {why}; {advice}"))
}

/// Fails where the server may lose what it said is committed, or is too old.
pub(super) fn check_durable(session: &Session, patience: Patience, settings: &Settings) -> Result<(), StoreError> {
    let sql = "select current_setting('fsync'), current_setting('synchronous_commit'),
                 current_setting('server_version_num')::int";
    let row = session.wait(patience, async { Ok(session.client().query_one(sql, &[]).await?) })?;
    let text = |place: usize| row.try_get::<_, String>(place).map_err(SqlError::from);
    let unfit = |why: &str| Err(StoreError::Unfit(format!("cannot use {}: {why}", settings.told())));
    if text(0)? == "off" {
        return unfit("the server has fsync = off, so a power cut loses what was committed; turn it on");
    }
    if text(1)? == "off" {
        return unfit(
            "synchronous_commit = off, so the server says committed before it is; turn it on for this role or database",
        );
    }
    match too_old(row.try_get(2).map_err(SqlError::from)?) {
        Some(why) => unfit(&why),
        None => Ok(()),
    }
}

/// Fails where nothing can be written, whoever asks.
pub(super) fn check_writable(session: &Session, patience: Patience, settings: &Settings) -> Result<(), StoreError> {
    let sql = "select pg_is_in_recovery(), current_setting('transaction_read_only')";
    let row = session.wait(patience, async { Ok(session.client().query_one(sql, &[]).await?) })?;
    let unfit = |why: &str| Err(StoreError::Unfit(format!("cannot use {}: {why}", settings.told())));
    if row.try_get(0).map_err(SqlError::from)? {
        return unfit("the server is a standby, which takes no writes; name the primary as `host`");
    }
    if row.try_get::<_, String>(1).map_err(SqlError::from)? == "on" {
        return unfit("it is read-only (default_transaction_read_only = on); turn that off for this role or database");
    }
    Ok(())
}

/// The oldest that the tests run against, and the oldest that is still maintained.
const MAJOR_MIN: i32 = 15;

/// What is wrong with a server of this version, as in `server_version_num`, if it is too old.
fn too_old(version: i32) -> Option<String> {
    let major = version / 10_000;
    (major < MAJOR_MIN).then(|| format!("the server is PostgreSQL {major}; use {MAJOR_MIN} or newer"))
}

#[cfg(test)]
mod tests {
    use super::too_old;

    #[test]
    fn a_server_older_than_those_that_are_tested_is_refused_by_its_version() {
        assert_eq!(too_old(140_020).unwrap(), "the server is PostgreSQL 14; use 15 or newer");
        assert_eq!([150_000, 150_014, 170_002].map(too_old), [None, None, None]);
    }
}
