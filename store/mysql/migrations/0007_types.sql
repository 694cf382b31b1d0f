-- Counts by the type of the error, and lists of one, are read in an index, as those of a
-- kind are. The server commits the change by itself, so one that was made before is left
-- alone.
set @step = (select if(count(*) = 0,
  'alter table posthorn_letter add key posthorn_letter_type (discarded_at, error_type, seq, died_at)', 'do 0')
  from information_schema.statistics
  where table_schema = database() and table_name = 'posthorn_letter' and index_name = 'posthorn_letter_type');
prepare step from @step;
execute step;
deallocate prepare step;
