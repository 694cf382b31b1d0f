-- What dead letters were before somebody edited them: a row for each version that was
-- replaced. at_ms is when, in milliseconds since 1970 by the server's clock.
create table posthorn_revision (
  message_id varchar(128) collate "C" not null,
  number     integer not null,
  at_ms      bigint  not null,
  actor      text    not null,
  header     text,
  body       bytea   not null,
  primary key (message_id, number)
);
create index posthorn_revision_at on posthorn_revision (at_ms);

-- How often a dead letter was edited.
alter table posthorn_letter add column revision integer not null default 0;
