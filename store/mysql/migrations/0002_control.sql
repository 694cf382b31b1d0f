-- What operators and supervisors ask for. An order is addressed to the row of a
-- worker (told); what it has in hand and its limits are JSON. A column is added
-- unless it is there: the server commits each change, and MySQL has no word for it.
set @step = (select if(count(*) = 0,
  'alter table posthorn_worker add column told varbinary(32) not null default '''',
     add column limits mediumtext, add column holds mediumtext', 'do 0')
  from information_schema.columns
  where table_schema = database() and table_name = 'posthorn_worker' and column_name = 'told');
prepare step from @step;
execute step;
drop table if exists posthorn_control;

-- Queues from which nothing is claimed. Times are milliseconds since 1970 by the
-- server's clock; until_ms is null where the pause has no end.
create table if not exists posthorn_pause (
  queue    varbinary(64) not null primary key,
  reason   text          not null,
  actor    text          not null,
  since_ms bigint        not null,
  until_ms bigint
) engine = InnoDB default character set utf8mb4;

-- Small documents that survive processes, changed by comparing the version.
create table if not exists posthorn_document (
  name    varbinary(64) not null primary key,
  version bigint        not null,
  body    mediumtext    not null
) engine = InnoDB default character set utf8mb4;

-- A message is suspected of having killed its worker (suspect is 1). It waits apart,
-- in state 3 since wake_at, until somebody runs it alone, in state 2.
set @step = (select if(count(*) = 0,
  'alter table posthorn_message add column suspect tinyint not null default 0', 'do 0')
  from information_schema.columns
  where table_schema = database() and table_name = 'posthorn_message' and column_name = 'suspect');
prepare step from @step;
execute step;
deallocate prepare step;
