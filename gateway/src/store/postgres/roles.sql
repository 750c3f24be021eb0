-- The gateway's roles, each with no more than it needs. Run once, by a superuser or the database's owner with CREATEROLE,
-- in the gateway's own database, before `tributary-gateway migrate`. Run again, it changes nothing but rights that were
-- lost, which it grants again.
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

-- What it has made already. Whoever writes readings has no say in what schema this is, so "migration" is only read; and
-- none in what was done here, so "audit" is only read and added to.
do $$
declare
    it record;
begin
    for it in select c.oid::regclass as name, c.relname, c.relkind from pg_class c
              where c.relnamespace = 'public'::regnamespace and c.relowner = 'tributary_migrate'::regrole
                and c.relkind in ('r', 'p', 'S') and not c.relispartition loop
        if it.relkind = 'S' then
            execute format('grant usage, select on sequence %s to tributary_ingest', it.name);
        else
            execute format('grant select on %s to tributary_ingest, tributary_query', it.name);
            if it.relname = 'audit' then
                execute format('grant insert on %s to tributary_ingest', it.name);
                execute format('revoke update, delete, truncate on %s from tributary_ingest', it.name);
            elsif it.relname <> 'migration' then
                execute format('grant insert, update, delete on %s to tributary_ingest', it.name);
            end if;
        end if;
    end loop;
    for it in select p.oid::regprocedure as name from pg_proc p
              where p.pronamespace = 'public'::regnamespace and p.proowner = 'tributary_migrate'::regrole loop
        execute format('grant execute on function %s to tributary_ingest', it.name);
    end loop;
end $$;

-- No query of a reader may hold up anybody for long.
alter role tributary_query set default_transaction_read_only = on;
alter role tributary_query set statement_timeout = '60s';
