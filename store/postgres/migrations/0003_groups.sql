-- Dead letters of one fault have one fingerprint; it is empty until somebody has
-- computed it (letters of older versions). build is of the worker where one died.
alter table posthorn_letter
  add column fingerprint varchar(64) collate "C" not null default '',
  add column error_type  varchar(128) collate "C" not null default '',
  add column build       text not null default '';
alter table posthorn_attempt add column build text not null default '';

-- Groups are counted, and lists of a group, a queue or a kind are walked, in these.
create index posthorn_letter_group on posthorn_letter (fingerprint, seq) where discarded_at is null;
create index posthorn_letter_queue on posthorn_letter (queue, seq) where discarded_at is null;
create index posthorn_letter_kind on posthorn_letter (kind, seq) where discarded_at is null;

-- What is known of a fault beside its letters. A row is made by its first letter, and
-- changed by people, and when it comes back: burials touch no row that others touch.
create table posthorn_group (
  fingerprint varchar(64) collate "C" primary key,
  algorithm   varchar(16) collate "C" not null,
  kind        varchar(128) collate "C" not null,
  class       varchar(64) collate "C" not null,
  error_type  varchar(128) collate "C" not null,
  title       text   not null,
  first_at    bigint not null,
  first_build text   not null,
  state       varchar(16) collate "C" not null,
  note        text   not null,
  actor       text   not null,
  changed_at  bigint not null
);
