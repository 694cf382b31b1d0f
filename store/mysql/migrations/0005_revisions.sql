-- What dead letters were before somebody edited them: a row for each version that was
-- replaced. at_ms is when, in milliseconds since 1970 by the server's clock.
create table if not exists posthorn_revision (
  message_id varbinary(128) not null,
  number     integer        not null,
  at_ms      bigint         not null,
  actor      varbinary(200) not null,
  header     mediumtext,
  body       longblob       not null,
  primary key (message_id, number),
  key posthorn_revision_at (at_ms)
) engine = InnoDB default character set utf8mb4;

-- How often a dead letter was edited. The server commits each change of a table by
-- itself, so one that was made before is left alone.
set @step = (select if(count(*) = 0,
  'alter table posthorn_letter add column revision integer not null default 0', 'do 0')
  from information_schema.columns
  where table_schema = database() and table_name = 'posthorn_letter' and column_name = 'revision');
prepare step from @step;
execute step;
deallocate prepare step;
