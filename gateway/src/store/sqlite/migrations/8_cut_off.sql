-- Devices that were revoked, whoever issued their certificates: none that they had then counts. At most 100 000; a row
-- stays until the operator takes the device back.
create table cut_off (
    device text    primary key,
    tenant integer not null,
    cut_us integer not null,
    times  integer not null                 -- how often: what was decided before the last time counts no more
) strict, without rowid;

-- How much the shared claims were used: certificates that were issued by each, in all and since the beginning of an hour.
-- At most 10 000; who was not used for longest goes.
create table claim_use (
    name    text    primary key,            -- whom its certificate names
    tenant  integer not null,
    issued  integer not null,
    hour_us integer not null,
    in_hour integer not null
) strict, without rowid;

-- By which shared claim somebody waits; null: by a certificate that expired.
alter table enrolment add column claim text;
create index enrolment_waits on enrolment (state, asked_us);

-- Who came in at which gateway and who left: of use where several share a database, which they cannot share this one.
create table coming (
    id       integer primary key,
    tenant   integer not null,
    gateway  text    not null,
    device   text    not null,
    serial   text    not null,
    is_there integer not null,
    at_us    integer not null
) strict;
