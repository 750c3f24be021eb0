-- The audit trail's growth has an end: its oldest entries may go once one at the end tells of them, and nothing else may.
-- Whatever a clock or an entry says, nothing of the last day goes.
create index audit_trimmed on audit (sequence) where event = 'trimmed';
drop trigger audit_is_not_cut;
create trigger audit_is_not_cut before delete on audit
when old.time_us > (unixepoch() - 86400) * 1000000 or not exists (
    select 1 from audit later where later.event = 'trimmed' and later.sequence > old.sequence
      and json_extract(later.detail, '$.through') >= old.sequence)
begin
    select raise(abort, 'the audit trail is not cut');
end;
