-- Everything the gateway keeps. All instants are microseconds since the Unix epoch, UTC.
--
-- Every table carries its tenant, so that what one tenant may see can be asked of each table alone. The hot tables
-- (reading, batch, settled) name their parents without `references`: the writer has just looked them up, and three
-- index probes a reading would buy nothing.

create table tenant (
    id   integer primary key,
    name text not null unique
) strict;
insert into tenant (id, name) values (1, 'default');

create table device (
    id              integer primary key,
    tenant          integer not null references tenant,
    name            text    not null,            -- the device id, as its certificate says it
    display_name    text,
    first_seen_us   integer,                     -- arrival of its first message; null: named in the settings, never heard
    last_seen_us    integer,                     -- arrival of its last message
    connected       integer not null default 0,  -- all are set to 0 when the gateway starts
    readings        integer not null default 0,  -- counted in the commit, because count(*) walks the whole table
    batches         integer not null default 0,
    last_reading_us integer,                     -- event time of the newest reading that is not flagged as future
    live_time_us    integer,                     -- event time of the newest reading that came by the live lane …
    live_lag_us     integer,                     -- … and how long after it was taken it arrived
    unique (tenant, name)
) strict;

-- A series never changes: another unit is another series. What people call it lives in series_label.
create table series (
    id     integer primary key,
    tenant integer not null references tenant,
    device integer not null references device,
    name   text    not null,
    unit   text    not null,                     -- UCUM
    kind   text    not null check (kind in ('gauge', 'counter', 'delta', 'state', 'text', 'event')),
    unique (device, name, unit, kind)
) strict;

create table series_label (
    tenant integer not null references tenant,
    series integer not null references series,
    label  text    not null,
    shown  integer not null default 0,           -- 1: the display name; 0: another name by which it is found
    primary key (series, label)
) strict, without rowid;
create unique index series_label_shown on series_label (series) where shown = 1;

-- Apart from series, because it changes with every commit.
create table series_tally (
    series   integer primary key references series,
    tenant   integer not null references tenant,
    readings integer not null                    -- those that count: superseded and retracted ones do not
) strict;

-- The person or place that readings are about.
create table subject (
    id                 integer primary key,
    tenant             integer not null references tenant,
    name               text    not null,
    display_name       text    not null,
    glucose_low_mg_dl  real    not null default 70,   -- target range of the international consensus on time in
    glucose_high_mg_dl real    not null default 180,  -- range (Battelino et al., Diabetes Care 42:1593, 2019)
    unique (tenant, name)
) strict;

create table subject_zone (
    tenant  integer not null references tenant,
    subject integer not null references subject,
    from_us integer not null,                    -- -9223372036854775808: since ever
    to_us   integer,                             -- null: until further notice
    zone    text    not null,                    -- IANA name
    primary key (subject, from_us)
) strict, without rowid;

-- Whose a reading is, decided by its event time. The narrower one wins: a series before its device.
create table assignment (
    id      integer primary key,
    tenant  integer not null references tenant,
    subject integer not null references subject,
    device  integer references device,
    series  integer references series,
    from_us integer not null,
    to_us   integer,
    check ((device is null) <> (series is null))
) strict;
create index assignment_subject on assignment (subject);
create index assignment_device on assignment (device);

create table sensor_session (
    id       integer primary key,
    tenant   integer not null references tenant,
    device   integer not null references device,
    serial   text,
    start_us integer not null,
    stop_us  integer
) strict;

-- One start of an agent. `next` and `held` are what its last hello said, null before the first.
create table epoch (
    id               integer primary key,
    tenant           integer not null references tenant,
    device           integer not null references device,
    epoch            blob    not null,           -- 8 bytes
    first_arrival_us integer,
    last_arrival_us  integer,
    next             integer,
    missing          integer not null default 0, -- not used: a number that is neither settled nor held is a gap at once
    unique (device, epoch)
) strict;

create table held (
    tenant integer not null references tenant,
    epoch  integer not null references epoch,
    first  integer not null,
    last   integer not null,
    primary key (epoch, first)
) strict, without rowid;

-- The ledger. Which numbers are settled, as ranges that neither touch nor overlap within a state, nor overlap at all.
create table settled (
    tenant integer not null,
    epoch  integer not null,
    state  integer not null,                     -- 0 stored, 1 quarantined, 2 gap
    first  integer not null,
    last   integer not null,
    primary key (epoch, state, first)
) strict, without rowid;

-- One row per batch while its device may still send it again, so that a second body under the same identity is found
-- out; the ranges above are what remains. The state is not here but in `settled`, so that it is said once.
create table batch (
    tenant     integer not null,
    epoch      integer not null,
    number     integer not null,
    hash       blob    not null,                 -- 16 bytes
    lane       integer not null,                 -- 0 live, 1 backfill, 2 unknown: it could not be read
    offset_us  integer,                          -- the clock that its boot times were placed by
    quality    integer,                          -- of that clock: 0 unset, 1 held, 2 synced
    arrived_us integer not null,
    readings   integer not null,
    primary key (epoch, number)
) strict, without rowid;

