-- What a claim changes stands in no key: that was half of what it cost. gate is what
-- keeps a message from being claimed: 0 nothing, or that it is leased; 1 its due time; 3 that it
-- is a suspect. opens_at is when that ends. The keys have other names than before, so that a
-- worker of an older version, whose claims would note no lease below, claims nothing any more.
-- The server commits the change by itself, and it is one: it is made or not.
set @step = (select if(count(*) = 0,
  'alter table posthorn_message
     add column gate tinyint generated always as (if(state = 2, 0, state)) stored,
     add column opens_at bigint generated always as (if(state in (1, 3), wake_at, null)) stored,
     drop key posthorn_message_ready, drop key posthorn_message_wake,
     add key posthorn_message_turn (gate, queue, turn, due_at, seq),
     add key posthorn_message_opens (gate, opens_at)', 'do 0')
  from information_schema.columns
  where table_schema = database() and table_name = 'posthorn_message' and column_name = 'gate');
prepare step from @step;
execute step;
deallocate prepare step;

-- Where to look for leases that run out: a row for each claim, with its messages as
-- JSON. When a lease of its messages ends is said by wake_at; ends_at is when to look.
create table if not exists posthorn_lease (
  token   varbinary(64)  not null primary key,
  worker  varbinary(128) not null,
  ends_at bigint         not null,
  seqs    mediumtext     not null,
  key posthorn_lease_ends (ends_at)
) engine = InnoDB default character set utf8mb4;

-- What is in flight at this moment. While the table was copied nobody could renew a lease, so
-- each has a minute more. Other isolation would lock all messages; and MariaDB cuts lists off that are
-- longer than a setting.
set session transaction isolation level read committed;
set session group_concat_max_len = 1000000000;
update posthorn_message
  set wake_at = greatest(wake_at, timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000 + 60000)
  where state = 2;
insert into posthorn_lease (token, worker, ends_at, seqs)
  select token, coalesce(max(worker), ''), min(wake_at), json_arrayagg(seq) from posthorn_message
  where state = 2 and token is not null group by token
  on duplicate key update token = posthorn_lease.token;
