-- Who let whom do what, and who was kept from what: entries in a chain, each with the hash of the one before, so that
-- what was changed, removed or moved is found. Nothing in it is ever changed. See audit/chain.rs for what is hashed.
create table audit (
    sequence bigint primary key,                     -- 1, 2, 3 … without a hole, over all gateways
    tenant   int    not null,
    time_us  bigint not null,                        -- by the clock of who wrote it, which may step back; sequence does not
    actor    text   not null,                        -- operator, gateway, or device and its id
    event    text   not null,                        -- of the closed list of audit/entry.rs
    subject  text   collate "C",                     -- the device id; null: about none
    detail   text   not null check (octet_length(detail) <= 4096), -- a JSON object
    previous bytea  not null check (length(previous) = 32), -- zeros in the first one
    hash     bytea  not null check (length(hash) = 32)
);
create index audit_subject on audit (subject, sequence);

-- Whoever runs the gateway adds to it and reads it, and has no right to anything else: what the default privileges of
-- roles.sql give for other tables is taken back.
do $$
declare
    it record;
begin
    for it in select distinct g.grantee, g.grantee::regrole as name
              from pg_class c, aclexplode(c.relacl) g
              where c.oid = 'audit'::regclass and g.grantee <> c.relowner and g.grantee <> 0 loop
        execute format('revoke update, delete, truncate on audit from %s', it.name);
    end loop;
end $$;

-- What is meant to stay does not go by mistake, not even the owner's. Who means to remove it leaves a broken chain.
create function audit_is_not_changed() returns trigger language plpgsql as $$
begin
    raise exception 'the audit trail is not changed';
end $$;
create trigger audit_is_not_changed before update or delete or truncate on audit
    for each statement execute function audit_is_not_changed();
