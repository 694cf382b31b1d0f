-- What idle consumers offer to take at once, until a time by the store's clock: a message that is sent alone is
-- claimed for one of them by the transaction that brings it. room is how many more it takes; given are
-- the sequences of those that it was given since it was made, as JSON. The tokens of their claims begin with id.
create table posthorn_offer (
  queue    text    not null,
  until_ms integer not null,
  id       text    not null,
  worker   text    not null,
  lease    integer not null,
  room     integer not null,
  given    text    not null,
  primary key (queue, until_ms, id)
) without rowid;
