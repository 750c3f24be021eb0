-- What is needed to tell what was lost, what came after all, and a buffer that was copied; and what ends growth.

-- How many hellos of a device named all that it holds.
alter table device add column hellos integer not null default 0;
-- Epochs of which nothing is kept but what their readings and gaps say; see tidy.rs.
alter table device add column epochs_forgotten integer not null default 0;

alter table epoch add column first_named integer;               -- by which of those hellos, twice; + 1: by a part after it
alter table epoch add column named_us integer;                  -- when a hello last named it
alter table epoch add column holds integer not null default 0;  -- 1: it has rows in `held`
alter table epoch add column astray integer not null default 0; -- 1: its device speaks as if it had never been; alarmed
alter table epoch add column repaired integer not null default 0; -- numbers that came although a gap named them
update epoch set holds = exists (select 1 from held where held.epoch = epoch.id);
create index epoch_named on epoch (device, first_named);
create index epoch_holds on epoch (device) where holds = 1;

-- How many of its numbers are lost where that is not all from first to last; or where only their count is left.
alter table gap add column numbers integer;

-- What is too old goes without a walk through what is not. An index on the device alone is in the order of ids.
create index batch_arrived on batch (arrived_us);
create index boot_clock_device on boot_clock (device);
create index unset_run_device on unset_run (device);
