-- The sequences of a claim of 500 messages are 4 kB, which would be compressed whenever a claim
-- is made: a tenth of what it cost.
alter table posthorn_lease set (toast_tuple_target = 8160);
