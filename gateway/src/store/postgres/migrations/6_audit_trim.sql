-- The audit trail's growth has an end: its oldest entries may go once one at the end tells of them, and nothing else may.
-- Whatever a clock or an entry says, nothing of the last day goes.
create index audit_trimmed on audit (sequence) where event = 'trimmed';
drop trigger audit_is_not_changed on audit;
create trigger audit_is_not_changed before update or truncate on audit
    for each statement execute function audit_is_not_changed();

create function audit_is_not_cut() returns trigger language plpgsql as $$
begin
    if old.time_us > (extract(epoch from clock_timestamp())::bigint - 86400) * 1000000 or not exists (
        select from audit later where later.event = 'trimmed' and later.sequence > old.sequence
          -- Others' details may hold what jsonb does not take.
          and case when later.event = 'trimmed' then (later.detail::jsonb ->> 'through')::bigint end >= old.sequence) then
        raise exception 'the audit trail is not changed';
    end if;
    return old;
end $$;
create trigger audit_is_not_cut before delete on audit
    for each row execute function audit_is_not_cut();

-- Whoever runs the gateway has no right to delete from the trail. This does it in its stead, as the tables' owner, within
-- what the trigger allows.
do $$
begin
    execute format('create function audit_trim(through bigint) returns bigint language sql security definer
        set search_path = %I, pg_temp as $f$
            with gone as (delete from audit where sequence <= through returning 1) select count(*) from gone
        $f$', current_schema());
end $$;
revoke execute on function audit_trim(bigint) from public;
