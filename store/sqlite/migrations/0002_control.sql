-- What operators and supervisors ask for. An order is addressed to the row of a
-- worker (told); what it has in hand and its limits are JSON.
alter table posthorn_worker add column told text not null default '';
alter table posthorn_worker add column limits text not null default '';
alter table posthorn_worker add column holds text not null default '';
drop table posthorn_control;

-- Queues from which nothing is claimed. Times are milliseconds since 1970 by the
-- store's clock; until_ms is null where the pause has no end.
create table posthorn_pause (
  queue    text    primary key,
  reason   text    not null,
  actor    text    not null,
  since_ms integer not null,
  until_ms integer
) without rowid;

-- Small documents that survive processes, changed by comparing the version.
create table posthorn_document (
  name    text    primary key,
  version integer not null,
  body    text    not null
);

-- A message is suspected of having killed its worker (suspect is 1). It waits apart,
-- in state 3 since wake_at, until somebody runs it alone, in state 2.
alter table posthorn_message add column suspect integer not null default 0;
create index posthorn_message_suspect on posthorn_message (queue, priority desc, due_at, seq) where state = 3;
