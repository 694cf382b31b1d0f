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
