-- Live messages. state: 0 ready, 1 due later, 2 leased. due_at is when the
-- message is due; wake_at is when a row in state 1 or 2 becomes ready. All
-- times are milliseconds since 1970 by the server's clock. Keys are binary:
-- texts would compare without regard to case or to spaces at the end. turn is
-- the order of claims, since MariaDB before 10.8 has no descending indexes.
create table if not exists posthorn_message (
  seq        bigint         not null auto_increment primary key,
  id         varbinary(128) not null,
  kind       varbinary(128) not null,
  queue      varbinary(64)  not null,
  priority   smallint       not null,
  turn       smallint       generated always as (-priority) stored,
  state      tinyint        not null,
  due_at     bigint         not null,
  wake_at    bigint         not null,
  sent_at    bigint         not null,
  attempt    integer        not null,
  deliveries integer        not null default 0,
  crashes    integer        not null default 0,
  token      varbinary(64),
  worker     varbinary(128),
  claimed_at bigint,
  header     mediumtext,
  body       longblob       not null,
  unique key posthorn_message_id (id),
  -- A claim walks this index in order: no sorting.
  key posthorn_message_ready (state, queue, turn, due_at, seq),
  -- What becomes ready next, by its due time or by the end of its lease.
  key posthorn_message_wake (state, wake_at)
) engine = InnoDB default character set utf8mb4;

-- Dead letters. discarded_at is set when an operator removed one.
create table if not exists posthorn_letter (
  seq          bigint         not null auto_increment primary key,
  id           varbinary(128) not null,
  kind         varbinary(128) not null,
  queue        varbinary(64)  not null,
  priority     smallint       not null,
  attempt      integer        not null,
  deliveries   integer        not null,
  crashes      integer        not null,
  sent_at      bigint         not null,
  died_at      bigint         not null,
  discarded_at bigint,
  reason       varbinary(64)  not null,
  class        varbinary(64)  not null,
  error        text           not null,
  header       mediumtext,
  body         longblob       not null,
  key posthorn_letter_id (id),
  key posthorn_letter_died (died_at)
) engine = InnoDB default character set utf8mb4;

-- What happened to messages that are not done: one row for each attempt that
-- failed, and for each lease that ran out.
create table if not exists posthorn_attempt (
  seq         bigint         not null auto_increment primary key,
  message_id  varbinary(128) not null,
  number      integer        not null,
  worker      varbinary(128) not null,
  started_at  bigint         not null,
  duration_us bigint         not null,
  class       varbinary(64)  not null,
  error       text           not null,
  stack       text           not null,
  key posthorn_attempt_message (message_id, seq)
) engine = InnoDB default character set utf8mb4;

-- One row for each worker that is alive, or has not been silent for long.
create table if not exists posthorn_worker (
  id          varbinary(128) not null primary key,
  host        text           not null,
  pid         integer        not null,
  program     text           not null,
  version     text           not null,
  state       varbinary(32)  not null,
  lists       mediumtext     not null,
  started_at  bigint         not null,
  seen_at     bigint         not null,
  handled     bigint         not null,
  failed      bigint         not null,
  rss         bigint         not null,
  in_flight   integer        not null,
  concurrency integer        not null
) engine = InnoDB default character set utf8mb4;

-- What operators ask of the workers: a version that grows with each order.
create table if not exists posthorn_control (
  name    varbinary(64) not null primary key,
  version bigint        not null
) engine = InnoDB;
insert ignore into posthorn_control (name, version) values ('stop', 0);

-- The id tells this database from every other store.
create table if not exists posthorn_meta (
  name  varbinary(64)  not null primary key,
  value varbinary(255) not null
) engine = InnoDB;
insert ignore into posthorn_meta (name, value) values ('store_id', replace(uuid(), '-', ''));
