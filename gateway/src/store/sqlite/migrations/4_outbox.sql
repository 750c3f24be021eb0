-- What a time-series store beside this one is still to be given, entered in the commit that stores the readings: they
-- are claimed for it, with their numbers, their clock and their ranks. A claim goes once that store has its readings.
create table outbox (
    first_reading integer not null,              -- always the first of its batch or pack, so that each has its place in it
    blocks        integer not null,              -- 1: no receipt covers it yet; 0: readings that were re-timed later
    last_reading  integer not null,
    tenant        integer not null,
    device        integer not null,
    entered_us    integer not null,
    epoch         integer,                       -- null for a SenML pack
    number        integer,
    pack          blob,                          -- its hash
    primary key (first_reading, blocks)
) strict, without rowid;
create index outbox_batch on outbox (epoch, number);

-- Readings that the time-series store does not take, and why. They are kept here like all others. At most 100 000, oldest
-- out; the count in `alarm` goes on.
create table sink_refused (
    id         integer primary key,
    tenant     integer not null,
    device     integer not null,
    reading    integer not null,
    refused_us integer not null,
    reason     text    not null
) strict;