-- What will never come. Ranges of one epoch and reason that touch are one row.
create table gap (
    id       integer primary key,
    tenant   integer not null references tenant,
    device   integer not null references device,
    epoch    integer references epoch,
    first    integer,
    last     integer,
    source   text,
    from_us  integer,                            -- since the start of `boot`, or absolute where that is null
    until_us integer,
    boot     blob,                               -- 8 bytes
    readings integer,                            -- how many are lost, where that is known
    reason   text not null,
    check ((epoch is null) = (first is null) and (first is null) = (last is null))
) strict;
create index gap_device on gap (device, epoch, first);

-- What could not be read or stored, with its bytes. At most 1000 entries and 16 MiB a device.
create table quarantine (
    id         integer primary key,
    tenant     integer not null references tenant,
    device     integer not null references device,
    channel    text    not null,                 -- the topic's levels after the device
    epoch      integer references epoch,
    number     integer,
    hash       blob    not null,                 -- as it was claimed, or else of the bytes
    arrived_us integer not null,
    reason     text    not null,
    size_bytes integer not null,
    bytes      blob    not null
) strict;
-- Covers the quota, and finds a repeat.
create index quarantine_device on quarantine (device, hash, size_bytes);
create index quarantine_arrived on quarantine (arrived_us);

-- What somebody should look at, once per device and kind, with a count.
create table alarm (
    tenant   integer not null references tenant,
    device   integer not null references device,
    kind     text    not null,                   -- conflict, quarantine_full, unexplained_gap …: store/alarm.rs
    first_us integer not null,
    last_us  integer not null,
    count    integer not null,
    primary key (device, kind)
) strict, without rowid;

-- The first offset that came for a boot from a clock that knew the time. It serves every batch of the boot, so that
-- all copies are placed alike. At most 10 000 a device, oldest out.
create table boot_clock (
    id        integer primary key,
    tenant    integer not null references tenant,
    device    integer not null references device,
    boot      blob    not null,                  -- 8 bytes
    offset_us integer not null,
    quality   integer not null,                  -- 1 held, 2 synced
    unique (device, boot)
) strict;

-- Runs of readings that were placed by a clock that did not know the time, until it is learned. At most 10 000 a
-- device, oldest out: those keep the quality `unset` for good.
create table unset_run (
    id            integer primary key,
    tenant        integer not null references tenant,
    device        integer not null references device,
    boot          blob    not null,
    offset_us     integer not null,              -- what was added to them
    first_reading integer not null,
    last_reading  integer not null
) strict;
create index unset_run_boot on unset_run (device, boot);

-- Packs that are known by their hash, because all their times are absolute: 7 days, at most 10 000 a device.
create table pack (
    tenant     integer not null references tenant,
    device     integer not null references device,
    hash       blob    not null,
    arrived_us integer not null,
    primary key (device, hash)
) strict, without rowid;
create index pack_arrived on pack (device, arrived_us);

-- The last 64 other packs of a device by packet id and hash, so that a resend (DUP) is known.
create table packet (
    id        integer primary key,
    tenant    integer not null references tenant,
    device    integer not null references device,
    packet_id integer not null,
    hash      blob    not null
) strict;
create index packet_device on packet (device, packet_id);

-- One value at one instant. Appended, never edited, with one exception: readings of a boot that never knew the time
-- are re-timed once, when it is learned. Its id is its place in commit order, which is what feeds page by; ids are
-- given by the writer from `feed` and never again, even after the newest rows were deleted.
-- No unique index beside the key: the ledger decides once a batch.
create table reading (
    id                 integer primary key,
    tenant             integer not null,
    series             integer not null,
    time_us            integer not null,
    ordinal            integer not null,         -- rank among readings of this series and instant: 0, 1, 2 …
    value              real,                     -- the number; also 0 or 1 of a boolean
    form               integer not null,         -- what kind of value it is; see value.rs
    code               integer,                  -- a state's raw code; or the 64 bits of a number that SQLite does not
                                                 -- keep: it stores NaN as null and -0.0 as 0
    text               text,
    quality            integer not null,         -- 0 unset, 1 held, 2 synced, 3 source
    utc_offset_minutes integer,                  -- at the origin
    local_text         text,                     -- the origin's local time, where instant and offset do not say it
    epoch              integer,                  -- the batch it came in; null for a SenML pack
    number             integer,
    flags              integer not null          -- 1: taken more than 5 minutes after it arrived; 2: see reading_origin
) strict;
create index reading_time on reading (series, time_us);

-- For those readings whose origin names its records. Kept apart because few have it.
create table reading_origin (
    reading  integer primary key,
    tenant   integer not null,
    series   integer not null,
    origin   text    not null,
    revision integer not null,                   -- u64 in the order of i64: minus 2^63
    change   integer not null,                   -- 0 add, 1 replace, 2 retract
    hidden   integer not null                    -- 1: superseded, repeated or retracted; reads leave it out
) strict;
create index reading_origin_record on reading_origin (series, origin, revision, change);

-- Where the feed stands: one row, written in each commit that adds readings.
create table feed (
    tenant       integer primary key references tenant,
    last_reading integer not null
) strict;
insert into feed (tenant, last_reading) values (1, 0);

-- What was erased, without its content: applied again after a restore from backup.
create table tombstone (
    id        integer primary key,
    tenant    integer not null references tenant,
    device    text,
    series    text,
    from_us   integer,
    to_us     integer,
    erased_us integer not null
) strict;
