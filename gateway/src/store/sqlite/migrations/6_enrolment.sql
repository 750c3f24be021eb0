-- Who may become a device, and what was issued to whom.

-- What a device may ask for a certificate by: codes, each told once. Shared claims are certificates, and have no row.
create table claim (
    id         integer primary key,
    tenant     integer not null,
    key        blob    not null unique,     -- the public key of the code; the code itself is nowhere
    device     text,                        -- whom it is for; null: whoever has it says who it is
    made_us    integer not null,
    expires_us integer not null,
    used_us    integer,
    used_by    blob                         -- the public key that was certified by it: the same may ask again
) strict;

-- Certificates that this gateway's authority issued to devices. They leave 90 days after they expired.
create table certificate (
    serial        text    primary key,
    tenant        integer not null,
    device        text    not null,
    key           blob    not null,         -- its public key
    issued_us     integer not null,
    not_after_us  integer not null,
    chain         blob    not null,         -- PEM, the device's first
    revoked_us    integer
) strict, without rowid;
create index certificate_device on certificate (device, key);

-- Who asked with a shared claim, and what the operator said. At most 1 000 wait.
create table enrolment (
    id       integer primary key,
    tenant   integer not null,
    device   text    not null,
    key      blob    not null,
    asked_us integer not null,
    state    integer not null,              -- 0 waits, 1 allowed, 2 refused
    unique (device, key)
) strict;

-- Devices that are allowed before they ask: an id, or its beginning and a *.
create table enrolment_rule (
    pattern text    primary key,
    tenant  integer not null,
    made_us integer not null
) strict, without rowid;
