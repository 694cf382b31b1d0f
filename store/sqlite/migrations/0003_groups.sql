-- Dead letters of one fault have one fingerprint; it is empty until somebody has
-- computed it (letters of older versions). build is of the worker where one died.
alter table posthorn_letter add column fingerprint text not null default '';
alter table posthorn_letter add column error_type text not null default '';
alter table posthorn_letter add column build text not null default '';
alter table posthorn_attempt add column build text not null default '';

-- Groups are counted, and lists of a group, a queue or a kind are walked, in these.
create index posthorn_letter_group on posthorn_letter (fingerprint, seq) where discarded_at is null;
create index posthorn_letter_queue on posthorn_letter (queue, seq) where discarded_at is null;
create index posthorn_letter_kind on posthorn_letter (kind, seq) where discarded_at is null;

-- What is known of a fault beside its letters. A row is made by its first letter, and
-- changed by people, and when it comes back: burials touch no row that others touch.
create table posthorn_group (
  fingerprint text    primary key,
  algorithm   text    not null,
  kind        text    not null,
  class       text    not null,
  error_type  text    not null,
  title       text    not null,
  first_at    integer not null,
  first_build text    not null,
  state       text    not null,
  note        text    not null,
  actor       text    not null,
  changed_at  integer not null
) without rowid;
