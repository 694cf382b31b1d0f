-- Dead letters of one fault have one fingerprint; it is empty until somebody has
-- computed it (letters of older versions). build is of the worker where one died. Lists
-- of a group, a queue or a kind are walked in the indexes, which end with the primary
-- key; discarded_at is null for those that are dead.
set @step = (select if(count(*) = 0,
  'alter table posthorn_letter add column fingerprint varbinary(64) not null default '''',
     add column error_type varbinary(128) not null default '''',
     add column build varchar(255) not null default '''',
     add key posthorn_letter_group (discarded_at, fingerprint),
     add key posthorn_letter_queue (discarded_at, queue),
     add key posthorn_letter_kind (discarded_at, kind)', 'do 0')
  from information_schema.columns
  where table_schema = database() and table_name = 'posthorn_letter' and column_name = 'fingerprint');
prepare step from @step;
execute step;
set @step = (select if(count(*) = 0,
  'alter table posthorn_attempt add column build varchar(255) not null default ''''', 'do 0')
  from information_schema.columns
  where table_schema = database() and table_name = 'posthorn_attempt' and column_name = 'build');
prepare step from @step;
execute step;
deallocate prepare step;

-- What is known of a fault beside its letters. A row is made by its first letter, and
-- changed by people, and when it comes back: burials touch no row that others touch.
create table if not exists posthorn_group (
  fingerprint varbinary(64)  not null primary key,
  algorithm   varbinary(16)  not null,
  kind        varbinary(128) not null,
  class       varbinary(64)  not null,
  error_type  varbinary(128) not null,
  title       text           not null,
  first_at    bigint         not null,
  first_build varchar(255)   not null,
  state       varbinary(16)  not null,
  note        text           not null,
  actor       text           not null,
  changed_at  bigint         not null
) engine = InnoDB default character set utf8mb4;
