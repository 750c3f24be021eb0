-- The gateway's roles, each with no more than it needs. Run once, by a superuser or the database's owner with CREATEROLE,
-- in the gateway's own database, before `tributary-gateway migrate`. Run twice, it changes nothing.
--
--     createdb tributary
--     psql -d tributary -f roles.sql
--     psql -d tributary -c '\password tributary_migrate' -c '\password tributary_ingest' -c '\password tributary_query'
--
-- tributary_migrate owns the tables and alone may change them; tributary_ingest runs the gateway; tributary_query only
-- reads, for dashboards and reports of one's own.

do $$
declare
    role text;
begin
    foreach role in array array['tributary_migrate', 'tributary_ingest', 'tributary_query'] loop
        if not exists (select from pg_roles where rolname = role) then
            execute format('create role %I login nosuperuser nocreatedb nocreaterole', role);
        end if;
    end loop;
    execute format('revoke all on database %I from public', current_database());
    execute format('grant connect on database %I to tributary_migrate, tributary_ingest, tributary_query',
                   current_database());
end $$;

-- What anybody may make in a database before PostgreSQL 15.
revoke create on schema public from public;
grant usage, create on schema public to tributary_migrate;
grant usage on schema public to tributary_ingest, tributary_query;

-- What tributary_migrate will make.
alter default privileges for role tributary_migrate in schema public
    grant select, insert, update, delete on tables to tributary_ingest;
alter default privileges for role tributary_migrate in schema public
    grant usage, select on sequences to tributary_ingest;
alter default privileges for role tributary_migrate in schema public
    grant execute on functions to tributary_ingest;
alter default privileges for role tributary_migrate in schema public
    grant select on tables to tributary_query;

-- No query of a reader may hold up anybody for long.
alter role tributary_query set default_transaction_read_only = on;
alter role tributary_query set statement_timeout = '60s';
