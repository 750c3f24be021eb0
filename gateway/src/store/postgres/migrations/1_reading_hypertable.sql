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
);
-- A chunk for each 7 days that hold readings. Its own index on time alone would serve nobody.
select create_hypertable('reading', by_range('time_us', 604800000000), create_default_indexes => false);
create index reading_time on reading (series, time_us);
create index reading_id on reading (id);

-- Chunks are made by themselves, and the months need nothing. Weeks are those (of 7 days since 1970) before 1970 or after
-- 2099 that readings are said to be of: each would be a chunk, and a device may say anything, so that there is an end to
-- them. What is beyond it is refused, and so quarantined.
create function ensure_reading_room(months int[], weeks bigint[]) returns void
language plpgsql security definer set search_path from current as $$
declare
    there bigint;
    new bigint;
begin
    if weeks = '{}' then
        return;
    end if;
    select count(*) into there from timescaledb_information.chunks c
    where c.hypertable_name = 'reading' and (c.range_start_integer < 0 or c.range_end_integer > 4102704000000000);
    select count(*) into new from unnest(weeks) as week
    where not exists (select from timescaledb_information.chunks c where c.hypertable_name = 'reading'
                      and c.range_start_integer <= week::numeric * 604800000000 + 604799999999
                      and c.range_end_integer > week::numeric * 604800000000);
    if there + new > 1000 then
        raise exception 'readings of too many weeks before 1970 or after 2099' using errcode = '22023';
    end if;
end $$;
revoke execute on function ensure_reading_room(int[], bigint[]) from public;
