-- What operators have done: an act is written in the transaction of what was done.
-- at_ms is milliseconds since 1970 by the store's clock; messages is a JSON list of
-- the ids that it was done to, chosen is by what they were found.
create table posthorn_audit (
  seq      bigint  generated always as identity primary key,
  id       varchar(64) collate "C" not null unique,
  at_ms    bigint not null,
  actor    varchar(200) collate "C" not null,
  verb     varchar(64) collate "C" not null,
  subject  varchar(200) collate "C" not null,
  chosen   text not null,
  messages text not null,
  affected bigint not null,
  was      text not null,
  became   text not null,
  reason   text not null
);
create index posthorn_audit_subject on posthorn_audit (subject, seq);

-- Which acts were done to a message.
create table posthorn_audited (
  message_id varchar(128) collate "C" not null,
  act        varchar(64) collate "C" not null,
  primary key (message_id, act)
);
create index posthorn_audited_act on posthorn_audited (act);

-- Bulk work on dead letters. Who advances an operation has its lease; the fence grows
-- with each holder. body is JSON; active is 1 while there is something to do.
create table posthorn_operation (
  seq         bigint generated always as identity primary key,
  id          varchar(64) collate "C" not null unique,
  state       varchar(64) collate "C" not null,
  active      smallint not null,
  holder      varchar(200) collate "C" not null,
  fence       bigint not null,
  lease_until bigint not null,
  ended_at    bigint not null default 0,
  body        text not null
);
create index posthorn_operation_active on posthorn_operation (active, seq);

-- The letters of an operation. state: 0 waits for its turn, 1 put back and in flight,
-- 2 done, 3 died again, 4 was not there, 5 could not be put back. A letter of the
-- message with a number above since is one that it died again with.
create table posthorn_target (
  letter     bigint not null,
  operation  bigint not null,
  message_id varchar(128) collate "C" not null,
  state      smallint not null,
  since      bigint not null,
  primary key (letter, operation)
);
create index posthorn_target_state on posthorn_target (operation, state, letter);
create index posthorn_target_message on posthorn_target (message_id);
