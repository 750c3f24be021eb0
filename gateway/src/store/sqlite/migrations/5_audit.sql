-- Who let whom do what, and who was kept from what: entries in a chain, each with the hash of the one before, so that
-- what was changed, removed or moved is found. Nothing in it is ever changed. See audit/chain.rs for what is hashed.
create table audit (
    sequence integer primary key,                -- 1, 2, 3 … without a hole
    tenant   integer not null,
    time_us  integer not null,                   -- by the clock of who wrote it, which may step back; sequence does not
    actor    text    not null,                   -- operator, gateway, or device and its id
    event    text    not null,                   -- of the closed list of audit/entry.rs
    subject  text,                               -- the device id; null: about none
    detail   text    not null check (length(cast(detail as blob)) <= 4096), -- a JSON object
    previous blob    not null check (length(previous) = 32), -- zeros in the first one
    hash     blob    not null check (length(hash) = 32)
) strict;
create index audit_subject on audit (subject, sequence);

-- What is meant to stay does not go by mistake. Who means to remove it leaves a broken chain.
create trigger audit_is_not_changed before update on audit
begin
    select raise(abort, 'the audit trail is not changed');
end;
create trigger audit_is_not_cut before delete on audit
begin
    select raise(abort, 'the audit trail is not cut');
end;
