-- Live messages. state: 0 ready, 1 due later, 2 leased. due_at is when the
-- message is due; wake_at is when a row in state 1 or 2 becomes ready. All
-- times are milliseconds since 1970.
create table posthorn_message (
  seq        integer primary key,
  id         text    not null unique,
  kind       text    not null,
  queue      text    not null,
  priority   integer not null,
  state      integer not null,
  due_at     integer not null,
  wake_at    integer not null,
  sent_at    integer not null,
  attempt    integer not null,
  deliveries integer not null default 0,
  crashes    integer not null default 0,
  token      text,
  worker     text,
  claimed_at integer,
  header     text,
  body       blob    not null
);

-- A claim walks this index in order and finds nothing but rows that it may take.
create index posthorn_message_ready on posthorn_message (queue, priority desc, due_at, seq) where state = 0;

-- What becomes ready by its due time, and what does when its lease runs out.
-- They are apart, so that the next due time is not looked for among leases.
create index posthorn_message_later on posthorn_message (wake_at) where state = 1;
create index posthorn_message_lease on posthorn_message (wake_at) where state = 2;

-- Dead letters. discarded_at is set when an operator removed one.
create table posthorn_letter (
  seq          integer primary key autoincrement,
  id           text    not null,
  kind         text    not null,
  queue        text    not null,
  priority     integer not null,
  attempt      integer not null,
  deliveries   integer not null,
  crashes      integer not null,
  sent_at      integer not null,
  died_at      integer not null,
  discarded_at integer,
  reason       text    not null,
  class        text    not null,
  error        text    not null,
  header       text,
  body         blob    not null
);
create index posthorn_letter_id on posthorn_letter (id);
create index posthorn_letter_died on posthorn_letter (died_at);

-- What happened to messages that are not done: one row for each attempt that
-- failed, and for each lease that ran out.
create table posthorn_attempt (
  seq         integer primary key,
  message_id  text    not null,
  number      integer not null,
  worker      text    not null,
  started_at  integer not null,
  duration_us integer not null,
  class       text    not null,
  error       text    not null,
  stack       text    not null
);
create index posthorn_attempt_message on posthorn_attempt (message_id, seq);

-- One row for each worker that is alive, or has not been silent for long.
create table posthorn_worker (
  id          text    primary key,
  host        text    not null,
  pid         integer not null,
  program     text    not null,
  version     text    not null,
  state       text    not null,
  lists       text    not null,
  started_at  integer not null,
  seen_at     integer not null,
  handled     integer not null,
  failed      integer not null,
  rss         integer not null,
  in_flight   integer not null,
  concurrency integer not null
) without rowid;

-- What operators ask of the workers: a version that grows with each order.
create table posthorn_control (
  name    text    primary key,
  version integer not null
) without rowid;
insert into posthorn_control (name, version) values ('stop', 0);

-- The id tells this database from every other store.
create table posthorn_meta (
  name  text primary key,
  value text not null
) without rowid;
insert into posthorn_meta (name, value) values ('store_id', lower(hex(randomblob(16))));
