-- Lists of a class are walked in an index as those of a queue and a kind are. Each has the
-- time, so that counts by them, and bounds of time in them, read no row of the table. A
-- range of times is turned into one of sequences by an index alone, whose last column is the
-- primary key. The server commits the change by itself, and it is one: it is made or not.
set @step = (select if(count(*) = 0,
  'alter table posthorn_letter
     add key posthorn_letter_class (discarded_at, class, seq, died_at),
     drop key posthorn_letter_queue, add key posthorn_letter_queue (discarded_at, queue, seq, died_at),
     drop key posthorn_letter_kind, add key posthorn_letter_kind (discarded_at, kind, seq, died_at),
     drop key posthorn_letter_died, add key posthorn_letter_died (died_at, discarded_at)', 'do 0')
  from information_schema.statistics
  where table_schema = database() and table_name = 'posthorn_letter' and index_name = 'posthorn_letter_class');
prepare step from @step;
execute step;
deallocate prepare step;
