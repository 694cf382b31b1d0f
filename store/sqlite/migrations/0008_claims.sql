-- The claim whose lease ran out, of a line that counts it as a crash: whoever held the message
-- and comes back takes that back.
alter table posthorn_attempt add column claim text not null default '';
