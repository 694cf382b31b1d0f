-- What operators have done: an act is written in the transaction of what was done.
-- at_ms is milliseconds since 1970 by the store's clock; messages is a JSON list of
-- the ids that it was done to, chosen is by what they were found.
create table if not exists posthorn_audit (
  seq      bigint  not null auto_increment primary key,
  id       varbinary(64) not null,
  at_ms    bigint not null,
  actor    varbinary(200) not null,
  verb     varbinary(64) not null,
  subject  varbinary(200) not null,
  chosen   mediumtext not null,
  messages mediumtext not null,
  affected bigint not null,
  was      mediumtext not null,
  became   mediumtext not null,
  reason   mediumtext not null,
  unique key posthorn_audit_id (id),
  key posthorn_audit_subject (subject, seq)
) engine = InnoDB default character set utf8mb4;

-- Which acts were done to a message.
create table if not exists posthorn_audited (
  message_id varbinary(128) not null,
  act        varbinary(64) not null,
  primary key (message_id, act),
  key posthorn_audited_act (act)
) engine = InnoDB default character set utf8mb4;

-- Bulk work on dead letters. Who advances an operation has its lease; the fence grows
-- with each holder. body is JSON; active is 1 while there is something to do.
create table if not exists posthorn_operation (
  seq         bigint not null auto_increment primary key,
  id          varbinary(64) not null,
  state       varbinary(64) not null,
  active      tinyint not null,
  holder      varbinary(200) not null,
  fence       bigint not null,
  lease_until bigint not null,
  ended_at    bigint not null default 0,
  body        mediumtext not null,
  unique key posthorn_operation_id (id),
  key posthorn_operation_active (active, seq)
) engine = InnoDB default character set utf8mb4;

-- The letters of an operation. state: 0 waits for its turn, 1 put back and in flight,
-- 2 done, 3 died again, 4 was not there, 5 could not be put back. A letter of the
-- message with a number above since is one that it died again with.
create table if not exists posthorn_target (
  letter     bigint not null,
  operation  bigint not null,
  message_id varbinary(128) not null,
  state      tinyint not null,
  since      bigint not null,
  primary key (letter, operation),
  key posthorn_target_state (operation, state, letter),
  key posthorn_target_message (message_id)
) engine = InnoDB default character set utf8mb4;
