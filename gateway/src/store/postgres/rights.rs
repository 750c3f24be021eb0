//! Whether a role may do what it has to, and if not, what it lacks and who can help.

use tokio_postgres::error::SqlState;

use super::session::{Patience, Session};
use super::settings::Settings;
use super::told;
use crate::store::error::StoreError;
use crate::store::sql::SqlError;

/// Where the tables are, or would be made: the first place on the way to them, or the usual one if that is closed to us.
/// With it who owns them, if there are any.
pub(super) const PLACE: &str = "
    with place as (
      select n.oid, n.nspname, m.relowner from pg_namespace n
      left join pg_class m on m.relnamespace = n.oid and m.relname = 'migration' and m.relkind = 'r'
      where n.nspname = any (current_schemas(false)) or n.nspname = 'public'
      order by m.oid is null, array_position(current_schemas(false), n.nspname) limit 1)";
/// What the role of `run` lacks, the most telling first, and who owns the tables. Months and chunks are reached by
/// `reading` and need no right of their own. Nothing where there is no table yet.
const LACKING: &str = "
    , wanted (rank, may, what, has) as (
      select 0, 'usage', 'schema ' || nspname, has_schema_privilege(oid, 'usage') from place
      union all
      select case c.relname when 'reading' then 1 else 2 end, r.may, 'table ' || c.relname, has_table_privilege(c.oid, r.may)
      from place join pg_class c on c.relnamespace = place.oid and c.relowner = place.relowner
      cross join unnest(array['insert', 'select', 'update', 'delete']) as r (may)
      where c.relkind in ('r', 'p') and not c.relispartition and r.may = any (case c.relname when 'migration' then array['select']
            when 'audit' then array['select', 'insert'] else array['insert', 'select', 'update', 'delete'] end)
      union all
      select 3, 'usage', 'sequence ' || c.relname, has_sequence_privilege(c.oid, 'usage')
      from place join pg_class c on c.relnamespace = place.oid and c.relname = 'commit_number' and c.relkind = 'S'
      union all
      select 3, 'execute', 'function ' || p.proname, has_function_privilege(p.oid, 'execute')
      from place join pg_proc p on p.pronamespace = place.oid and p.proname in ('ensure_reading_room', 'audit_trim'))
    select may || ' on ' || what, (select pg_get_userbyid(relowner)::text from place) from wanted
    where not has and (select relowner from place) is not null order by rank, what, may <> 'insert', may";
/// Whether the role of `migrate` may change the tables, or make them where there are none.
const CHANGING: &str = "
    select nspname::text, pg_get_userbyid(relowner)::text, case when relowner is null
           then has_schema_privilege(oid, 'usage') and has_schema_privilege(oid, 'create')
           else pg_has_role(relowner, 'usage') end from place";
/// Who owns the tables where roles.sql was followed.
const OWNER: &str = "tributary_migrate";
/// What makes the roles, for those who have no sources: cross/package puts it there.
pub(crate) const ROLES_SQL: &str = "roles.sql (packages have it in /usr/share/tributary-gateway)";

/// Fails unless the role of `settings` may do all that a gateway does.
pub(super) fn check_to_run(session: &Session, patience: Patience, settings: &Settings) -> Result<(), StoreError> {
    let sql = format!("{PLACE}{LACKING}");
    let rows = session.wait(patience, async { Ok(session.client().query(&sql, &[]).await?) })?;
    let Some(first) = rows.first() else { return Ok(()) };
    let lacks: String = first.try_get(0).map_err(SqlError::from)?;
    let owner: Option<String> = first.try_get(1).map_err(SqlError::from)?;
    let more = match rows.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} rights more"),
    };
    let advice = match owner.filter(|owner| owner != OWNER) {
        None => advice(settings),
        Some(owner) => {
            format!("{}; then have a superuser run {ROLES_SQL} again, which grants nothing before", give(&owner))
        }
    };
    let (of, user) = (settings.told(), &settings.user);
    Err(StoreError::Unfit(format!("cannot use {of}: the role {user} lacks {lacks}{more}; {advice}")))
}

/// Fails unless the role of `settings` may make the tables, or change those that are there.
pub(super) fn check_to_migrate(session: &Session, patience: Patience, settings: &Settings) -> Result<(), StoreError> {
    let sql = format!("{PLACE}{CHANGING}");
    let row = session.wait(patience, async { Ok(session.client().query_opt(&sql, &[]).await?) })?;
    let Some(row) = row else { return Ok(()) };
    if row.try_get(2).map_err(SqlError::from)? {
        return Ok(());
    }
    let schema: String = row.try_get(0).map_err(SqlError::from)?;
    let owner: Option<String> = row.try_get(1).map_err(SqlError::from)?;
    let (of, user) = (settings.told(), &settings.user);
    Err(StoreError::Unfit(match owner {
        Some(owner) if owner == OWNER => format!(
            "cannot migrate {of}: its tables belong to {OWNER}, and the role {user} may not change them; make \
             `migrate_user` {OWNER}"
        ),
        Some(owner) => format!("cannot migrate {of}: the role {user} may not change what is there; {}", give(&owner)),
        None => format!(
            "cannot migrate {of}: the role {user} may not make tables in schema {schema}; make `migrate_user` {OWNER}, \
             and have a superuser run {ROLES_SQL} in this database, which lets it"
        ),
    }))
}

/// An error that came later, with what to do if it is one of rights. They were there when the connection was made.
pub(super) fn explain(settings: &Settings, error: StoreError) -> StoreError {
    match &error {
        StoreError::Sql(SqlError::Postgres(denied)) if denied.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let (of, why) = (settings.told(), told(denied));
            StoreError::Unfit(format!("cannot use {of}: {why}; {}", advice(settings)))
        }
        _ => error,
    }
}

/// What to do about tables that `owner` has made.
fn give(owner: &str) -> String {
    format!("the tables belong to {owner}: give them to {OWNER}, by `alter table … owner to {OWNER}` for each")
}

fn advice(settings: &Settings) -> String {
    const INGEST: &str = "tributary_ingest";
    let again =
        format!("have a superuser run {ROLES_SQL} in this database, which grants {INGEST} what a gateway needs");
    if settings.user == INGEST { again } else { format!("{again}, and make `user` that role") }
}
