-- The claim whose lease ran out, of a line that counts it as a crash: whoever held the message
-- and comes back takes that back.
set @step = (select if(count(*) = 0,
  'alter table posthorn_attempt add column claim varbinary(64) not null default ''''', 'do 0')
  from information_schema.columns
  where table_schema = database() and table_name = 'posthorn_attempt' and column_name = 'claim');
prepare step from @step;
execute step;
deallocate prepare step;
