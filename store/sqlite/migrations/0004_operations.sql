-- What operators have done: an act is written in the transaction of what was done.
-- at_ms is milliseconds since 1970 by the store's clock; messages is a JSON list of
-- the ids that it was done to, chosen is by what they were found.
create table posthorn_audit (
  seq      integer primary key autoincrement,
  id       text not null unique,
  at_ms    integer not null,
  actor    text not null,
  verb     text not null,
  subject  text not null,
  chosen   text not null,
  messages text not null,
  affected integer not null,
  was      text not null,
  became   text not null,
  reason   text not null
);
create index posthorn_audit_subject on posthorn_audit (subject, seq);

-- Which acts were done to a message.
create table posthorn_audited (
  message_id text not null,
  act        text not null,
  primary key (message_id, act)
) without rowid;
create index posthorn_audited_act on posthorn_audited (act);

-- Bulk work on dead letters. Who advances an operation has its lease; the fence grows
-- with each holder. body is JSON; active is 1 while there is something to do.
create table posthorn_operation (
  seq         integer primary key autoincrement,
  id          text not null unique,
  state       text not null,
  active      integer not null,
  holder      text not null,
  fence       integer not null,
  lease_until integer not null,
  ended_at    integer not null default 0,
  body        text not null
);
create index posthorn_operation_active on posthorn_operation (active, seq);

-- The letters of an operation. state: 0 waits for its turn, 1 put back and in flight,
-- 2 done, 3 died again, 4 was not there, 5 could not be put back. A letter of the
-- message with a number above since is one that it died again with.
create table posthorn_target (
  letter     integer not null,
  operation  integer not null,
  message_id text not null,
  state      integer not null,
  since      integer not null,
  primary key (letter, operation)
) without rowid;
create index posthorn_target_state on posthorn_target (operation, state, letter);
create index posthorn_target_message on posthorn_target (message_id);
