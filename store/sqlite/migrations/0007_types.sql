-- Counts by the type of the error, and lists of one, are read in an index, as those of a
-- kind are.
create index posthorn_letter_type on posthorn_letter (error_type, seq, died_at) where discarded_at is null;
