-- Live messages. state: 0 ready, 1 due later, 2 leased. due_at is when the
-- message is due; wake_at is when a row in state 1 or 2 becomes ready. All
-- times are milliseconds since 1970 by the server's clock. Keys compare bytes.
create table posthorn_message (
  seq        bigint generated always as identity primary key,
  id         varchar(128) collate "C" not null unique,
  kind       varchar(128) collate "C" not null,
  queue      varchar(64)  collate "C" not null,
  priority   smallint not null,
  state      smallint not null,
  due_at     bigint   not null,
  wake_at    bigint   not null,
  sent_at    bigint   not null,
  attempt    integer  not null,
  deliveries integer  not null default 0,
  crashes    integer  not null default 0,
  token      varchar(64) collate "C",
  worker     varchar(128) collate "C",
  claimed_at bigint,
  header     text,
  body       bytea    not null,
  delayed    boolean  generated always as (state = 1) stored
) with (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);

-- A claim walks this index in order. It holds the leased rows as well: what a
-- claim changes stands in no index, so that the new version of the row finds its
-- place on the same page and no index is touched (HOT). The free part of each page
-- is for that.
create index posthorn_message_ready on posthorn_message (queue, priority desc, due_at, seq);

-- What becomes ready by its due time.
create index posthorn_message_later on posthorn_message (due_at) where delayed;

-- Where to look for leases that run out: a row for each claim, with its messages.
-- When a lease of its messages ends is said by wake_at; ends_at is when to look.
create table posthorn_lease (
  token   varchar(64) collate "C" primary key,
  worker  varchar(128) collate "C" not null,
  ends_at bigint   not null,
  seqs    bigint[] not null
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
create index posthorn_lease_ends on posthorn_lease (ends_at);

-- Dead letters. discarded_at is set when an operator removed one.
create table posthorn_letter (
  seq          bigint generated always as identity primary key,
  id           varchar(128) collate "C" not null,
  kind         varchar(128) collate "C" not null,
  queue        varchar(64)  collate "C" not null,
  priority     smallint not null,
  attempt      integer  not null,
  deliveries   integer  not null,
  crashes      integer  not null,
  sent_at      bigint   not null,
  died_at      bigint   not null,
  discarded_at bigint,
  reason       varchar(64) collate "C" not null,
  class        varchar(64) collate "C" not null,
  error        text     not null,
  header       text,
  body         bytea    not null
);
create index posthorn_letter_id on posthorn_letter (id);
create index posthorn_letter_died on posthorn_letter (died_at);

-- What happened to messages that are not done: one row for each attempt that
-- failed, and for each lease that ran out.
create table posthorn_attempt (
  seq         bigint generated always as identity primary key,
  message_id  varchar(128) collate "C" not null,
  number      integer not null,
  worker      varchar(128) not null,
  started_at  bigint  not null,
  duration_us bigint  not null,
  class       varchar(64) collate "C" not null,
  error       text    not null,
  stack       text    not null
);
create index posthorn_attempt_message on posthorn_attempt (message_id, seq);

-- One row for each worker that is alive, or has not been silent for long.
create table posthorn_worker (
  id          varchar(128) collate "C" primary key,
  host        text    not null,
  pid         integer not null,
  program     text    not null,
  version     text    not null,
  state       varchar(32) not null,
  lists       text    not null,
  started_at  bigint  not null,
  seen_at     bigint  not null,
  handled     bigint  not null,
  failed      bigint  not null,
  rss         bigint  not null,
  in_flight   integer not null,
  concurrency integer not null
);

-- What operators ask of the workers: a version that grows with each order.
create table posthorn_control (
  name    varchar(64) collate "C" primary key,
  version bigint not null
);
insert into posthorn_control (name, version) values ('stop', 0);

-- The id tells this database from every other store.
create table posthorn_meta (
  name  varchar(64) collate "C" primary key,
  value text not null
);
insert into posthorn_meta (name, value) values ('store_id', replace(gen_random_uuid()::text, '-', ''));
