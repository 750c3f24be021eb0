-- Version 3: each row that says what a batch is, when it was, or where a source resumes carries a sum over its own values.
-- SQLite notices pages that make no sense, not values that changed. Rows of before get their sums in this migration.

alter table epoch   add column sum integer;
alter table boot    add column sum integer;
alter table settled add column sum integer;
alter table cursor  add column sum integer;
alter table gap     add column sum integer;
alter table aside   add column sum integer;
alter table counter add column sum integer;

-- Of the epoch, row, lane, readings, priority and the body's hash. None where version 2 stored the batch: to write it now
-- would be to write each body again. Such a batch has its body's hash alone.
alter table batch add column sum integer;

-- Who has ever handed over a cursor, in a page of its own. A name without a cursor is one whose cursor was damaged: its
-- source must not begin anew by itself, for it would take in again what it took in before. `*`: no one knows who.
create table resumed (source text primary key) strict, without rowid;
create trigger cursor_begun after insert on cursor begin
    insert or ignore into resumed (source) values (new.source);
end;
insert into resumed (source) select source from cursor;
