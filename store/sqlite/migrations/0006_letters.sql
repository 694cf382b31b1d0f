-- Lists of a class are walked in an index as those of a queue and a kind are. Each has the
-- time, so that counts by them, and bounds of time in them, read no row of the table. A
-- range of times is turned into one of sequences by an index alone.
create index posthorn_letter_class on posthorn_letter (class, seq, died_at) where discarded_at is null;
drop index posthorn_letter_queue;
create index posthorn_letter_queue on posthorn_letter (queue, seq, died_at) where discarded_at is null;
drop index posthorn_letter_kind;
create index posthorn_letter_kind on posthorn_letter (kind, seq, died_at) where discarded_at is null;
drop index posthorn_letter_died;
create index posthorn_letter_died on posthorn_letter (died_at, discarded_at);
