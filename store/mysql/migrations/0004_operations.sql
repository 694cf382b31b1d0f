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
