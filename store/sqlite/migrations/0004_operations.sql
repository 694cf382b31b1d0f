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
