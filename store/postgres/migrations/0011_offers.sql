-- What idle consumers offer to take at once, until a time by the server's clock: a message that is sent alone is
-- claimed for one of them by the transaction that brings it. room is how many more it takes; given are
-- the sequences of those that it was given since it was made. The tokens of their claims begin with id.
create table posthorn_offer (
  queue    varchar(64)  collate "C" not null,
  until_ms bigint   not null,
  id       varchar(64)  collate "C" not null,
  worker   varchar(128) collate "C" not null,
  lease    bigint   not null,
  room     integer  not null,
  given    bigint[] not null,
  primary key (queue, until_ms, id)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);
