-- What operators and supervisors ask for. An order is addressed to the row of a
-- worker (told); what it has in hand and its limits are JSON.
alter table posthorn_worker
  add column told   varchar(32) collate "C" not null default '',
  add column limits text not null default '',
  add column holds  text not null default '';
drop table posthorn_control;

-- Queues from which nothing is claimed. Times are milliseconds since 1970 by the
-- server's clock; until_ms is null where the pause has no end.
create table posthorn_pause (
  queue    varchar(64) collate "C" primary key,
  reason   text   not null,
  actor    text   not null,
  since_ms bigint not null,
  until_ms bigint
);

-- Small documents that survive processes, changed by comparing the version.
create table posthorn_document (
  name    varchar(64) collate "C" primary key,
  version bigint not null,
  body    text   not null
);

-- A message is suspected of having killed its worker (suspect is 1). It waits apart,
-- in state 3 since wake_at, until somebody runs it alone, in state 2. A claim changes
-- nothing that stands in the index or its condition, so that it stays a change
-- within the page.
alter table posthorn_message add column suspect smallint not null default 0;
create index posthorn_message_suspect on posthorn_message (queue, priority desc, due_at, seq) where suspect > 0;
