-- Readings summed up by minute, by 15 minutes and by hour: what answers questions about long spans, and what stays when
-- the readings themselves have gone.

-- One row per series and span that holds readings that count. The rows of a level are made from those of the level
-- below; those of a minute from its readings, in the order of time.
create table rollup (
    tenant      integer not null,
    series      integer not null,
    level       integer not null,                -- minutes of its span: 1, 15, 60. 0: what is gone of a minute some of
                                                 -- whose readings are still there, see rollup/remake.rs
    start_us    integer not null,                -- a whole multiple of the level
    n           integer not null,                -- finite numbers and booleans; what follows is null without any
    sum         real,
    sum_squares real,
    min         real,
    max         real,
    first       real,
    first_us    integer,
    last        real,
    last_us     integer,
    below       integer not null,                -- states `low`: below what could be measured
    above       integer not null,                -- states `high`
    others      integer not null,                -- other states, texts, events, and what is no finite number
    gone        integer not null,                -- of all of these, those whose readings have been removed
    primary key (series, level, start_us)
) strict, without rowid;

-- Minutes that are to be made anew, because readings in them were moved or do not count any more. Only ever added, in
-- the transaction that changed the readings, and removed, row by row, in the one that made them anew.
create table rollup_mark (
    id       integer primary key,
    tenant   integer not null,
    series   integer not null,
    start_us integer not null
) strict;
create index rollup_mark_series on rollup_mark (series);

-- How far the feed has been summed up, and from when on the readings themselves are there.
create table rollup_state (
    tenant       integer primary key references tenant,
    last_turn    integer not null,               -- 0: the feed goes by readings alone
    last_reading integer not null,
    raw_from_us  integer not null                -- -9223372036854775808: none was removed
) strict;
insert into rollup_state (tenant, last_turn, last_reading, raw_from_us) values (1, 0, 0, -9223372036854775808);
