//! What a doctor asks of a server: whether the gateway's role may do too little or too much, and what time it is there.

use std::time::Duration;

use super::rights::{self, PLACE};
use super::schema;
use super::session::{Patience, Session};
use super::settings::Settings;
use crate::store::error::StoreError;
use crate::store::sql::SqlError;

/// Nothing that is asked takes longer.
const OPTIONS: &str = "-c statement_timeout=5s -c lock_timeout=2s -c default_transaction_read_only=on";
const ANSWER: Duration = Duration::from_secs(8);
/// What the role of `run` may do and need not, the worst first.
const TOO_WIDE: &str = "
    select what from (
      select 0 as rank, 'is a superuser' as what from pg_roles where rolname = current_user and rolsuper
      union all select 1, 'may make roles' from pg_roles where rolname = current_user and rolcreaterole
      union all select 2, 'may make databases' from pg_roles where rolname = current_user and rolcreatedb
      union all select 3, 'may replicate' from pg_roles where rolname = current_user and rolreplication
      union all select 4, 'passes by row security' from pg_roles where rolname = current_user and rolbypassrls
      union all select 5, 'is the tables'' owner' from place where pg_has_role(relowner, 'usage')
      union all select 6, 'may make tables in schema ' || nspname from place where has_schema_privilege(oid, 'create')
      union all select 7, 'may ' || r.may || ' on table ' || c.relname
        from place join pg_class c on c.relnamespace = place.oid and c.relname in ('audit', 'migration')
        cross join unnest(array['insert', 'update', 'delete', 'truncate']) as r (may)
        where has_table_privilege(c.oid, r.may) and not (c.relname = 'audit' and r.may = 'insert')
      union all select 8, 'shares the database with every role of the server'
        where has_database_privilege('public', current_database(), 'connect')
    ) as found order by rank, what";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// What the role lacks, and what to do.
    pub lacking: Option<String>,
    /// What it may and need not; where it is a superuser, just that.
    pub too_wide: Vec<String>,
    /// The server's clock, in seconds since 1970.
    pub clock_s: i64,
}

/// Asks the server that `settings` name, as the role that they name. Blocks.
///
/// # Errors
/// It cannot be reached, or its schema is not the one of this program.
pub fn examine(settings: &Settings) -> Result<Examined, StoreError> {
    let patience = Patience::Each(ANSWER);
    let session = Session::open(settings, "tributary doctor", OPTIONS)?;
    let lacking = match rights::check_to_run(&session, patience, settings) {
        Ok(()) => None,
        Err(StoreError::Unfit(lacking)) => Some(lacking),
        Err(other) => return Err(other),
    };
    if lacking.is_none() {
        schema::check(&session, patience, settings)?;
    }
    let sql = format!("{PLACE}{TOO_WIDE}");
    let rows = session.wait(patience, async { Ok(session.client().query(&sql, &[]).await?) })?;
    let mut too_wide: Vec<String> =
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(SqlError::from)?;
    if too_wide.first().is_some_and(|worst| worst == "is a superuser") {
        too_wide.truncate(1);
    }
    let sql = "select extract(epoch from clock_timestamp())::bigint";
    let row = session.wait(patience, async { Ok(session.client().query_one(sql, &[]).await?) })?;
    Ok(Examined { lacking, too_wide, clock_s: row.try_get(0).map_err(SqlError::from)? })
}
