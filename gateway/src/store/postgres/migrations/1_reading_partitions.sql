-- One value at one instant. Appended, never edited, with one exception: readings of a boot that never knew the time
-- are re-timed once, when it is learned. Its id is its commit's number times 2^20 and its place there.
-- No unique index and no primary key: the ledger decides once a batch, and a reading is looked for by series and time.
-- The feed looks for it by id. Ids come in order, which a b-tree takes at its right edge; a BRIN index would be smaller,
-- but what it has not summed up yet is read whole for each look, and that is all since the last vacuum.
create table reading (
    tenant             int      not null,
    quality            smallint not null,            -- 0 unset, 1 held, 2 synced, 3 source
    form               smallint not null,            -- what kind of value it is; see value.rs
    id                 bigint   not null,
    series             bigint   not null,
    time_us            bigint   not null,
    value              double precision,             -- the number; also 0 or 1 of a boolean
    epoch              bigint,                       -- the batch it came in; null for a SenML pack
    number             bigint,
    ordinal            int      not null,            -- rank among readings of this series and instant: 0, 1, 2 …
    flags              smallint not null,            -- 1: taken more than 5 minutes after it arrived; 2: see reading_origin
    utc_offset_minutes smallint,                     -- at the origin
    code               bigint,                       -- a state's raw code, or the 64 bits of a number, as SQLite needs it
    text               text,
    local_text         text                          -- the origin's local time, where instant and offset do not say it
) partition by range (time_us);
create index reading_time on reading (series, time_us);
create index reading_id on reading (id);

-- A partition for each month from 2000 to 2099, made when it is first needed; one for what is said to be before, such
-- as readings of a clock that does not know the time, and one for what is said to be after. No default partition: with
-- one, an ordered walk would have to merge them all.
create table reading_before partition of reading for values from (minvalue) to (946684800000000);
create table reading_after partition of reading for values from (4102444800000000) to (maxvalue);

-- Makes the partitions of some months, counted from 2000-01; what lies in a week before 1970 or after 2099 needs none.
-- The owner's right, lent to whoever writes readings, for
-- 1200 tables and no other.
create function ensure_reading_room(months int[], weeks bigint[]) returns void
language plpgsql security definer set search_path from current as $$
declare
    month int;
    start timestamptz;
    partition text;
begin
    foreach month in array months loop
        if month < 0 or month >= 1200 then
            raise exception 'month % is not one of 2000 to 2099', month using errcode = '22023';
        end if;
        start := make_timestamptz(2000 + month / 12, 1 + month % 12, 1, 0, 0, 0, 'UTC');
        partition := to_char(start at time zone 'UTC', '"reading_"YYYY_MM');
        continue when to_regclass(partition) is not null;
        perform pg_advisory_xact_lock(7264193501);
        continue when to_regclass(partition) is not null;
        -- Made apart and then attached, which no reader or writer has to wait for.
        execute format('create table %I (like reading including defaults including storage)', partition);
        execute format('alter table reading attach partition %I for values from (%s) to (%s)', partition,
                       (extract(epoch from start) * 1000000)::bigint,
                       (extract(epoch from make_timestamptz(2000 + (month + 1) / 12, 1 + (month + 1) % 12, 1, 0, 0, 0,
                                                            'UTC')) * 1000000)::bigint);
    end loop;
end $$;
revoke execute on function ensure_reading_room(int[], bigint[]) from public;
