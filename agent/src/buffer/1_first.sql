-- Version 1 of the agent's buffer. Sealed bodies only: never a row per reading.

create table epoch (
    id      integer primary key,            -- in the order of the agent's starts
    epoch   blob    not null unique,        -- 8 random bytes, drawn at the first seal after a start
    boot    blob    not null,               -- the boot that all its batches were sealed in
    base    integer not null                -- a batch's row is base + its number, so numbers need no index
) strict;

create table boot (
    boot      blob    primary key,
    offset_us integer not null,             -- Unix epoch to start of boot
    quality   integer not null              -- 0 unset, 1 held, 2 synced
) strict, without rowid;

create table batch (
    row      integer primary key,           -- grows over all epochs
    lane     integer not null,              -- 0 live, 1 backfill
    readings integer not null,
    hash     blob    not null,              -- of the body when it was sealed: tells damage by the disk
    body     blob    not null               -- one sealed body; never rewritten
) strict;

create table settled (
    first integer primary key,              -- rows that receipts cover, merged; rows leave with their batches
    last  integer not null
) strict;

create table cursor (
    source   text primary key,              -- moves in the transaction that stores what it covers
    position blob not null
) strict, without rowid;

create table gap (
    id        integer primary key,
    first_row integer,                      -- none where no batch had been sealed
    last_row  integer,
    readings  integer,
    reason    text not null
) strict;

create table reject (
    id     integer primary key,             -- the newest are kept, in a sixteenth of the file
    source text not null,
    place  text not null,                   -- `readings.csv line 17`
    reason text not null,
    bytes  blob not null
) strict;

create table tally (
    name  text primary key,                 -- accepted readings, rejects, evicted readings: since the file was made
    count integer not null
) strict, without rowid;
