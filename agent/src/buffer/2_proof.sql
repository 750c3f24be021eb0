-- Version 2: gaps that the gateway is told of, priorities, what the gateway refused, and how long the agent has run.

-- 0 low, 1 normal, 2 high. SQLite stores 0 and 1 without a byte, so the column costs nothing behind the body.
alter table batch add column priority integer not null default 1;

-- Only what is not normal is looked up: normal batches are found by their rows, and cost no index.
create index batch_priority on batch (priority, row) where priority <> 1;

create table gap_2 (
    first_row integer primary key,          -- neighbours of one epoch, source and reason are one gap
    last_row  integer not null,
    readings  integer,                      -- none where it is not known
    reason    text    not null,
    source    text,                         -- who lost them, where it is known
    from_us   integer,                      -- on the clock of the boot that the rows' epoch is of
    until_us  integer,
    confirmed integer not null default 0    -- 1 once a receipt says that the gateway knows; the newest of these stay
) strict;
insert into gap_2 (first_row, last_row, readings, reason, confirmed)
    -- Where the epoch is forgotten, the gateway can be told nothing that it understands.
    select first_row, last_row, readings, reason, not exists (select 1 from epoch where base < gap.first_row)
    from gap where first_row is not null and last_row is not null;
drop table gap;
alter table gap_2 rename to gap;
create index gap_open on gap (first_row) where confirmed = 0;

create table aside (
    row    integer primary key,             -- refused by the gateway for good: kept, not sent again
    reason text not null
) strict;

create table age (
    hour     integer primary key,           -- of uptime since the file was made, not of any clock
    last_row integer not null               -- rows up to this were there by then
) strict;

create table counter (
    name  text primary key,                 -- `last row`: written when rows leave, so that none is used twice
    value integer not null
) strict, without rowid;
