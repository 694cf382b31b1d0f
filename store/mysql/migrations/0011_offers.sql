-- What idle consumers offer to take at once, until a time by the server's clock: a message that is sent alone is
-- claimed for one of them by the transaction that brings it. room is how many more it takes; given are
-- the sequences of those that it was given since it was made, as JSON. The tokens of their claims begin with id.
create table if not exists posthorn_offer (
  queue    varbinary(64)  not null,
  until_ms bigint         not null,
  id       varbinary(64)  not null,
  worker   varbinary(128) not null,
  lease    bigint         not null,
  room     int            not null,
  given    text           not null,
  primary key (queue, until_ms, id)
) engine = InnoDB default character set utf8mb4;
