-- Whether a message waits for its due time is written by whoever writes its state: as a
-- generated column it was computed, and the row copied for it, with each insertion and
-- each claim. What would leave a message that waits out of its index is refused.
alter table posthorn_message alter column delayed drop expression;
alter table posthorn_message add constraint posthorn_message_delayed check (state <> 1 or delayed is true);
