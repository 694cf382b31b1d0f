-- What dead letters were before somebody edited them: a row for each version that was
-- replaced. at_ms is when, in milliseconds since 1970 by the store's clock.
create table posthorn_revision (
  message_id text    not null,
  number     integer not null,
  at_ms      integer not null,
  actor      text    not null,
  header     text,
  body       blob    not null,
  primary key (message_id, number)
);
create index posthorn_revision_at on posthorn_revision (at_ms);

-- How often a dead letter was edited.
alter table posthorn_letter add column revision integer not null default 0;
